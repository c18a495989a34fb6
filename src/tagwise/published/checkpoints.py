"""Tensors out of files that other programs wrote, by name; nothing in a file is ever executed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular
from tagwise.published.safety import allowed_bytes, check_checkpoint, cut_short, refuse_code
from tagwise.published.stand_ins import stand_ins

# Where training programs put the weights beside an optimiser, an epoch and the like.
ROOMS = ("state_dict", "best_state_dict", "model", "model_state_dict", "network", "net")
_DEEPEST = 8  # of these inside one another

# What wrappers put before every name: data parallelism, a trainer around the network, the middle
# of HigherHRNet's half-precision sandwich, torch.compile.
PREFIXES = ("module.", "model.", "1.", "_orig_mod.", "network.", "net.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The network's tensors of a checkpoint, under their own names without any wrapping.

    path: what torch.save or safetensors wrote.
    Raises UserError for a file that is cut short, holds code, is something else or no network, and
    for tensors that would take far more memory than the file has bytes.
    """
    if path.suffix == ".onnx":
        raise UserError(f"{path} is an ONNX file; give the checkpoint that it was made from")
    check_checkpoint(path)
    content = _read(path)
    _refuse_training_state(content, path)
    found = _tensors(content)
    if not found:
        raise UserError(f"{path} holds no tensors by name; give a network's checkpoint")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in found.values())
    if needed > allowed_bytes(path):
        raise UserError(f"{path} claims tensors of {needed} bytes, far more than it has itself")
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _read(path: Path) -> Any:
    with open_regular(path, "checkpoint") as file:
        is_safetensors = kind_of(file.read(SNIFFED)) == "a safetensors file"
    try:
        if is_safetensors:
            return load_file(path)
        # What it may not support, it refuses.
        with warnings.catch_warnings(action="ignore"), safe_globals(stand_ins()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", str(error))
        refuse_code(path, [refused.group(1) or refused.group(2)] if refused else [])
        raise cut_short(path, error) from error
    except Exception as error:  # a damaged file can ask for anything, and fail in any way
        raise cut_short(path, error) from error


def _refuse_training_state(content: Any, path: Path) -> None:
    """Raises UserError for the state of a training of ours, which names the model beside it."""
    if not isinstance(content, Mapping) or not {"step", "average", "optimizer"} <= content.keys():
        return
    models = [path.with_name(f"{name}.safetensors") for name in ("best", "last")]
    there = [str(model) for model in models if model.is_file()]
    hint = f"the model is {' or '.join(there)}" if there else "its model is written at the end"
    raise UserError(f"{path} is the state of a training, from which --resume goes on; {hint}")


def _tensors(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """The dict of named tensors in a checkpoint, wherever it is kept."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return {}
    for room in ROOMS:
        inner = _tensors(content.get(room), depth + 1)
        if inner:
            return inner
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
