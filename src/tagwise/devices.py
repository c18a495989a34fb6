"""Where a network runs, and in which precision."""

from __future__ import annotations

import torch

from tagwise.errors import UserError, unknown_name


def find_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device of that name, if it is there. Raises UserError if not.

    >>> find_device("cpu")
    device(type='cpu')
    """
    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise unknown_name(
            "device", str(device), ["auto", "cpu", "cuda", "cuda:0", "mps"]
        ) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        have = f"only {count} CUDA GPU(s)" if count else "no CUDA GPU that torch can use"
        raise UserError(f"device {device!r} was asked for, but there is {have}; use --device cpu")
    if found.type == "mps" and not mps:
        raise UserError("device 'mps' was asked for, but there is no Apple GPU; use --device cpu")
    return found


def fastest_precision(device: torch.device) -> str:
    """The precision that "auto" stands for."""
    # torch asks the processor only privately, and early versions not at all.
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and asked() else "fp32"
