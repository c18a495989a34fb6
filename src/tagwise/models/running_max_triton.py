"""Running maxima for corner pooling on a CUDA GPU, as Triton kernels; see `running_max`.

Needs triton, which torch installs with its CUDA builds. Each thread walks along one line of the
map, so that a map is read and written once.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128  # lines per program


@triton.jit
def _maxima(x, out, length, inner, lines, back: tl.constexpr, block: tl.constexpr):
    line = (tl.program_id(0) * block + tl.arange(0, block)).to(tl.int64)
    inside = line < lines
    first = (line // inner) * length * inner + line % inner
    best = tl.full((block,), float("-inf"), x.dtype.element_ty)
    for step in range(length):
        cell = first + (length - 1 - step if back else step) * inner
        value = tl.load(x + cell, inside, other=float("-inf"))
        best = tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)
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


def running_max(x: Tensor, out: Tensor, shape: tuple[int, int, int], back: bool) -> None:
    """Write the running maxima of x to out.

    x, out: dense, of one dtype and memory layout, float16, bfloat16 or float32.
    shape: (outer, length, inner) of both in memory; maxima run along the length.
    back: from the end.
    """
    outer, length, inner = shape
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
    lines = outer * inner
    _gradients[(triton.cdiv(lines, _BLOCK),)](
        bits, gradient, out, length, inner, lines, back, _BLOCK
    )
