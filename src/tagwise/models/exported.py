"""Networks out of ONNX files, run by onnxruntime; needs the extra "export"."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.network import ModelSpec

INPUT = "images"


class OnnxNetwork(nn.Module):
    """Images to maps, as `Network` has it, by the graph of an ONNX file that `export` wrote.

    graph: the file's path, or its bytes.
    multiple, stride: as of the network that it was written from.
    """

    half = False

    def __init__(
        self,
        graph: Path | bytes,
        spec: ModelSpec,
        multiple: int,
        stride: int,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        from tagwise.tasks import create_task

        self.spec, self.multiple, self.stride = spec, multiple, stride
        self.task = create_task(spec.task, **spec.task_options)
        self._session = _session(graph, torch.device(device))
        self._names = [output.name for output in self._session.get_outputs()]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`."""
        found = self._session.run(None, {INPUT: images.float().contiguous().cpu().numpy()})
        maps = [torch.from_numpy(each).to(images.device) for each in found]
        return dict(zip(self._names, maps, strict=True))


def read_onnx(path: Path, device: str | torch.device = "cpu") -> OnnxNetwork:
    """The network of an ONNX file that `tagwise export` wrote.

    Raises UserError for damaged files, files of other programs, and where onnxruntime is missing.
    """
    from tagwise.models.zoo import HEADER, parse_spec

    runtime = need("onnxruntime")
    try:
        said = runtime.InferenceSession(
            str(path), providers=["CPUExecutionProvider"]
        ).get_modelmeta()
    except Exception as error:  # onnxruntime has a class of its own for each kind of damage
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no readable ONNX file ({reason}); get it again") from error
    header = said.custom_metadata_map.get(HEADER)
    if header is None:
        raise UserError(
            f"{path} was not written by `tagwise export`: it does not say what its maps mean"
        )
    spec = parse_spec(header, path)
    sides = json.loads(header)
    return OnnxNetwork(path, spec, sides["multiple"], sides["stride"], device)


def need(module: str) -> ModuleType:
    """A module of the extra "export". Raises UserError that names it where it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(
            f"ONNX files need {module}: pip install 'tagwise[export]' ({error})"
        ) from error


def _session(graph: Path | bytes, device: torch.device):
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    source = graph if isinstance(graph, bytes) else str(graph)
    return runtime.InferenceSession(source, options, providers=providers)
