"""The running maxima of corner pooling and their gradient as operators of torch.

They are compiled loops on a CPU, Triton's kernels on a CUDA GPU where these work, and torch's own
operators elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from tagwise.console.streams import print_note
from tagwise.errors import brief
from tagwise.models.running_max import running_max, running_max_backward
from tagwise.runtime import current_gpu

_COMPILED = (torch.float32, torch.float64)
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_WIDEST = 1024  # of the maps that check a kernel

# As torch operators, the two steps are opaque to torch.compile, which does not split them.
torch.library.define("tagwise::running_max", "(Tensor x, int axis, bool back) -> Tensor")
torch.library.define(
    "tagwise::running_max_backward",
    "(Tensor pooled, Tensor gradient, int axis, bool back) -> Tensor",
)
running_max_op = torch.ops.tagwise.running_max
running_max_backward_op = torch.ops.tagwise.running_max_backward


@torch.library.register_fake("tagwise::running_max")
def _(x: Tensor, axis: int, back: bool) -> Tensor:
    return torch.empty_like(_dense(x))


@torch.library.register_fake("tagwise::running_max_backward")
def _(pooled: Tensor, gradient: Tensor, axis: int, back: bool) -> Tensor:
    return torch.empty_like(pooled)


@torch.library.impl("tagwise::running_max", "CPU")
def _(x: Tensor, axis: int, back: bool) -> Tensor:
    x = _dense(x)
    wide = x if x.dtype in _COMPILED else x.float()
    out = torch.empty_like(wide)
    if x.numel():
        running_max(_lines(wide, axis), _lines(out, axis), back)
    return out.to(x.dtype)


@torch.library.impl("tagwise::running_max_backward", "CPU")
def _(pooled: Tensor, gradient: Tensor, axis: int, back: bool) -> Tensor:
    gradient = gradient.contiguous(memory_format=_layout(pooled))
    wide = gradient if gradient.dtype in _COMPILED else gradient.float()
    out = torch.empty_like(wide)
    if pooled.numel():
        lines = (_lines(each, axis) for each in (_bits(pooled), wide, out))
        running_max_backward(*lines, back)
    return out.to(pooled.dtype)


# ---------------------------------------------------------------------- CUDA


@torch.library.impl("tagwise::running_max", "CUDA")
def _(x: Tensor, axis: int, back: bool) -> Tensor:
    x = _dense(x)
    with current_gpu(x.device):
        if (kernel := _kernel_for("running_max", x, axis, back)) is None:
            return _cummax(x, axis, back)
        out = torch.empty_like(x)
        kernel(x, out, line_shape(x, axis), back)
    return out


@torch.library.impl("tagwise::running_max_backward", "CUDA")
def _(pooled: Tensor, gradient: Tensor, axis: int, back: bool) -> Tensor:
    with current_gpu(pooled.device):
        if (kernel := _kernel_for("running_max_backward", pooled, axis, back)) is None:
            return _cummax_backward(pooled, gradient, axis, back)
        gradient, out = gradient.contiguous(memory_format=_layout(pooled)), torch.empty_like(pooled)
        kernel(_bits(pooled), gradient, out, line_shape(pooled, axis), back)
    return out


def _kernel_for(name: str, x: Tensor, axis: int, back: bool) -> Callable[..., None] | None:
    """The kernel of this name for dense maps, or None."""
    if x.dtype == torch.float64 or not x.numel():
        return None
    _, length, inner = line_shape(x, axis)
    width = min(1 << (length - 1).bit_length(), _WIDEST)
    return _checked_kernel(name, x.device, x.dtype, width, inner == 1, back)


@cache
def _checked_kernel(
    name: str, device: torch.device, dtype: torch.dtype, length: int, rows: bool, back: bool
) -> Callable[..., None] | None:
    """A Triton kernel that was found to compute what torch's operators compute.

    None if triton is not installed. If a kernel fails, as where Triton finds no C compiler, or
    computes something else, one line says so.

    rows: whether the lines are contiguous in memory.
    """
    try:
        kernel = getattr(import_module("tagwise.models.running_max_triton"), name)
    except ImportError:
        return None
    axis = -1 if rows else -2
    try:
        if _agrees(name, kernel, device, _steps(dtype, length, axis, back), axis, back):
            return kernel
        reason = "its kernel computed other values"
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of Triton, of the compilers that it calls, or of the driver
        reason = brief(" ".join(f"{type(error).__name__}: {error}".split()), 200)
    _tell_once(f"corner pooling runs without Triton on {device}, which takes longer: {reason}")
    return None


@cache
def _tell_once(text: str) -> None:
    print_note(text)


def _steps(dtype: torch.dtype, length: int, axis: int, back: bool) -> Tensor:
    """A map with many maxima and many equal values along an axis of this length."""
    step, lines = torch.arange(length), torch.arange(15)[:, None]
    values = (step * 37 + lines * 11) % 101 % 7 + (step.flip(0) if back else step) // 4
    values = values.to(dtype).view(1, 3, 5, length)
    return values if axis == -1 else values.transpose(2, 3).contiguous()


def _agrees(
    name: str,
    kernel: Callable[..., None],
    device: torch.device,
    x: Tensor,
    axis: int,
    back: bool,
) -> bool:
    """Whether a kernel computes on a GPU what torch's operators compute on the CPU."""
    pooled, gradient = _cummax(x, axis, back), x * 3 % 5
    inputs, expected = [x], pooled
    if name == "running_max_backward":
        inputs, expected = [_bits(pooled), gradient], _cummax_backward(pooled, gradient, axis, back)
    out = torch.empty_like(x, device=device)
    kernel(*(each.to(device) for each in inputs), out, line_shape(x, axis), back)
    return torch.equal(out.cpu(), expected)


