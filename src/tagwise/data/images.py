"""Reading photos of every kind into one: RGB, uint8, upright."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from tagwise.data.pictures import FORMATS, check_size, name_of, opened
from tagwise.data.pixels import rgb_of_array, rgb_of_picture, warn_if_dim, warn_once
from tagwise.errors import UserError

SUFFIXES = frozenset(suffix for entry in FORMATS.values() for suffix in entry.suffixes)
"""What the names of photos in a folder end in, in small letters."""

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
"""How to turn an image of each EXIF orientation upright; 1 is upright."""


def read_image(source: ImageSource, reduce: int = 1, *, upright: bool = True) -> np.ndarray:
    """Read an image from a file or from memory, all by the same rules; see docs/images.md.

    source: the path of a JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000 or PNM file, its bytes, a
        file opened to read bytes, a Pillow image of any mode, or an array: (H, W), (H, W, 1),
        (H, W, 3) RGB or (H, W, 4) RGBA, see `pixels.rgb_of_array`.
        Colours of 16 bits keep their high 8; transparent parts are laid on white. Of files with
        several pages or frames the first is read, with a warning.
    reduce: 1, 2, 4 or 8; shrink by that factor while decoding, which costs a JPEG much less than
        to decode it whole. Pixel i of the result covers pixels i·reduce to (i+1)·reduce - 1.
    upright: turn the image as its EXIF orientation says (a TIFF is turned in any case).

    Returns (H, W, 3) uint8, RGB; an array that is this already is returned without a copy. Raises
    UserError, naming the file, if it cannot be read whole, is not a regular file, or has more
    than 100 megapixels (`pictures.max_pixels`) after reduction.
    """
    if reduce not in (1, 2, 4, 8):
        raise ValueError(f"reduce must be 1, 2, 4 or 8, not {reduce}")
    if isinstance(source, np.ndarray):
        return shrink(rgb_of_array(source), reduce)
    if not is_image(source):
        raise UserError(_not_an_image(source))
    name, own = name_of(source), not isinstance(source, Image.Image)
    with opened(source, reduce=reduce) as picture:
        if own:
            _warn_of_pages(picture, name)
        # The keyword of a 16-bit colour decoder; Pillow keeps the high 8 bits.
        deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
        left = reduce // _draft(picture, reduce) if own else reduce
        check_size(picture.size, f"image {name}")
        picture.load()
        turn = _TURNS.get(_orientation(picture)) if upright else None
        image = rgb_of_picture(picture, name)
        if deep and not picture.mode.startswith("I"):
            warn_if_dim(image, name)
    if turn is not None:
        image = np.ascontiguousarray(turn(image))
    return shrink(image, left)


def is_image(source: Any) -> bool:
    """Whether something is one image that `read_image` may take, rather than several."""
    return isinstance(
        source, (str, Path, bytes, bytearray, memoryview, np.ndarray, Image.Image)
    ) or callable(getattr(source, "read", None))


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Average blocks of factor × factor pixels; the last block of a row or column may be partial.

    image: (H, W, C) or (H, W), uint8. Returns the same with ceil(H / factor) and so on.
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
    """Have a JPEG decoded at a fraction of its size; returns the factor, up to `reduce`."""
    if reduce == 1 or picture.format != "JPEG":
        return 1
    width, height = picture.size
    picture.draft(None, (max(1, width // reduce), max(1, height // reduce)))
    fits = (f for f in (8, 4, 2) if picture.size == (-(-width // f), -(-height // f)))
    return next(fits, 1) if picture.size != (width, height) else 1


def _orientation(picture: Image.Image) -> int:
    """EXIF's number; 1 where there is none, or the note of the camera is damaged."""
    with suppress(Exception):
        return picture.getexif().get(_ORIENTATION, 1)
    return 1


def _warn_of_pages(picture: Image.Image, name: str) -> None:
    several = False
    with suppress(
        Exception
    ):  # what follows the first may be damaged; the first is read all the same
        several = getattr(picture, "is_animated", False)
    if several:
        what = "pages" if picture.format == "TIFF" else "frames"
        warn_once(
            what,
            f"image {name} has several {what}: only the first of each such file is read; "
            "save the others as files of their own",
        )


def _not_an_image(source: Any) -> str:
    kind = type(source).__name__
    hint = ""
    if type(source).__module__.partition(".")[0] == "torch":
        kind, hint = "torch tensor", "; give tensor.permute(1, 2, 0).cpu().numpy()"
    return f"an image must be a file, its bytes, a Pillow image or an array, not a {kind}{hint}"
