"""Reading photos of any supported format as upright RGB arrays of uint8."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from tagwise.data.jpeg import decode_jpeg
from tagwise.data.pictures import FORMATS, check_size, name_of, opened
from tagwise.data.pixels import rgb_of_array, rgb_of_picture, warn_if_dim, warn_once
from tagwise.errors import UserError

SUFFIXES = frozenset(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
"""The file name suffixes of photos, in lower case."""

ImageSource = str | Path | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image

_ORIENTATION = 0x0112
_TURNS = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}
"""For each EXIF orientation, a function that turns the image upright; 1 is upright already."""


def read_image(source: ImageSource, reduce: int = 1, *, upright: bool = True) -> np.ndarray:
    """Read an image from a file or from memory; docs/images.md describes the rules.

    source: the path of a JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000 or PNM file, its bytes, a
        file opened in binary mode, a Pillow image of any mode, or an array: (H, W), (H, W, 1),
        (H, W, 3) RGB or (H, W, 4) RGBA, see `pixels.rgb_of_array`.
        16-bit colours are reduced to their high 8 bits. Transparent areas are blended with white.
        Only the first page or frame of a file is read; a warning is given if there are several.
    reduce: 1, 2, 4 or 8; shrink by this factor during decoding. For a JPEG this is much faster
        than decoding the full size. Pixel i of the result covers pixels i·reduce to
        (i+1)·reduce - 1.
    upright: apply the EXIF orientation. It is always applied to a TIFF.

    Returns (H, W, 3) uint8, RGB. An array that has this form already is returned without a copy.
    Raises UserError, naming the file, if it cannot be read completely, is not a regular file, or
    has more than 100 megapixels (`pictures.max_pixels`) after reduction.
    """
    if reduce not in (1, 2, 4, 8):
        raise ValueError(f"reduce must be 1, 2, 4 or 8, not {reduce}")
    if isinstance(source, np.ndarray):
        return shrink(rgb_of_array(source), reduce)
    if not is_image(source):
        raise UserError(_not_an_image(source))
    name, encoded = name_of(source), not isinstance(source, Image.Image)
    with opened(source, reduce=reduce) as picture:
        if encoded:
            _warn_of_pages(picture, name)
        # Pillow's raw modes of 16-bit colours contain ";16"; it keeps the high 8 bits.
        deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
        remaining = reduce // _draft(picture, reduce) if encoded else reduce
        check_size(picture.size, f"image {name}")
        image = decode_jpeg(picture) if encoded else None
        if image is None:
            picture.load()
            image = rgb_of_picture(picture, name)
        turn = _TURNS.get(_orientation(picture)) if upright else None
        if deep and not picture.mode.startswith("I"):
            warn_if_dim(image, name)
    if turn is not None:
        image = np.ascontiguousarray(turn(image))
    return shrink(image, remaining)


def image_size(source: ImageSource) -> tuple[int, int]:
    """The width and height of an upright image, without decoding it.

    Raises UserError, naming the file, if it is not an image.
    """
    with opened(source) as picture:
        width, height = picture.size
        return (height, width) if _orientation(picture) >= 5 else (width, height)


def is_image(source: Any) -> bool:
    """Whether a value is a single image source of `read_image`, not a collection of them."""
    return isinstance(
        source, (str, Path, bytes, bytearray, memoryview, np.ndarray, Image.Image)
    ) or callable(getattr(source, "read", None))


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor × factor pixels; the last block of a row or column may be partial.

    image: (H, W, C) or (H, W), uint8.
    Returns an image with ceil(H / factor) rows and ceil(W / factor) columns.
    """
    if factor == 1:
        return image
    height, width = image.shape[:2]
    bottom, right = -height % factor, -width % factor
    if bottom or right:
        image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = (image.shape[1] // factor, image.shape[0] // factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _draft(picture: Image.Image, reduce: int) -> int:
    """Let Pillow decode a JPEG at a reduced size; return the factor, at most `reduce`."""
    if reduce == 1 or picture.format != "JPEG":
        return 1
    width, height = picture.size
    picture.draft(None, (max(1, width // reduce), max(1, height // reduce)))
    fits = (f for f in (8, 4, 2) if picture.size == (-(-width // f), -(-height // f)))
    return next(fits, 1) if picture.size != (width, height) else 1


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation; 1 if it is missing or the EXIF data are damaged."""
    with suppress(Exception):
        return picture.getexif().get(_ORIENTATION, 1)
    return 1


def _warn_of_pages(picture: Image.Image, name: str) -> None:
    several = False
    with suppress(Exception):  # the first page can be read even if later ones are damaged
        several = getattr(picture, "is_animated", False)
    if several:
        what = "pages" if picture.format == "TIFF" else "frames"
        warn_once(
            what,
            f"image {name} has several {what}: only the first of each such file is read; "
            "save the others as separate files",
        )


def _not_an_image(source: Any) -> str:
    name = type(source).__name__
    hint = ""
    if type(source).__module__.partition(".")[0] == "torch":
        name, hint = "torch tensor", "; give tensor.permute(1, 2, 0).cpu().numpy()"
    return f"an image must be a file, its bytes, a Pillow image or an array, not a {name}{hint}"
