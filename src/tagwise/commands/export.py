"""Trained models as ONNX files, which run without torch and tagwise."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.models.load import load_model
from tagwise.models.model_file import HEADER, header_of
from tagwise.models.network import Network
from tagwise.models.onnx import INPUT, OnnxNetwork, need_onnx, open_session

OPSET = 18
# Of float32 sums in another order; as a share of the largest value of a map.
TOLERANCE = 1e-4


def export(weights: str | Path, *, out: str | Path | None = None) -> Path:
    """Write a model as an ONNX file, and return its path.

    weights: name of a model that ships with tagwise, a .safetensors file or a published checkpoint.
    out: the file to write; by default the model's name with .onnx, in the working folder.

    The graph takes "images", (B, 3, H, W) float32, RGB in [0, 1], of any number and of sides that
    are multiples of the network's; normalisation is part of it. Its outputs are the maps that the
    network has, by name. What else a prediction needs is kept as metadata, so that
    `tagwise predict --weights NAME.onnx` gives the same answers. The file is run by onnxruntime on
    images of two sizes and compared with the network before it is written.

    Raises UserError for unknown weights, a file name that is not .onnx, missing packages, and a
    graph whose maps differ by more than rounding.

    >>> export("people", out="people.onnx")  # doctest: +SKIP
    PosixPath('people.onnx')
    """
    path = Path(out) if out is not None else Path(Path(weights).name).with_suffix(".onnx")
    if path.suffix != ".onnx":
        raise UserError(f"cannot write {path}: name a file that ends in .onnx")
    if Path(weights).suffix == ".onnx":
        raise UserError(f"{weights} is an ONNX file already")
    onnx = need_onnx("onnx")
    need_onnx("onnxruntime")
    network = load_model(weights)
    model = onnx.load_from_string(_graph(network))
    header = header_of(network.spec, multiple=network.multiple, stride=network.stride)
    onnx.helper.set_model_props(model, {HEADER: header})
    written = model.SerializeToString()
    _compare(network, written)
    with whole_file(path, durable=True) as file:
        file.write(written)
    return path


def _graph(network: Network) -> bytes:
    """The network as ONNX, for any number and size of images.

    By tracing: the exporter that reasons about sizes takes minutes for the padding of some trunks.
    """
    names = [INPUT, *network.outputs]
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of what tracing fixes; `_compare` looks
        torch.onnx.export(
            network,
            (torch.rand(2, 3, _side(network), 2 * _side(network)),),
            file,
            dynamo=False,
            input_names=names[:1],
            output_names=names[1:],
            opset_version=OPSET,
            dynamic_axes={name: {0: "batch", 2: "rows", 3: "columns"} for name in names},
        )
    return file.getvalue()


def _side(network: Network) -> int:
    return network.multiple * max(1, 128 // network.multiple)


@torch.inference_mode()
def _compare(network: Network, written: bytes) -> None:
    """Raises UserError if the graph's maps are not the network's, also at another size."""
    session = open_session(written)
    exported = OnnxNetwork(session, network.spec, network.multiple, network.stride)
    side = _side(network)
    for shape in ((1, 3, 2 * side, side), (2, 3, side, side + network.multiple)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        expected, found = network(images), exported(images)
        for name, maps in expected.items():
            same = found[name].shape == maps.shape
            away = (found[name] - maps).abs().max() if same else torch.inf
            if not away <= TOLERANCE * maps.abs().max():
                raise UserError(
                    f"the exported graph's {name} differ by {away:.2g} on images of {shape}, more "
                    "than by rounding: this network cannot be exported"
                )
