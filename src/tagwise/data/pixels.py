"""Pixels of every kind as RGB of 8 bits, the same for files, Pillow images and arrays."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from tagwise.errors import UserError

STRETCH_GREY = "TAGWISE_STRETCH_GREY"
"""Environment variable: if 1, grey images of more than 8 bits are scaled by their own values."""

_STRIP = 1 << 22  # pixels that are converted at once
_DIM = 0.25  # share of the range below which an image of more than 8 bits looks black
_SAMPLE = 1 << 20  # values that are enough to find quantiles
_QUANTILES = (0.001, 0.999)  # so that a few hot pixels do not darken all others

Parts = Callable[[], Iterator[np.ndarray]]
"""The values of an image from top to bottom in strips (h, W), anew at each call."""


def rgb_of_picture(picture: Image.Image, name: str) -> np.ndarray:
    """A Pillow image of any mode as (H, W, 3) uint8 RGB; transparent parts are laid on white.

    Grey values of more than 8 bits are scaled as `rgb_of_array` has it. name: for warnings.
    """
    width, height = picture.size
    strips = _strips(height, width)

    def part(rows: slice) -> Image.Image:
        whole = len(strips) == 1
        return picture if whole else picture.crop((0, rows.start, width, rows.stop))

    if picture.mode.startswith(("I", "F")):
        return _from_grey(lambda: (np.asarray(part(rows)) for rows in strips), strips, width, name)
    image = np.empty((height, width, 3), np.uint8)
    for rows in strips:
        opaque = _opaque(part(rows))
        image[rows] = np.asarray(opaque if opaque.mode == "RGB" else opaque.convert("RGB"))
    return image


def rgb_of_array(array: np.ndarray, name: str = "in memory") -> np.ndarray:
    """An array as (H, W, 3) uint8 RGB, as if it were the content of a file.

    array: (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA; uint8, uint16, bool or floats from 0
        to 1. Grey may have any other type of integers or floats, too:
        integers from 0 to 65535 are scaled by that range, floats from 0 to 1 by that, all else
        from its lowest value to its highest, with a warning.

    An array that is right already is returned as it is. Raises UserError for other arrays.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    fault = _fault_of(array)
    if fault:
        raise UserError(
            f"an image array must be (height, width, 3) uint8, RGB, not {array.shape} "
            f"{array.dtype}; {fault}"
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
    """Says once that colours of 16 bits, of which `image` has the high 8, are nearly black."""
    highest = int(image.max(initial=0))
    if 0 < highest < 256 * _DIM:
        _warn_dim(name, 256 * highest + 255, 65535)


_said: set[str] = set()


def warn_once(kind: str, message: str) -> None:
    """A warning that comes once, however many images it is true of."""
    if kind not in _said:
        _said.add(kind)
        warnings.warn(f"{message} (said once)", stacklevel=3)


# ---------------------------------------------------------------------- grey of many bits


def _from_grey(parts: Parts, strips: list[slice], width: int, name: str) -> np.ndarray:
    """Grey values of more than 8 bits as (H, W, 3) uint8. strips: the rows of each part."""
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
    """The values that become black and white, for values of that extent.

    kind: of numpy's dtype. Pillow opens 16-bit files as 32-bit integers at times, so that the
    values have to tell the range.
    """
    if low >= 0 and high <= 65535 and kind in "iu":
        top = 65535.0
    elif low >= 0 and high <= 1:
        top = 1.0
    else:
        warn_once(
            "range",
            f"image {name} has values from {low:g} to {high:g}, which are of no known range: "
            "they are scaled so that the lowest is black and the highest white; "
            "give integers up to 65535 or floats from 0 to 1 to keep the brightness",
        )
        return low, high
    if 0 < high < top * _DIM:
        _warn_dim(name, high, top)
    return 0.0, top


def _warn_dim(name: str, high: float, top: float) -> None:
    warn_once(
        "dim",
        f"the values of image {name} only reach {high:g} of {top:g}, which is nearly black. "
        f"If its camera uses no more, {STRETCH_GREY}=1 in the environment scales every grey image "
        "of more than 8 bits by its own values",
    )


def _extent(parts: Parts) -> tuple[str, float, float]:
    """The kind of type, the lowest and the highest of the values."""
    kind, lows, highs = "", [], []
    for values in parts():
        kind, values = values.dtype.kind, _finite(values)
        lows.append(float(values.min()))
        highs.append(float(values.max()))
    return kind, min(lows), max(highs)


def _quantiles(parts: Parts) -> tuple[float, float]:
    """The values below and above which only one in a thousand lies."""
    count = sum(values.size for values in parts())
    step = max(1, int((count / _SAMPLE) ** 0.5))
    sample = np.concatenate([_finite(values[::step, ::step]).ravel() for values in parts()])
    low, high = np.quantile(sample, _QUANTILES)
    return float(low), float(high)


def _finite(values: np.ndarray) -> np.ndarray:
    """Values as float32; what is no number becomes 0."""
    with np.errstate(over="ignore"):
        return np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)


# ---------------------------------------------------------------------- colours


def _opaque(picture: Image.Image) -> Image.Image:
    """The image on white, where parts of it are transparent."""
    bands = picture.getbands()
    if "A" not in bands and "a" not in bands and "transparency" not in picture.info:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA"))


def _colours_of_8_bits(array: np.ndarray, name: str) -> np.ndarray:
    """RGB or RGBA of uint8, uint16 or floats from 0 to 1 as uint8, (H, W, 3 or 4)."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        return np.rint(_finite(array) * 255).astype(np.uint8)
    image = (array >> 8).astype(np.uint8)  # as decoders do with files
    warn_if_dim(image[:, :, :3], name)
    return image


def _fault_of(array: np.ndarray) -> str | None:
    """Why an array is no image, and what to give instead."""
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
