"""Reading photos of every kind into one: RGB, uint8, upright."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np

from tagwise.errors import UserError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"))
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def read_image(path: str | Path, reduce: int = 1, *, upright: bool = True) -> np.ndarray:
    """Read an image file.

    path: JPEG, PNG, TIFF, WebP, BMP, GIF (its first frame); colour, grey, palette, CMYK or 16-bit
        (scaled to 8); transparent parts are laid on white.
    reduce: 1, 2, 4 or 8; shrink by that factor while decoding, which costs a JPEG much less than
        to decode it whole. Pixel i of the result covers pixels i·reduce to (i+1)·reduce - 1.
    upright: turn the image as its EXIF orientation says (a TIFF is turned in any case).
    Returns (H, W, 3) uint8, RGB. Raises UserError, naming the file, if it cannot be read whole.
    """
    if reduce not in _REDUCED:
        raise ValueError(f"reduce must be 1, 2, 4 or 8, not {reduce}")
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read image {path}: {error.strerror or error}") from None
    if not data:
        raise UserError(f"image {path} is empty (0 bytes); replace it or take it out")
    image = _decode_fast(data, reduce, upright)
    return _decode_any(data, path, reduce, upright) if image is None else image


def _decode_fast(data: bytes, reduce: int, upright: bool) -> np.ndarray | None:
    """OpenCV's decoders, for files that they are known to read right and whole; else None."""
    whole_jpeg = data[:2] == b"\xff\xd8" and data.rstrip(b"\0\r\n ")[-2:] == b"\xff\xd9"
    if not whole_jpeg and not _is_plain_png(data):
        return None
    # only the JPEG decoder reduces by whole blocks; for others OpenCV would cut the last one off
    flags = _REDUCED[reduce if whole_jpeg else 1]
    flags |= 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        return None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image if whole_jpeg else shrink(image, reduce)


def _is_plain_png(data: bytes) -> bool:
    """Whether a PNG is whole, has 8 bits a channel, no palette and no transparency."""
    return (
        data[:8] == b"\x89PNG\r\n\x1a\n"
        and data[24:26] in (b"\x08\x00", b"\x08\x02")
        and b"tRNS" not in data[:4096]
        and b"IEND" in data[-16:]
    )


def _decode_any(data: bytes, path: str | Path, reduce: int, upright: bool) -> np.ndarray:
    """Pillow's decoders: slower, of every kind, and loud where a file is cut off."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            if upright:
                picture = ImageOps.exif_transpose(picture)
            image = _to_rgb(picture)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        # Pillow names the buffer that it was given, which says nothing to a user.
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise UserError(
            f"cannot read image {path}{reason}; is it cut off, or no image at all?"
        ) from None
    return shrink(image, reduce)


def _to_rgb(picture) -> np.ndarray:
    """A Pillow image of any mode as (H, W, 3) uint8."""
    if picture.mode.startswith(("I", "F")):
        return np.repeat(_to_uint8(np.asarray(picture))[:, :, None], 3, axis=2)
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        from PIL import Image

        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def _to_uint8(grey: np.ndarray) -> np.ndarray:
    """Grey values of more than 8 bits, scaled: 16-bit integers by their range, others by their own.

    (Pillow opens a 16-bit file as 32-bit integers at times, so the values tell the range.)
    """
    values = np.nan_to_num(grey.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 65535 and grey.dtype.kind in "iu":
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


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
