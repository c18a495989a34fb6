"""What an ONNX graph would do when it is loaded, found out without running any of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_SPARE_BYTES = 64 << 20  # that constants may take in any case
_BYTES = 4  # of a value, at most a few times wrong

# Loops, and what makes tensors whose size no shape tells; `tagwise export` writes none of them.
_REFUSED = frozenset(
    ("Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "StringSplit", "Unique")
)


def fault_of(onnx: ModuleType, model: Any, length: int) -> str | None:
    """Why a graph cannot be one of `tagwise export`, or None.

    onnx: the package. model: an onnx.ModelProto. length: bytes of its file.

    onnxruntime computes constants as it opens a file, also those that fill the memory, and reads
    files that are named in it. So nothing may be outside the file, and no tensor whose size does
    not depend on the images may be far larger than the file.
    """
    nodes = model.graph.node
    refused = {node.op_type for node in nodes if node.op_type in _REFUSED or node.domain}
    if refused or len(model.functions):
        what = ", ".join(sorted(refused)) or "functions"
        return f"it has {what}, which `tagwise export` never writes"
    if any(attribute.HasField("g") or attribute.graphs for attribute in _attributes(nodes)):
        return "it has graphs inside its graph"
    for tensor in _tensors(model.graph):
        if tensor.data_location or tensor.external_data:
            return f"its tensor {tensor.name!r} lies in another file"
        if math.prod(tensor.dims) * _BYTES > 4 * length + _SPARE_BYTES:
            return f"its tensor {tensor.name!r} claims more values than the file has"
    if model.graph.sparse_initializer:
        return "it has sparse tensors"
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for value in (*inferred.value_info, *inferred.output):
        size = _fixed_size(value)
        if size * _BYTES > 4 * length + _SPARE_BYTES:
            return f"its constant {value.name!r} has {size} values"
    return None


def _attributes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield from node.attribute


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors that a graph holds: weights, and constants of nodes."""
    yield from graph.initializer
    for attribute in _attributes(graph.node):
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t


def _fixed_size(value: Any) -> int:
    """How many values a tensor has whatever the images are; 0 where that depends on them."""
    sides = value.type.tensor_type.shape.dim
    if not all(side.HasField("dim_value") for side in sides):
        return 0
    return math.prod(side.dim_value for side in sides)
