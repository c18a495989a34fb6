"""Tensors out of files that other programs wrote, by name; nothing in a file is ever executed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from tagwise.errors import UserError
from tagwise.published.stand_ins import stand_ins

# Where training programs put the weights beside an optimiser, an epoch and the like.
ROOMS = ("state_dict", "best_state_dict", "model", "model_state_dict", "network", "net")

# What wrappers put before every name: data parallelism, a trainer around the network, the middle
# of HigherHRNet's half-precision sandwich, torch.compile.
PREFIXES = ("module.", "model.", "1.", "_orig_mod.", "network.", "net.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The network's tensors of a checkpoint, under their own names without any wrapping.

    path: what torch.save or safetensors wrote.
    Raises UserError for a file that is cut short, holds code, or no network.
    """
    if path.suffix == ".onnx":
        raise UserError(f"{path} is an ONNX file; give the checkpoint that it was made from")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    found = _tensors(content)
    if not found:
        raise UserError(f"{path} holds no tensors by name; give a network's checkpoint")
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _cut_short(path, error) from error


def _read_pickle(path: Path) -> Any:
    try:
        # What it may not support, it refuses.
        with warnings.catch_warnings(action="ignore"), safe_globals(stand_ins()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)|Unsupported (?:class|operand) ([\w.]+)", str(error))
        with path.open("rb") as file:
            half_a_zip = b"PK".startswith(file.read(2)) and not is_zipfile(path)
        if half_a_zip or not refused:
            raise _cut_short(path, error) from error
        name = refused.group(1) or refused.group(2)
        name = f"pickle instruction {name}" if name.isdigit() else name
        raise UserError(
            f"{path} holds more than tensors ({name}), which could run any code when it is read; "
            "nothing was read. If you trust who made it, save its tensors alone, in an environment "
            "that you can spare: python -c \"import torch; c = torch.load('IN.pth', "
            "map_location='cpu', weights_only=False); torch.save(c.get('state_dict', c), "
            "'OUT.pth')\", and give OUT.pth"
        ) from error
    except Exception as error:  # a damaged pickle can ask for anything, and fail in any way
        raise _cut_short(path, error) from error


def _cut_short(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return UserError(
        f"{path} is no readable checkpoint ({reason}); it may be cut short: get it again"
    )


def _tensors(content: Any) -> dict[str, Tensor]:
    """The dict of named tensors in a checkpoint, wherever it is kept."""
    if not isinstance(content, Mapping):
        return {}
    for room in ROOMS:
        inner = _tensors(content.get(room))
        if inner:
            return inner
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
