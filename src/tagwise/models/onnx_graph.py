"""Checking an ONNX graph without running it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_SPARE_BYTES = 64 << 20  # that constants may take in a file of any size
_BYTES = 4  # assumed size of a value; exact sizes are not needed

# Loops and operators whose output sizes are unknown; `tagwise export` does not write any of them.
_REFUSED = frozenset(
    ("Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Scan", "StringSplit", "Unique")
)


def fault_of(onnx: ModuleType, model: Any, length: int) -> str | None:
    """The reason why `tagwise export` cannot have written a graph, or None.

    onnx: the package. model: an onnx.ModelProto. length: size of its file in bytes.

    onnxruntime computes constants when it opens a file, even if they exhaust the memory, and reads
    other files named in it. Therefore, all data must be in the file itself, and tensors whose size
    does not depend on the images must not be far larger than the file.
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
            return f"its tensor {tensor.name!r} is stored in another file"
        if math.prod(tensor.dims) * _BYTES > 4 * length + _SPARE_BYTES:
            return f"its tensor {tensor.name!r} declares more values than the file has"
    if model.graph.sparse_initializer:
        return "it has sparse tensors"
    sizes = _fixed_sizes(onnx.shape_inference.infer_shapes(model).graph)
    computed = list(_computed_constants(model.graph))
    for name in computed:
        if name not in sizes:
            return f"its constant {name!r} has an unknown size"
    most = max(sum(sizes[name] for name in computed), *sizes.values())
    if most * _BYTES > 4 * length + _SPARE_BYTES:
        return f"its constants have {most} values"
    return None


def _attributes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield from node.attribute


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors stored in a graph: weights and constants of nodes."""
    yield from graph.initializer
    for attribute in _attributes(graph.node):
        yield from attribute.tensors
        if attribute.HasField("t"):
            yield attribute.t


def _fixed_sizes(graph: Any) -> dict[str, int]:
    """Number of values of each tensor whose size does not depend on the images, by name."""
    sizes = {}
    for value in (*graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        known = value.type.tensor_type.HasField("shape")
        if known and all(side.HasField("dim_value") for side in shape.dim):
            sizes[value.name] = math.prod(side.dim_value for side in shape.dim)
    return sizes


def _computed_constants(graph: Any) -> Iterator[str]:
    """Names of the tensors that nodes compute only from weights and other constants."""
    constant = {"", *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        if constant.issuperset(node.input):
            constant.update(node.output)
            yield from filter(None, node.output)
