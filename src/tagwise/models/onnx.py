"""Networks from ONNX files as torch modules, for what needs tensors, such as mirrored passes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tagwise.models.onnx_model import OnnxModel, read_onnx_model


class OnnxNetwork(nn.Module):
    """A network with the interface of `Network` that runs an ONNX file written by `export`."""

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.spec, self.task = model.spec, model.task
        self.multiple, self.stride = model.multiple, model.stride
        self.runtime, self.precisions = model.runtime, model.precisions
        self.parallel, self.use = model.parallel, model.use
        self._model = model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W), float in [0, 1], to float32 maps by head name, as `Network`."""
        found = self._model(images.float().cpu().numpy())
        return {name: torch.from_numpy(maps).to(images.device) for name, maps in found.items()}


def read_onnx(path: Path, device: str | torch.device = "cpu") -> OnnxNetwork:
    """The network of an ONNX file, see `read_onnx_model`."""
    return OnnxNetwork(read_onnx_model(path, str(device)))
