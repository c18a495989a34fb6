"""Conversion of pixels of any type to 8-bit RGB, equal for files, Pillow images and arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tagwise.errors import UserError

STRETCH_GREY = "TAGWISE_STRETCH_GREY"
"""Environment variable: if 1, grey images of more than 8 bits are stretched to their own range."""

_STRIP = 1 << 16  # number of pixels that are converted together; a strip stays in the cache
_DIM = 0.25  # an image of more than 8 bits that uses less of its range than this looks black
_SAMPLE = 1 << 20  # number of values from which quantiles are computed
_QUANTILES = (0.001, 0.999)  # so that a few hot pixels do not darken the image

Parts = Callable[[], Iterator[np.ndarray]]
"""Each call iterates over the values of an image in strips (h, W), from top to bottom."""


def rgb_of_picture(picture: Image.Image, name: str) -> np.ndarray:
    """Convert a Pillow image of any mode to (H, W, 3) uint8 RGB, blending transparency with white.

    Grey values of more than 8 bits are scaled as in `rgb_of_array`. name: the name of the image,
    for warnings.
    """
    width, height = picture.size
    strips = _strips(height, width)

    def part(rows: slice) -> Image.Image:
        is_all = len(strips) == 1
        return picture if is_all else picture.crop((0, rows.start, width, rows.stop))

    if picture.mode.startswith(("I", "F")):
        return _from_grey(lambda: (np.asarray(part(rows)) for rows in strips), strips, width, name)
    image = np.empty((height, width, 3), np.uint8)
    for rows in strips:
        opaque = _opaque(part(rows))
        image[rows] = np.asarray(opaque if opaque.mode == "RGB" else opaque.convert("RGB"))
    return image


def rgb_of_array(array: np.ndarray, name: str = "in memory") -> np.ndarray:
    """Convert an array to (H, W, 3) uint8 RGB, by the same rules as the content of a file.

    array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA; uint8, uint16, bool or floats from 0
        to 1. Grey images may have any other integer or float type: integers from 0 to 65535 are
        scaled from that range, floats from 0 to 1 from that range, and all others from their
        lowest to their highest value, with a warning.

    A contiguous array that has this form already is returned as it is. Raises UserError for any
    other array.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    hint = _hint_for(array)
    if hint:
        raise UserError(
            f"an image array must be (height, width, 3) uint8, RGB, not {array.shape} "
            f"{array.dtype}; {hint}"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3:
        return np.ascontiguousarray(array)
    if array.ndim == 3:
        array = _colours_of_8_bits(array, name)
    if array.dtype == np.uint8:
        return rgb_of_picture(Image.fromarray(np.ascontiguousarray(array)), name)
    strips = _strips(*array.shape)
    return _from_grey(lambda: (array[rows] for rows in strips), strips, array.shape[1], name)


def warn_if_dim(image: np.ndarray, name: str) -> None:
    """Warn once if 16-bit colours are nearly black. image: their high 8 bits."""
    highest = int(image.max(initial=0))
    if 0 < highest < 256 * _DIM:
        _warn_dim(name, 256 * highest + 255, 65535)


_warned: set[str] = set()


def warn_once(kind: str, message: str) -> None:
    """Issue a warning unless one of the same kind was issued before, for any image."""
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(f"{message} (this warning is shown once)", stacklevel=3)


# ---------------------------------------------------------------------- grey of more than 8 bits


def _from_grey(parts: Parts, strips: list[slice], width: int, name: str) -> np.ndarray:
    """Convert grey values of more than 8 bits to (H, W, 3) uint8. strips: the rows of each part."""
    kind, low, high = _extent(parts)
    if os.environ.get(STRETCH_GREY, "") not in ("", "0"):
        low, high = _quantiles(parts)
    else:
        low, high = _range(kind, low, high, name)
    image = np.empty((strips[-1].stop, width, 3), np.uint8)
    for rows, values in zip(strips, parts(), strict=True):
        scaled = (_finite(values) - low) * (255.0 / max(high - low, 1e-12))
        image[rows] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)[:, :, None]
    return image


