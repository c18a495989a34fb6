"""Export of networks to ONNX files, and a check that a file gives what the network gives.

The graph has the maps of the network as outputs and, where the task has any, candidates: the peaks
of the maps with their tags and positions. A program that needs no more than those does not read the
maps. Models with the fitting of a published test have no candidates, because the test resizes maps
before it looks for peaks.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, optional
from tagwise.models.checks import TOLERANCE, difference, small_side
from tagwise.models.network import Network
from tagwise.models.onnx_model import INPUT, OnnxModel
from tagwise.models.onnx_sessions import OnnxRuntimeSession
from tagwise.models.spec import HEADER, header_of

OPSET = 18
# Share of candidates that may differ: rounding can change the order of nearly equal scores.
SWAPPED = 0.02


class WithCandidates(nn.Module):
    """A network that returns the candidates of its task beside its maps."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images as for the network to its maps and the candidates, by name."""
        maps = self.network(images)
        return {**maps, **candidates_of(self.network, maps)}


def candidates_of(network: Network, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """The candidates in the maps of a network; none if a published test resizes its maps."""
    return {} if "fitting" in network.spec.decoder else network.task.candidates(maps)


def onnx_file(network: Network) -> bytes:
    """The content of an ONNX file that `read_onnx` reads: the graph, and the spec as metadata.

    Raises UserError if the package onnx is missing.
    """
    onnx = need_onnx("onnx")
    graph, sides = _graph(network)
    model = onnx.load_from_string(graph)
    for output in model.graph.output:  # tracing names the sides of most outputs after a node
        _state_sides(output, sides[output.name])
    header = header_of(network.spec, multiple=network.multiple, stride=network.stride)
    onnx.helper.set_model_props(model, {HEADER: header})
    return model.SerializeToString()


def _state_sides(output: Any, sides: Sequence[int | str]) -> None:
    """Write the sides of an output into an onnx.ValueInfoProto; those that vary have names."""
    shape = output.type.tensor_type.shape
    shape.ClearField("dim")
    for side in sides:
        shape.dim.add(**{"dim_param" if isinstance(side, str) else "dim_value": side})


@torch.inference_mode()
def check_graph(network: Network, graph: bytes) -> None:
    """Raise UserError if the maps of an ONNX file differ from the network's; checks two sizes.

    Its candidates are compared with those in its own maps, since rounding decides whether two
    nearly equal cells are peaks. graph: content of the file, from `onnx_file`.
    """
    model = OnnxModel(OnnxRuntimeSession(graph), network.spec, network.multiple, network.stride)
    side = small_side(network)
    for shape in ((1, 3, 2 * side, side), (2, 3, side, side + network.multiple)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        expected, found = network(images), _tensors(model, images)
        if fault := difference(expected, found):
            raise UserError(
                f"this network cannot be exported: on images of {shape}, the graph's {fault}"
            )
        candidates = candidates_of(network, found)
        for name in candidates:
            if not _agree(name, found, candidates):
                raise UserError(
                    f"the exported graph's {name} on images of {shape} are not those of its maps: "
                    "this network cannot be exported"
                )


def _tensors(model: OnnxModel, images: Tensor) -> dict[str, Tensor]:
    """All outputs of an ONNX file, by name."""
    found = model(images.numpy(), (*model.maps, *model.candidates))
    return {name: torch.from_numpy(values) for name, values in found.items()}


def _agree(name: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Whether candidates are equal up to rounding, except for the order of nearly equal scores."""
    ours, theirs = found[name], expected[name]
    if ours.shape != theirs.shape:
        return False
    differs = (ours - theirs).abs() > TOLERANCE * theirs.abs().max()
    scores = expected.get(f"{name.rpartition('_')[0]}_scores", theirs)
    if scores is not theirs:  # compare ranks that rounding cannot exchange with their neighbours
        axis, count = scores.ndim - 1, max(scores.shape[-1] - 2, 0)
        falls = scores[..., :-1] - scores[..., 1:] > TOLERANCE
        differs = differs.narrow(axis, 1, count)[falls[..., :count] & falls[..., -count:]]
    return not differs.numel() or differs.float().mean().item() <= SWAPPED


def _graph(network: Network) -> tuple[bytes, dict[str, tuple[int | str, ...]]]:
    """The network as ONNX, for any number and size of images, and the sides of its outputs.

    It is traced, because the exporter with symbolic sizes takes minutes for the padding of some
    trunks.
    """
    module, file = WithCandidates(network).eval(), io.BytesIO()
    images = torch.rand(2, 3, small_side(network), 2 * small_side(network))
    with torch.inference_mode():
        outputs = module(images)
    grid = outputs[next(iter(network.outputs))].shape[2:]
    sides = {name: _sides(values.shape, grid) for name, values in outputs.items()}
    axes = {name: _named(each) for name, each in sides.items()}
    axes[INPUT] = {0: "batch", 2: "rows", 3: "columns"}
    # Tracing warns about values that it treats as constants; `check_graph` detects wrong ones.
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            module,
            (images,),
            file,
            dynamo=False,
            input_names=[INPUT],
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_axes=axes,
        )
    return file.getvalue(), sides


def _sides(shape: torch.Size, grid: torch.Size) -> tuple[int | str, ...]:
    """The sides of an output, with names for the number of images and for the sides of maps."""
    if shape[2:] == grid:
        return ("batch", shape[1], "map_rows", "map_columns")
    return ("batch", *shape[1:])


def _named(sides: Sequence[int | str]) -> dict[int, str]:
    return {axis: side for axis, side in enumerate(sides) if isinstance(side, str)}


def need_onnx(module: str) -> Any:
    """Import onnx or onnxruntime. Raises UserError that names the extra if it is missing."""
    return optional(module, "export", f"exporting needs {module}")
