"""What the program runs on: devices and precision, memory, and compiled loops."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import torch
from numba import njit

from tagwise.errors import UserError, unknown_name

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameter numbers of mallopt(3)


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


# ---------------------------------------------------------------------- memory


def keep_freed_memory() -> None:
    """Let glibc keep freed pages for the next allocation; elsewhere nothing happens.

    A network's maps are large enough that glibc gives each back to the system at once, and to
    fault the pages in again for the next layer costs 10 to 20 % of a forward pass.
    """
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


# ---------------------------------------------------------------------- compiled loops


def compiled(**options):
    """numba's njit, cached on disk where a folder for the cache can be written.

    A function is compiled on its first call. Where no cache folder can be written, it is kept in
    memory. options: of njit.
    """

    def decorate(function):
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return decorate


def is_compiled(function) -> bool:
    """Whether an earlier run left this `compiled` function on disk."""
    folder = function.stats.cache_path
    module = function.__module__.rpartition(".")[2]
    return folder is not None and any(Path(folder).glob(f"{module}.{function.__name__}-*.nbi"))