def _range(kind: str, low: float, high: float, name: str) -> tuple[float, float]:
    """The values that become black and white, for values from low to high.

    kind: the kind of the numpy dtype. The dtype does not determine the range, because Pillow opens
    some 16-bit files as 32-bit integers.
    """
    if low >= 0 and high <= 65535 and kind in "iu":
        top = 65535.0
    elif low >= 0 and high <= 1:
        top = 1.0
    else:
        warn_once(
            "range",
            f"image {name} has values from {low:g} to {high:g}, which is not a known range: "
            "they are scaled so that the lowest is black and the highest is white; "
            "give integers up to 65535 or floats from 0 to 1 to keep the brightness",
        )
        return low, high
    if 0 < high < top * _DIM:
        _warn_dim(name, high, top)
    return 0.0, top


def _warn_dim(name: str, high: float, top: float) -> None:
    warn_once(
        "dim",
        f"the highest value of image {name} is only {high:g} of {top:g}, so it is nearly black; if "
        f"the camera uses a smaller range, set {STRETCH_GREY}=1 in the environment to stretch "
        "every grey image of more than 8 bits to its own range",
    )


def _extent(parts: Parts) -> tuple[str, float, float]:
    """The kind of the dtype, and the lowest and the highest value."""
    kind, lows, highs = "", [], []
    for values in parts():
        kind, values = values.dtype.kind, _finite(values)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return kind, min(lows), max(highs)


def _quantiles(parts: Parts) -> tuple[float, float]:
    """The 0.001 and the 0.999 quantile of the values, from a sample of them."""
    count = sum(values.size for values in parts())
    step = max(1, int((count / _SAMPLE) ** 0.5))
    sample = np.concatenate([_finite(values[::step, ::step]).ravel() for values in parts()])
    low, high = np.quantile(sample, _QUANTILES)
    return float(low), float(high)


def _finite(values: np.ndarray) -> np.ndarray:
    """The values as float32; those that are not finite become 0."""
    with np.errstate(over="ignore"):
        return np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)


# ---------------------------------------------------------------------- colours


def _opaque(picture: Image.Image) -> Image.Image:
    """Blend transparent parts of the image with white."""
    bands = picture.getbands()
    if "A" not in bands and "a" not in bands and "transparency" not in picture.info:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA"))


def _colours_of_8_bits(array: np.ndarray, name: str) -> np.ndarray:
    """Convert RGB or RGBA (uint8, uint16 or floats from 0 to 1) to uint8, (H, W, 3 or 4)."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        return np.rint(_finite(array) * 255).astype(np.uint8)
    image = (array >> 8).astype(np.uint8)  # as decoders do
    warn_if_dim(image[:, :, :3], name)
    return image


def _hint_for(array: np.ndarray) -> str | None:
    """How to fix an array that is not an image; None for an image."""
    if array.ndim == 4:
        return "give several images as a list"
    if array.ndim not in (2, 3) or array.size == 0:
        return "give rows of pixels"
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        first = array.shape[0] in (1, 3, 4)
        return "give array.transpose(1, 2, 0)" if first else "give grey, RGB or RGBA"
    if array.dtype.kind not in "uifb":
        return "give numbers"
    known = array.dtype in (np.uint8, np.uint16, bool)
    if array.ndim == 3 and not known and not _is_unit(array):
        return "give colours as uint8, uint16 or floats from 0 to 1"
    return None


def _is_unit(array: np.ndarray) -> bool:
    """Whether all values are floats from 0 to 1."""
    return array.dtype.kind == "f" and bool(array.min() >= 0 and array.max() <= 1)


def _strips(height: int, width: int) -> list[slice]:
    rows = max(1, _STRIP // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
