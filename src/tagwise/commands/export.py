"""`tagwise export`: a model as an ONNX file, which runs without torch and tagwise."""

from __future__ import annotations

from pathlib import Path

from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.models.load import load_model
from tagwise.models.onnx_export import check_graph, need_onnx, onnx_file


def export(weights: str | Path, *, out: str | Path | None = None) -> Path:
    """Write a model as an ONNX file, and return its path.

    weights: name of a model that ships with tagwise, a .safetensors file or a published checkpoint.
    out: the file to write; by default the model's name with .onnx, in the working folder.

    The graph takes "images", (B, 3, H, W) float32, RGB in [0, 1], of any number, with sides that
    are multiples of the network's `multiple`; normalisation is part of it. Its outputs are the maps
    of the network and, for poses and boxes, the peaks of the maps with their scores, positions and
    tags, by name; docs/export.md lists them. Everything else that a prediction needs is stored as
    metadata, so that `tagwise predict --weights NAME.onnx` gives the same results, also without
    torch. Before the file is written, onnxruntime runs the graph on images of two sizes, and its
    maps are compared with the network's, and its peaks with those of its maps.

    Raises UserError for unknown weights, a file name that is not .onnx, missing packages, and a
    graph whose maps differ by more than rounding.

    >>> export("people", out="people.onnx")  # doctest: +SKIP
    PosixPath('people.onnx')
    """
    path = Path(out) if out is not None else Path(Path(weights).name).with_suffix(".onnx")
    if path.suffix != ".onnx":
        raise UserError(f"cannot write {path}; give a name that ends in .onnx")
    if Path(weights).suffix == ".onnx":
        raise UserError(f"{weights} is already an ONNX file; give other weights")
    if Path(weights).suffix == ".xml":
        raise UserError(f"{weights} is an OpenVINO file, which cannot become an ONNX file")
    for module in ("onnx", "onnxruntime"):
        need_onnx(module)
    network = load_model(weights)
    graph = onnx_file(network)
    check_graph(network, graph)
    with whole_file(path, durable=True) as file:
        file.write(graph)
    return path
