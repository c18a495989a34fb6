"""Running maxima for corner pooling on a CUDA GPU, as Triton kernels; see `running_max`.

Needs triton, which torch installs with its CUDA builds. Neighbouring threads read neighbouring
values: where lines are not contiguous in memory, each thread walks along one line, and where they
are, the threads of a program scan whole lines together. A map is read and written once.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128  # lines per program whose threads walk
_TILE, _MOST = 2048, 1024  # values that a program scans at a time, and the most of one line


@triton.jit
def _maxima(x, out, length, inner, lines, back: tl.constexpr, block: tl.constexpr):
    line = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)
    inside = line < lines
    first = (line // inner) * length * inner + line % inner
    best = tl.full((block,), float("-inf"), x.dtype.element_ty)
    for step in range(length):
        cell = first + (length - 1 - step if back else step) * inner
        value = tl.load(x + cell, inside, other=float("-inf"))
        best = _larger(best, value)
        tl.store(out + cell, best, inside)


@triton.jit
def _gradients(bits, gradient, out, length, inner, lines, back: tl.constexpr, block: tl.constexpr):
    """From the end of the scan to its start; a sum ends where the maximum was met first."""
    line = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)
    inside = line < lines
    first = (line // inner) * length * inner + line % inner
    total = tl.zeros((block,), tl.float32)
    last = first + (0 if back else length - 1) * inner
    here = tl.load(bits + last, inside, other=0)
    for step in range(length):
        cell = first + (step if back else length - 1 - step) * inner
        before = cell + (inner if back else -inner)
        remaining = length - 1 - step + tl.zeros_like(line)
        earlier = tl.load(bits + before, inside & (remaining > 0), other=0)
        total += tl.load(gradient + cell, inside, other=0.0).to(tl.float32)
        met = (here != earlier) | (remaining == 0)
        tl.store(out + cell, tl.where(met, total, 0.0).to(out.dtype.element_ty), inside)
        total = tl.where(met, 0.0, total)
        here = earlier


@triton.jit
def _row_maxima(
    x, out, length, lines, back: tl.constexpr, block: tl.constexpr, width: tl.constexpr
):
    line = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)[:, None]
    best = tl.full((block, 1), float("-inf"), x.dtype.element_ty)
    for start in range(0, length, width):
        step = start + tl.arange(0, width)[None, :]
        cell = line * length + (length - 1 - step if back else step)
        inside = (line < lines) & (step < length)
        values = tl.load(x + cell, inside, other=float("-inf"))
        values = _larger(best, tl.associative_scan(values, 1, _larger))
        tl.store(out + cell, values, inside)
        best = _larger(best, tl.reduce(values, 1, _larger, keep_dims=True))


@triton.jit
def _row_gradients(
    bits, gradient, out, length, lines, back: tl.constexpr, block: tl.constexpr, width: tl.constexpr
):
    """As `_gradients`; steps count from the end of the scan of the maxima."""
    line = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)[:, None]
    total = tl.zeros((block, 1), tl.float32)
    toward: tl.constexpr = 1 if back else -1  # the start of the scan
    for start in range(0, length, width):
        step = start + tl.arange(0, width)[None, :]
        cell = line * length + (step if back else length - 1 - step)
        inside = (line < lines) & (step < length)
        here = tl.load(bits + cell, inside, other=0)
        earlier = tl.load(bits + cell + toward, inside & (step < length - 1), other=0)
        later = tl.load(bits + cell - toward, inside & (step > 0), other=0)
        values = tl.load(gradient + cell, inside, other=0.0).to(tl.float32)
        begins = ((later != here) & (step > 0)).to(tl.int32)  # a sum, at its last cell
        sums, begun = tl.associative_scan((values, begins), 1, _add_or_begin)
        sums += tl.where(begun > 0, 0.0, total)
        met = (here != earlier) | (step == length - 1)
        tl.store(out + cell, tl.where(met, sums, 0.0).to(out.dtype.element_ty), inside)
        total = tl.sum(tl.where(step == start + width - 1, sums, 0.0), 1, keep_dims=True)


@triton.jit
def _larger(a, b):
    # Before Triton 3.9, the maximum of bfloat16 is float32.
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL).to(a.dtype)


@triton.jit
def _add_or_begin(sum_a, begins_a, sum_b, begins_b):
    """Sums of consecutive values, which start again where one begins."""
    return tl.where(begins_b > 0, sum_b, sum_a + sum_b), begins_a | begins_b


def running_max(x: Tensor, out: Tensor, shape: tuple[int, int, int], back: bool) -> None:
    """Write the running maxima of x to out.

    x, out: dense, of one dtype and memory layout, float16, bfloat16 or float32.
    shape: (outer, length, inner) of both in memory; maxima run along the length.
    back: from the end.
    """
    outer, length, inner = shape
    if inner == 1:
        block, width = _tile(length)
        _row_maxima[(triton.cdiv(outer, block),)](x, out, length, outer, back, block, width)
    else:
        lines = outer * inner
        _maxima[(triton.cdiv(lines, _BLOCK),)](x, out, length, inner, lines, back, _BLOCK)


def running_max_backward(
    bits: Tensor, gradient: Tensor, out: Tensor, shape: tuple[int, int, int], back: bool
) -> None:
    """Write to out the sum of the gradients of each maximum, at the first cell that has it.

    bits: the running maxima, viewed as integers. gradient, out, shape, back: as for `running_max`;
    sums are float32.
    """
    outer, length, inner = shape
    if inner == 1:
        block, width = _tile(length)
        grid = (triton.cdiv(outer, block),)
        _row_gradients[grid](bits, gradient, out, length, outer, back, block, width)
    else:
        lines = outer * inner
        _gradients[(triton.cdiv(lines, _BLOCK),)](
            bits, gradient, out, length, inner, lines, back, _BLOCK
        )


def _tile(length: int) -> tuple[int, int]:
    """The lines of a program, and how many values of each it scans at a time; powers of 2."""
    width = min(triton.next_power_of_2(length), _MOST)
    return _TILE // width, width
