"""Loading networks from tagwise model files, ONNX and OpenVINO files, published checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tagwise.errors import UserError
from tagwise.models.checks import BUILD_ERRORS, check_run, check_weights
from tagwise.models.find import find_weights
from tagwise.models.from_published import read_published
from tagwise.models.model_file import read_model_file
from tagwise.models.network import Network
from tagwise.models.onnx import OnnxNetwork, read_onnx
from tagwise.models.openvino import OpenVinoNetwork, read_openvino
from tagwise.models.shipped import is_shipped
from tagwise.models.spec import ModelSpec
from tagwise.models.zoo import SkipInit, build_network
from tagwise.tasks import create_task


def load_model(
    name: str | Path, device: str | torch.device = "cpu", fuse: bool = False
) -> Network | OnnxNetwork | OpenVinoNetwork:
    """Load a network from a file, or a shipped or public model by name.

    name: the name of a shipped model, or of a public one (see `tagwise.list_models`), which is
        fetched once; or the path of a model file, of a published checkpoint (see
        `tagwise.published`), of an ONNX file, which onnxruntime runs (see `tagwise.models.onnx`),
        or of the .xml of an OpenVINO file (see `tagwise.models.openvino`).
    fuse: fold batch norms into the convolutions, for inference only.

    Weights are float32 on the device; the network is in evaluation mode and has `.spec` and
    `.task`. Raises UserError for an unknown name, an unreadable file, a file of an unknown format,
    settings of a wrong type or range, weights that are not finite, and a network that cannot run.
    """
    path = find_weights(name)
    if path.suffix == ".onnx":
        return read_onnx(path, device)
    if path.suffix == ".xml":
        return read_openvino(path)
    return network_of(*_read(path), path, device, fuse)


def network_of(
    spec: ModelSpec,
    state: dict[str, Tensor],
    path: Path,
    device: str | torch.device = "cpu",
    fuse: bool = False,
) -> Network:
    """The network that a model file describes; path: of the file, for errors."""
    check_weights(state, path)
    try:
        task = create_task(spec.task, **spec.task_options)
        # On "meta", nothing is allocated before the shapes have been compared with the file's.
        device_built = "cpu" if spec.name.startswith("timm/") else "meta"
        with torch.device(device_built), SkipInit(most=4 * len(state) + 1000):
            model = build_network(spec.name, task.heads(), None, spec.options)
        model.load_state_dict(state, assign=True)
    except (UserError, *BUILD_ERRORS) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} does not describe a network that fits it: {reason}") from error
    model.spec, model.task = spec, task
    model.eval()
    # Published networks have no settings of their own, and shipped models are tested.
    if "converted_from" not in spec.info and not is_shipped(path):
        check_run(model, path)
    model = model.to(device=device, memory_format=torch.channels_last)
    return model.fuse() if fuse else model


def _read(path: Path) -> tuple[ModelSpec, dict[str, Tensor]]:
    if path.suffix == ".safetensors":
        return read_model_file(path)
    return read_published(path)
