"""Loading networks from tagwise model files, ONNX files and published checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tagwise.errors import UserError
from tagwise.models.from_published import read_published
from tagwise.models.model_file import find_weights, read_model_file
from tagwise.models.network import ModelSpec, Network
from tagwise.models.onnx import OnnxNetwork, read_onnx
from tagwise.models.zoo import SkipInit, build_network
from tagwise.tasks import create_task

_BUILD_ERRORS = (
    UserError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that building a network from an arbitrary header can raise."""


def load_model(
    name: str | Path, device: str | torch.device = "cpu", fuse: bool = False
) -> Network | OnnxNetwork:
    """Load a network from a file, or a shipped model by name.

    name: the name of a shipped model, or the path of a model file, of a published checkpoint (see
        `tagwise.published`), or of an ONNX file, which onnxruntime runs (see
        `tagwise.models.onnx`).
    fuse: fold batch norms into the convolutions, for inference only.

    Weights are float32 on the device; the network is in evaluation mode and has `.spec` and
    `.task`. Raises UserError for an unknown name, an unreadable file, and a file of an unknown
    format.
    """
    path = find_weights(name)
    if path.suffix == ".onnx":
        return read_onnx(path, device)
    return network_of(*_read(path), path, device, fuse)


def network_of(
    spec: ModelSpec,
    state: dict[str, Tensor],
    path: Path,
    device: str | torch.device = "cpu",
    fuse: bool = False,
) -> Network:
    """The network that a model file describes; path: of the file, for errors."""
    try:
        task = create_task(spec.task, **spec.task_options)
        # On "meta", nothing is allocated before the shapes have been compared with the file's.
        device_built = "cpu" if spec.name.startswith("timm/") else "meta"
        with torch.device(device_built), SkipInit(most=4 * len(state) + 1000):
            model = build_network(spec.name, task.heads(), None, spec.options)
        model.load_state_dict(state, assign=True)
    except _BUILD_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not describe a network that fits it: {reason}") from error
    model.spec, model.task = spec, task
    model = model.to(device=device, memory_format=torch.channels_last).eval()
    return model.fuse() if fuse else model


def _read(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    if path.suffix == ".safetensors":
        return read_model_file(path)
    return read_published(path)
