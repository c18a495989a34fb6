"""Networks out of ONNX files, run by onnxruntime; needs the extra "export"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, optional
from tagwise.models.model_file import HEADER, parse_spec
from tagwise.models.network import ModelSpec
from tagwise.tasks import create_task

INPUT = "images"


class OnnxNetwork(nn.Module):
    """Images to maps, as `Network` has it, by the graph of an ONNX file that `export` wrote.

    session: of onnxruntime, see `open_session`.
    multiple, stride: as of the network that it was written from.
    """

    fp32_only = True

    def __init__(self, session: Any, spec: ModelSpec, multiple: int, stride: int) -> None:
        super().__init__()
        self.spec, self.multiple, self.stride = spec, multiple, stride
        self.task = create_task(spec.task, **spec.task_options)
        self._session = session
        self._names = [output.name for output in session.get_outputs()]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`."""
        found = self._session.run(None, {INPUT: images.float().contiguous().cpu().numpy()})
        maps = [torch.from_numpy(each).to(images.device) for each in found]
        return dict(zip(self._names, maps, strict=True))


def read_onnx(path: Path, device: str | torch.device = "cpu") -> OnnxNetwork:
    """The network of an ONNX file that `tagwise export` wrote.

    Raises UserError for damaged files, files of other programs, and where onnxruntime is missing.
    """
    need_onnx("onnxruntime")
    try:
        session = open_session(str(path), device)
    except Exception as error:  # onnxruntime has a class of its own for each kind of damage
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no readable ONNX file ({reason}); get it again") from error
    header = session.get_modelmeta().custom_metadata_map.get(HEADER)
    if header is None:
        raise UserError(
            f"{path} was not written by `tagwise export`: it does not say what its maps mean"
        )
    spec, sides = parse_spec(header, path), json.loads(header)
    return OnnxNetwork(session, spec, sides["multiple"], sides["stride"])


def open_session(graph: str | bytes, device: str | torch.device = "cpu") -> Any:
    """A session of onnxruntime, with torch's number of threads; graph: a path, or the bytes."""
    runtime, device = need_onnx("onnxruntime"), torch.device(device)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    return runtime.InferenceSession(graph, options, providers=providers)


def need_onnx(module: str) -> Any:
    """onnx or onnxruntime. Raises UserError that names the extra where it is missing."""
    return optional(module, "export", f"ONNX files need {module}")
