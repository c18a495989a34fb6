"""A GPU that stops working in the middle of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tagwise.errors import UserError

_LOST = re.compile(
    r"\b(CUDA|HIP|cuDNN|CUDNN|cuBLAS|CUBLAS)( driver)?[ _](error|failure|STATUS)"
    r"|no (CUDA|ROCm)-capable device|unspecified launch failure|device-side assert"
    r"|illegal memory access|No CUDA GPUs|busy or unavailable",
)
# Libraries that torch calls report that they could not get memory in words of their own.
_NO_MEMORY = re.compile(r"out of memory|ALLOC_FAILED")
_NO_WORKSPACE = "unable to find an engine"  # cuDNN, for any algorithm of a convolution


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU had too little memory, so that fewer images may fit."""
    text = str(error)
    if "OutOfMemoryError" in _classes(error) or _NO_WORKSPACE in text:
        return True
    return _is_of_gpu(error) and _NO_MEMORY.search(text) is not None


def _is_of_gpu(error: Exception) -> bool:
    return "AcceleratorError" in _classes(error) or _LOST.search(str(error)) is not None


def _classes(error: Exception) -> set[str]:
    # Files of `tagwise export` run without torch, so its classes are known by name here.
    return {kind.__name__ for kind in type(error).__mro__}


class DeviceError(UserError):
    """A GPU stopped working. The process cannot use it again; what it computed before is right."""

    exit_code = 1


@contextmanager
def lost_devices() -> Iterator[None]:
    """Replace the errors of a GPU that stopped working by a DeviceError of one line.

    Running out of memory is no such error.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_of_gpu(error) or is_out_of_memory(error):
            raise
        text = str(error).strip() or type(error).__name__
        raise DeviceError(f"the GPU stopped working ({text.splitlines()[0][:200]})") from error


@contextmanager
def network_moved_to(device: Any) -> Iterator[None]:
    """Raise UserError of one line if a network cannot be moved to a device.

    The GPU may have too little memory, because other programs use it, or not work at all.
    """
    try:
        with lost_devices():
            yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"{device} has too little memory for the network; end other programs that use it, or "
            "use the device cpu"
        ) from error
