"""The median, compiled."""

from __future__ import annotations

from tagwise.runtime import compiled


@compiled(inline="always")
def median(values):
    """The median of values (N,), N >= 1, which are sorted in place.

    For the tens of groups of an image, an insertion sort is as fast as numpy.median, which numba
    takes more than a second to compile.
    """
    count = len(values)
    for n in range(1, count):
        value, k = values[n], n
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    if count % 2:
        return values[count // 2]
    return (values[count // 2 - 1] + values[count // 2]) / 2
