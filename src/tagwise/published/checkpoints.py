"""Reading tensors from the files of other programs; code in a file is never executed."""

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

# Keys under which training programs store the weights, next to the optimizer, the epoch and so on.
WEIGHT_KEYS = ("state_dict", "best_state_dict", "model", "model_state_dict", "network", "net")
_MAX_DEPTH = 8  # of nested dicts under these keys

# Prefixes that wrappers add to every name: data parallelism, a trainer around the network, the
# half-precision wrapper of HigherHRNet, torch.compile.
PREFIXES = ("module.", "model.", "1.", "_orig_mod.", "network.", "net.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of `read_checkpoint` alone."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """The network's tensors in a checkpoint, by name, and the text of its trainer's settings.

    Names are without the prefixes of wrappers. The text is what mmpose and mmdetection store as
    their config; it is empty if there is none.

    path: a file written by torch.save or safetensors.
    Raises UserError for a file that is truncated, contains code, is of another type or has no
    tensors, and for tensors that would take far more memory than the size of the file.
    """
    if path.suffix == ".onnx":
        raise UserError(f"{path} is an ONNX file; give the checkpoint that it was exported from")
    if path.suffix == ".xml":
        raise UserError(f"{path} is an OpenVINO file, which runs as it is: --weights {path}")
    check_checkpoint(path)
    content = _read(path)
    _refuse_training_state(content, path)
    tensors = _tensors(content)
    if not tensors:
        raise UserError(f"{path} has no named tensors; give a checkpoint of a network")
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > allowed_bytes(path):
        raise UserError(f"{path} declares tensors of {needed} bytes, far more than its own size")
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors, _settings(content)


def _read(path: Path) -> Any:
    with open_regular(path, "checkpoint") as file:
        is_safetensors = kind_of(file.read(SNIFFED)) == "a safetensors file"
    try:
        if is_safetensors:
            return load_file(path)
        # torch warns about features that it may not support, and raises if it does not.
        with warnings.catch_warnings(action="ignore"), safe_globals(stand_ins()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        refused = re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", str(error))
        refuse_code(path, [refused.group(1) or refused.group(2)] if refused else [])
        raise cut_short(path, error) from error
    except Exception as error:  # a damaged file can raise any error
        raise cut_short(path, error) from error


def _refuse_training_state(content: Any, path: Path) -> None:
    """Raise UserError for the training state of a tagwise run; names the model next to it."""
    if not isinstance(content, Mapping) or not {"step", "average", "optimizer"} <= content.keys():
        return
    models = [path.with_name(f"{name}.safetensors") for name in ("best", "last")]
    existing = [str(model) for model in models if model.is_file()]
    hint = (
        f"the model is {' or '.join(existing)}" if existing else "its model is written at the end"
    )
    raise UserError(f"{path} is a training state, which --resume continues; {hint}")


def _settings(content: Any) -> str:
    """The config in the "meta" of a file of the OpenMMLab trainers, as they wrote it."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    found = (meta.get(key) for key in ("config", "cfg")) if isinstance(meta, Mapping) else ()
    return next((text for text in found if isinstance(text, str)), "")


def _tensors(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """The dict of named tensors in a checkpoint, at the top level or under one of WEIGHT_KEYS."""
    if not isinstance(content, Mapping) or depth > _MAX_DEPTH:
        return {}
    for key in WEIGHT_KEYS:
        inner = _tensors(content.get(key), depth + 1)
        if inner:
            return inner
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
