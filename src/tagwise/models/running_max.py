"""The compiled loops of corner pooling: running maxima and their gradient.

Maps are contiguous (outer, length, inner) arrays, and the maximum runs along the middle axis, from
its start, or from its end if `back`. There are separate loops for inner = 1, where each value
depends on the previous one, so that vector instructions cannot be used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tagwise.runtime import compiled


@njit(inline="always")
def _larger(best, value):
    """The larger value; the first of equal values, and NaN if either is NaN."""
    return best if (best >= value) | (best != best) else value


def running_max(x: np.ndarray, out: np.ndarray, back: bool) -> None:
    """Write the running maximum of x (outer, length, inner) to out, of the same shape and type."""
    if x.shape[2] == 1:
        _max_in_rows(x[:, :, 0], out[:, :, 0], back)
    else:
        _max_over_rows(x, out, back)


def running_max_backward(
    pooled: np.ndarray, gradient: np.ndarray, out: np.ndarray, back: bool
) -> None:
    """Write the sum of the gradient over the cells whose maximum is at each cell to out.

    pooled: (outer, length, inner), the result of `running_max` with its bits as integers; where
    they change, a new maximum begins. gradient, out: of the same shape, float32 or float64.
    """
    if pooled.shape[2] > 1:
        _sum_over_rows(pooled, gradient, out, back)
    elif back:
        _sum_to_ends(pooled[:, :, 0], gradient[:, :, 0], out[:, :, 0])
    else:
        _sum_to_starts(pooled[:, :, 0], gradient[:, :, 0], out[:, :, 0])


@compiled()
def _max_over_rows(x, out, back):
    outer, length, inner = x.shape
    for o in range(outer):
        for step in range(length):
            t = length - 1 - step if back else step
            before = x[o, t] if step == 0 else out[o, t + 1 if back else t - 1]
            row, to = x[o, t], out[o, t]
            for i in range(inner):
                to[i] = _larger(before[i], row[i])


@compiled()
def _max_in_rows(x, out, back):
    """Running maxima of four rows at a time, so that a processor can overlap their comparisons."""
    rows, length = x.shape
    for first in range(0, rows, 4):
        last = min(first + 3, rows - 1)
        second, third = min(first + 1, last), min(first + 2, last)
        x0, x1, x2, x3 = x[first], x[second], x[third], x[last]
        out0, out1, out2, out3 = out[first], out[second], out[third], out[last]
        start = length - 1 if back else 0
        best0, best1, best2, best3 = x0[start], x1[start], x2[start], x3[start]
        for step in range(length):
            t = length - 1 - step if back else step
            best0, best1 = _larger(best0, x0[t]), _larger(best1, x1[t])
            best2, best3 = _larger(best2, x2[t]), _larger(best3, x3[t])
            out0[t], out1[t], out2[t], out3[t] = best0, best1, best2, best3


@compiled()
def _sum_over_rows(pooled, gradient, out, back):
    outer, length, inner = pooled.shape
    total = np.empty(inner, gradient.dtype)
    zero = gradient.dtype.type(0)
    for o in range(outer):
        total[:] = zero
        for step in range(length - 1):  # from the far end; each sum ends where its run began
            t = step if back else length - 1 - step
            row, before = pooled[o, t], pooled[o, t + 1 if back else t - 1]
            more, to = gradient[o, t], out[o, t]
            for i in range(inner):
                value = total[i] + more[i]
                met = row[i] != before[i]
                to[i] = value if met else zero
                total[i] = zero if met else value
        t = length - 1 if back else 0
        for i in range(inner):
            out[o, t, i] = total[i] + gradient[o, t, i]


@compiled()
def _sum_to_ends(pooled, gradient, out):
    """Sums for maxima that run from the end: the first cell of a run is its last in memory."""
    rows, length = pooled.shape
    zero = gradient.dtype.type(0)
    for o in range(rows):
        row, more, to = pooled[o], gradient[o], out[o]
        total = zero
        for t in range(length - 1):
            total += more[t]
            met = row[t] != row[t + 1]
            to[t] = total if met else zero
            total = zero if met else total
        to[length - 1] = total + more[length - 1]


@compiled()
def _sum_to_starts(pooled, gradient, out):
    """Sums for maxima that run from the start. A loop backwards in memory takes 4 times as long."""
    rows, length = pooled.shape
    zero = gradient.dtype.type(0)
    for o in range(rows):
        row, more, to = pooled[o], gradient[o], out[o]
        first, total = 0, more[0]
        for t in range(1, length):
            met = row[t] != row[t - 1]
            to[t] = zero
            to[first] = total
            first = t if met else first
            total = more[t] + (zero if met else total)
        to[first] = total
