"""Export of networks to ONNX files, and a check that a file gives the network's maps."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch

from tagwise.errors import UserError, optional
from tagwise.models.network import Network
from tagwise.models.onnx import OnnxNetwork
from tagwise.models.onnx_model import INPUT, OnnxModel, open_session
from tagwise.models.spec import HEADER, header_of

OPSET = 18
# Largest difference that rounding can cause (sums of float32 in another order), relative to the
# largest value of a map.
TOLERANCE = 1e-4


def onnx_file(network: Network) -> bytes:
    """The content of an ONNX file that `read_onnx` reads: the graph, and the spec as metadata.

    Raises UserError if the package onnx is missing.
    """
    onnx = need_onnx("onnx")
    model = onnx.load_from_string(_graph(network))
    header = header_of(network.spec, multiple=network.multiple, stride=network.stride)
    onnx.helper.set_model_props(model, {HEADER: header})
    return model.SerializeToString()


@torch.inference_mode()
def check_graph(network: Network, graph: bytes) -> None:
    """Raise UserError if the maps of an ONNX file differ from the network's; checks two sizes.

    graph: content of the file, from `onnx_file`.
    """
    session = open_session(graph)
    model = OnnxModel(session, network.spec, network.multiple, network.stride)
    exported = OnnxNetwork(model)
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
                    "than rounding explains: this network cannot be exported"
                )


def _graph(network: Network) -> bytes:
    """The network as ONNX, for any number and size of images.

    It is traced, because the exporter with symbolic sizes takes minutes for the padding of some
    trunks.
    """
    names = [INPUT, *network.outputs]
    file = io.BytesIO()
    # Tracing warns about values that it treats as constants; `check_graph` detects wrong ones.
    with warnings.catch_warnings(action="ignore"):
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


def need_onnx(module: str) -> Any:
    """Import onnx or onnxruntime. Raises UserError that names the extra if it is missing."""
    return optional(module, "export", f"exporting needs {module}")


def _side(network: Network) -> int:
    return network.multiple * max(1, 128 // network.multiple)
