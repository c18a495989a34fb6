"""Networks from ONNX files, run by onnxruntime; needs the extra "export"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, optional
from tagwise.files import SNIFFED, kind_of, open_regular
from tagwise.models.checks import check_run, check_weights
from tagwise.models.model_file import HEADER, parse_spec
from tagwise.models.network import ModelSpec
from tagwise.models.onnx_graph import fault_of
from tagwise.tasks import create_task

INPUT = "images"


class OnnxNetwork(nn.Module):
    """A network with the interface of `Network` that runs an ONNX file written by `export`.

    session: an onnxruntime session, see `open_session`.
    multiple, stride: attributes of the network that was exported.
    """

    fp32_only = True

    def __init__(self, session: Any, spec: ModelSpec, multiple: int, stride: int) -> None:
        super().__init__()
        self.spec, self.multiple, self.stride = spec, multiple, stride
        self.task = create_task(spec.task, **spec.task_options)
        self._session = session
        self.maps = [output.name for output in session.get_outputs()]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`."""
        inputs = {INPUT: images.float().contiguous().cpu().numpy()}
        try:
            found = self._session.run(None, inputs)
        except Exception as error:  # onnxruntime's own classes, e.g. for a graph of fixed size
            reason = " ".join(str(error).split())[:200]
            shape = " × ".join(map(str, images.shape))
            raise UserError(f"the ONNX network fails on images of {shape}: {reason}") from error
        maps = [torch.from_numpy(each).to(images.device) for each in found]
        return dict(zip(self.maps, maps, strict=True))


def read_onnx(path: Path, device: str | torch.device = "cpu") -> OnnxNetwork:
    """The network of an ONNX file that `tagwise export` wrote.

    The graph is run only after checks that `tagwise export` wrote it and that it is harmless.
    Raises UserError for damaged files and files of other programs, and if onnxruntime is missing.
    """
    onnx = need_onnx("onnx")
    need_onnx("onnxruntime")
    data = _bytes(path)
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's own classes
        is_a = kind_of(data[:SNIFFED])
        raise UserError(
            f"{path} is not a readable ONNX file ({is_a or 'damaged'}); get it again"
        ) from error
    header = {entry.key: entry.value for entry in model.metadata_props}.get(HEADER)
    if header is None:
        raise UserError(
            f"{path} was not written by `tagwise export`: it has no description of its maps"
        )
    try:
        fault = fault_of(onnx, model, len(data))
        if fault:
            raise ValueError(fault)
        spec, sides = parse_spec(header, path), json.loads(header)
        multiple, stride = (int(sides[name]) for name in ("multiple", "stride"))
        session = open_session(data, device)
        network = OnnxNetwork(session, spec, multiple, stride)
        _check_maps(network, [each.name for each in session.get_inputs()])
        _check_values(model.graph, path)
    except UserError:
        raise
    except Exception as error:  # onnxruntime has its own class for each type of damage
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not a readable ONNX file ({reason}); get it again") from error
    check_run(network, path)
    return network


def _check_values(graph: Any, path: Path) -> None:
    """Raise UserError, naming the tensor, if a weight is NaN or infinite."""
    from onnx import TensorProto, numpy_helper

    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    for tensor in graph.initializer:
        if tensor.data_type in floats:
            values = numpy_helper.to_array(tensor)
            check_weights({tensor.name: torch.from_numpy(values.astype("float32"))}, path)


def _check_maps(network: OnnxNetwork, inputs: list[str]) -> None:
    """Raise ValueError unless the graph takes images and returns the maps of its task."""
    other = set(network.task.heads()) != set(network.maps)
    if inputs != [INPUT] or other or min(network.multiple, network.stride) < 1:
        raise ValueError(f"it computes {', '.join(network.maps)} from {', '.join(inputs)}")


def _bytes(path: Path) -> bytes:
    with open_regular(path, "ONNX file") as file:
        return file.read()


def open_session(graph: str | bytes, device: str | torch.device = "cpu") -> Any:
    """An onnxruntime session with torch's number of threads; graph: a path, or the bytes."""
    runtime, device = need_onnx("onnxruntime"), torch.device(device)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised; print nothing else
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    # With the CPU alone there is nothing to fall back to, and no reason to print that.
    fall_back = int(len(providers) > 1)
    return runtime.InferenceSession(graph, options, providers=providers, enable_fallback=fall_back)


def need_onnx(module: str) -> Any:
    """Import onnx or onnxruntime. Raises UserError that names the extra if it is missing."""
    return optional(module, "export", f"ONNX files need {module}")
