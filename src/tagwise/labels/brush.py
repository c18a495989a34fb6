"""Masks that were painted in Label Studio: run lengths of the packing rle-pack of thi.ng."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CHANNELS = 4  # red, green, blue and alpha


def brush_mask(rle: Sequence[int], width: int, height: int) -> np.ndarray:
    """Decode the "rle" of a brush stroke, bytes as numbers, into a mask (H, W) bool.

    The bytes are a stream of bits: the number of values in 32 bits; the bits of a value, minus 1,
    in 5; four lengths in bits, minus 1, in 4 each. Runs follow: 1 bit, whether all values of the
    run are equal; 2 bits that choose one of the four lengths; the number of values, minus 1, in
    that length; then one value, or each of them. Pixels are painted where alpha is not 0.

    Raises ValueError if these are not the run lengths of an image of this size.
    """
    bits = _Bits(rle)
    count, word = bits.number(32), bits.number(5) + 1
    if count != width * height * _CHANNELS:
        raise ValueError(
            f"the brush mask has {count} values, not the {width * height * _CHANNELS} of "
            f"{width} × {height} pixels with four channels"
        )
    lengths = [bits.number(4) + 1 for _ in range(4)]
    values, at = np.zeros(count, bool), 0
    while at < count:
        equal = bits.number(1)
        run = bits.number(lengths[bits.number(2)]) + 1
        if at + run > count:
            raise ValueError("the runs of the brush mask are longer than the image")
        values[at : at + run] = bits.any(1 if equal else run, word)
        at += run
    return values.reshape(height, width, _CHANNELS)[:, :, 3]


class _Bits:
    """A stream of bits, the highest of each byte first."""

    def __init__(self, content: Sequence[int]) -> None:
        numbers = np.asarray(content, np.int64)
        if numbers.ndim != 1 or ((numbers < 0) | (numbers > 255)).any():
            raise ValueError("the brush mask is not a list of bytes, numbers from 0 to 255")
        self._bits, self._at = np.unpackbits(numbers.astype(np.uint8)), 0

    def number(self, size: int) -> int:
        """The next `size` bits as a number."""
        return int("".join(map(str, self._next(size).tolist())), 2)

    def any(self, count: int, size: int) -> np.ndarray:
        """Whether each of the next `count` numbers of `size` bits is not 0, (count,) bool."""
        return self._next(count * size).reshape(count, size).any(axis=1)

    def _next(self, size: int) -> np.ndarray:
        part = self._bits[self._at : self._at + size]
        if len(part) < size:
            raise ValueError("the brush mask is cut off")
        self._at += size
        return part