# ---------------------------------------------------------------------- other devices


def _cummax(x: Tensor, axis: int, back: bool) -> Tensor:
    x = _dense(x)
    largest = (x.flip(axis) if back else x).cummax(axis).values
    out = largest.flip(axis) if back else largest
    return out.contiguous(memory_format=_layout(x))


def _cummax_backward(pooled: Tensor, gradient: Tensor, axis: int, back: bool) -> Tensor:
    if back:
        pooled, gradient = pooled.flip(axis), gradient.flip(axis)
    wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    index = torch.arange(pooled.shape[axis], device=pooled.device).view(-1, *[1] * (-1 - axis))
    met = pooled != pooled.roll(1, axis)  # for the first cell, index is 0 in any case
    first = torch.where(met, index, 0).cummax(axis).values
    out = torch.zeros_like(wide).scatter_add_(axis, first, wide).to(pooled.dtype)
    return (out.flip(axis) if back else out).contiguous(memory_format=_layout(pooled))


# As decorators, these would return None instead of the functions.
torch.library.impl("tagwise::running_max", "CompositeExplicitAutograd", _cummax)
torch.library.impl("tagwise::running_max_backward", "CompositeExplicitAutograd", _cummax_backward)


# ---------------------------------------------------------------------- the layout of maps


def _bits(pooled: Tensor) -> Tensor:
    """The values as integers, which differ wherever a new maximum begins."""
    return pooled.view(_BITS[pooled.element_size()])


def _layout(x: Tensor) -> torch.memory_format:
    plain = x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last)
    return torch.contiguous_format if plain else torch.channels_last


def _dense(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=_layout(x))


def _lines(x: Tensor, axis: int) -> np.ndarray:
    """A view of dense maps as (outer, length, inner), with the length along that axis."""
    dense = x.permute(0, 2, 3, 1) if _layout(x) == torch.channels_last else x
    return dense.view(line_shape(x, axis)).numpy()


def line_shape(x: Tensor, axis: int) -> tuple[int, int, int]:
    """(outer, length, inner) of dense maps in memory, with the length along that axis."""
    shape = x.shape
    if _layout(x) == torch.channels_last:
        shape, axis = (shape[0], shape[2], shape[3], shape[1]), axis - 1
    axis += len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
