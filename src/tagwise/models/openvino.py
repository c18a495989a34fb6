"""Networks from OpenVINO files (.xml and .bin), run by OpenVINO; needs the extra "openvino"."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.files import SNIFFED, check_regular, kind_of, open_regular
from tagwise.models.openvino_graph import (
    OpenVinoGraph,
    Shape,
    fault_of,
    need_openvino,
    reason_of,
)
from tagwise.models.spec import ModelSpec
from tagwise.published.openmodelzoo import DECODER, FAMILY, MULTIPLE, openmodelzoo_task
from tagwise.tasks import create_task

_SIDE = 256  # pixels of an image with which the stride of a graph of any size is measured


class OpenVinoNetwork(nn.Module):
    """A network with the interface of `Network` that runs one of Open Model Zoo's graphs.

    heatmaps, embeddings: the places of these outputs. multiple, stride: as in `Network`.
    """

    runtime, precisions, parallel = "openvino", ("fp32",), False

    def __init__(
        self, graph: OpenVinoGraph, spec: ModelSpec, stride: int, heatmaps: int, embeddings: int
    ) -> None:
        super().__init__()
        self.spec, self.multiple, self.stride = spec, MULTIPLE, stride
        self.task = create_task(spec.task, **spec.task_options)
        self._graph, self._heatmaps, self._embeddings = graph, heatmaps, embeddings

    def use(self, precision: str) -> None:
        """Do nothing: there is one precision."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`.

        The graph takes blue, green, red from 0 to 255. The signs of its heatmaps, which mark the
        peaks, are dropped: `tagwise.grouping` finds the same peaks in windows of 5 cells.
        """
        found = self._graph((images.float().flip(1) * 255).cpu().numpy())
        heatmaps, tags = (torch.from_numpy(found[n]) for n in (self._heatmaps, self._embeddings))
        if tags.ndim == 5:  # (B, K, H, W, D)
            tags = tags.permute(0, 1, 4, 2, 3).flatten(1, 2)
        maps = {"heatmaps": heatmaps.abs(), "tags": tags}
        return {name: values.contiguous().to(images.device) for name, values in maps.items()}


def read_openvino(path: Path) -> OpenVinoNetwork:
    """The network of an .xml file; its weights are in the .bin file of the same name.

    Raises UserError for damaged files, for graphs of an unknown family, and if OpenVINO is missing.
    """
    graph = read_graph(path)
    heatmaps, embeddings = (_place(path, graph, name) for name in ("heatmaps", "embeddings"))
    if any("nms_heatmaps" in names for names in graph.outputs):
        raise UserError(
            f"{path} is a HigherHRNet, whose test differs; give the checkpoint that it was "
            "converted from (.pth)"
        )
    height, width = (side or _SIDE for side in graph.shape[2:])
    try:
        shapes = graph.output_shapes(height, width)
    except Exception as error:
        raise _damaged(path, reason_of(error)) from error
    layout = _layout(shapes[heatmaps], shapes[embeddings], height, width)
    if layout is None:
        raise UserError(
            f"{path} is of no family that tagwise knows: it has heatmaps of {shapes[heatmaps]} and "
            f"embeddings of {shapes[embeddings]} for images of {width} × {height} pixels"
        )
    count, tag_dim, stride = layout
    task = openmodelzoo_task(count, tag_dim)
    spec = ModelSpec(
        name="openvino",
        options={},
        task=task.name,
        task_options=task.to_dict(),
        input_size=(width, height),
        decoder=DECODER,
        info={"converted_from": path.name, "family": FAMILY},
    )
    return OpenVinoNetwork(graph, spec, stride, heatmaps, embeddings)


def _layout(
    heatmaps: Shape, embeddings: Shape, height: int, width: int
) -> tuple[int, int, int] | None:
    """Numbers of keypoint types and tag components, and the stride; None if shapes do not fit."""
    if None in heatmaps or None in embeddings or 0 in heatmaps or len(heatmaps) != 4:
        return None
    _, count, rows, columns = heatmaps
    if len(embeddings) not in (4, 5) or embeddings[2:4] != (rows, columns):
        return None
    if len(embeddings) == 5 and embeddings[1] != count:
        return None
    maps, stride = math.prod(embeddings) // (rows * columns), height // rows
    fits = maps and maps % count == 0 and (rows * stride, columns * stride) == (height, width)
    return (count, maps // count, stride) if fits else None


def read_graph(path: Path) -> OpenVinoGraph:
    """The graph of an .xml file and its .bin file, which is checked before it is compiled.

    Raises UserError for damaged files, and for graphs that do not take images alone.
    """
    core = need_openvino().Core()
    text, weights = _bytes(path), _bytes(weights_beside(path))
    is_a = kind_of(text[:SNIFFED])
    if not text.lstrip().startswith((b"<?xml", b"<net")):
        raise UserError(f"{path} is not an OpenVINO file ({is_a or 'of an unknown type'})")
    try:
        model = core.read_model(text, weights)
        fault = fault_of(model)
    except Exception as error:
        raise _damaged(path, reason_of(error)) from error
    if fault:
        raise _damaged(path, fault)
    shape = model.input(0).get_partial_shape() if len(model.inputs) == 1 else None
    if shape is None or len(shape) != 4 or shape[1].is_dynamic or shape[1].get_length() != 3:
        raise UserError(f"{path} is of no family that tagwise knows: it does not take images alone")
    return OpenVinoGraph(path, model)


def weights_beside(path: Path) -> Path:
    """The .bin file of an .xml file. Raises UserError if it is missing."""
    weights = path.with_suffix(".bin")
    if not weights.exists():
        raise UserError(f"{path} needs its weights, {weights}, which are missing; get both files")
    check_regular(weights, "weights file")
    return weights


def _bytes(path: Path) -> bytes:
    with open_regular(path, "OpenVINO file") as file:
        return file.read()


def _place(path: Path, graph: OpenVinoGraph, beginning: str) -> int:
    """The place of the output whose name begins like this. Raises UserError if there is none."""
    for place, names in enumerate(graph.outputs):
        if any(name.startswith(beginning) for name in names):
            return place
    there = ", ".join(min(names) for names in graph.outputs)
    raise UserError(
        f"{path} is of no family that tagwise knows: it has no output {beginning!r}, only {there}; "
        "Open Model Zoo's human-pose-estimation-0005, -0006 and -0007 have"
    )


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is not a readable OpenVINO file ({reason}); get it again")
