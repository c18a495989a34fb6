"""Opening image files by their content, after checking their size.

Pillow opens all of them. A truncated file raises an error; nothing is printed.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import PIL._imaging
from PIL import Image

from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular

MAX_MEGAPIXELS = "TAGWISE_MAX_MEGAPIXELS"
"""Environment variable: the maximum size of an image, in millions of pixels."""

_MEGAPIXELS = 100.0
_LONGEST = 1_000_000  # maximum side in pixels; decoders keep a pointer for each row
_TILE = 4096  # side in pixels up to which the tiles of a TIFF may be larger than the image
# An image of more than _LARGE pixels is refused if it has more pixels per byte than any photo.
_LARGE, _PIXELS_PER_BYTE = 25_000_000, 10_000
# A file counts as damaged if decoding it reads more than this. Decoders read 64 KiB at a time.
_READS, _HEADER_BYTES, _BYTES_PER_PIXEL = 200_000, 64 << 20, 16
_SMALL = 16 << 20  # files of up to this many bytes are read in one call instead of about ten
_HOW_TO_ALLOW = f"allow more with {MAX_MEGAPIXELS}=NUMBER in the environment"


class Format(NamedTuple):
    """A file format: the first bytes of its files, Pillow's classes for it, and its suffixes."""

    beginnings: tuple[bytes, ...]
    module: str
    reader: str
    suffixes: tuple[str, ...]


FORMATS = {
    "JPEG": Format((b"\xff\xd8\xff",), "Jpeg", "Jpeg", (".jpg", ".jpeg", ".jpe", ".jfif")),
    "PNG": Format((b"\x89PNG\r\n\x1a\n",), "Png", "Png", (".png", ".apng")),
    "GIF": Format((b"GIF87a", b"GIF89a"), "Gif", "Gif", (".gif",)),
    "BMP": Format((b"BM",), "Bmp", "Bmp", (".bmp",)),
    "TIFF": Format((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "Tiff", "Tiff", (".tif", ".tiff")),
    "WEBP": Format((b"RIFF",), "WebP", "WebP", (".webp",)),
    "AVIF": Format((), "Avif", "Avif", (".avif",)),
    "JPEG2000": Format(
        (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "Jpeg2K", "Jpeg2K", (".jp2", ".j2k")
    ),
    "PPM": Format(
        tuple(b"P%d%c" % (n, space) for n in range(1, 7) for space in b" \t\n\r"),
        "Ppm",
        "Ppm",
        (".ppm", ".pgm", ".pbm", ".pnm"),
    ),
}
"""The supported formats, by Pillow's names; the suffix of a file does not matter."""

# The messages of the decoders do not name the file; failures are raised as errors instead.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its errors go to stderr
with suppress(OSError, AttributeError):  # a build without libtiff
    ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


@contextmanager
def opened(source: Any, what: str = "image", reduce: int = 1) -> Iterator[Image.Image]:
    """Open a Pillow image, whose pixels are to be decoded inside the context.

    source: a path, the bytes of a file, a file opened in binary mode, or a Pillow image.
    what: a description of the image, for error messages.
    reduce: the factor by which a JPEG will be shrunk during decoding, which saves memory; ignored
        for other formats.

    Raises UserError, naming the image, if it cannot be opened or has more pixels than `max_pixels`.
    Other errors raised inside the context become UserErrors too.
    """
    name = f"{what} {name_of(source)}"
    encoded = not isinstance(source, Image.Image)
    try:
        if encoded:
            with _file_of(source, what) as file, _picture(file, name, reduce) as picture:
                yield picture
        else:
            check_size(source.size, name)
            yield source
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{name} needs more memory than is available; make it smaller") from error
    except Exception as error:  # decoders raise errors of almost any type
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        likely = "cut off or damaged" if encoded else "closed, cut off or damaged"
        raise UserError(f"cannot read {name} ({reason}); is it {likely}?") from error


def name_of(source: Any) -> str:
    """The name of an image for error messages: its path if it has one."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"of {memoryview(source).nbytes} bytes in memory"
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name) if isinstance(name, (str, Path)) else "in memory"


def content_of(picture: Any) -> bytes | None:
    """The content of the file of an opened image; None if no image of its size needs as much."""
    return picture.fp.content()


def max_pixels() -> int:
    """The maximum number of pixels of an image: 100 million, or TAGWISE_MAX_MEGAPIXELS million.

    Raises UserError if that environment variable is not a positive number.
    """
    text = os.environ.get(MAX_MEGAPIXELS, "")
    try:
        megapixels = float(text) if text else _MEGAPIXELS
        if not 0 < megapixels < 1e6:
            raise ValueError
    except ValueError:
        raise UserError(
            f"{MAX_MEGAPIXELS} is {text!r}; use a number of megapixels, such as 200"
        ) from None
    pixels = round(megapixels * 1e6)
    if text and Image.MAX_IMAGE_PIXELS is not None:  # Pillow refuses more than twice this limit
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)
    return pixels


def check_size(size: tuple[int, int], name: str, reduce: int = 1) -> None:
    """Raise UserError if an image of this width and height has too many pixels to decode.

    reduce: the factor by which each side will be shrunk during decoding.
    """
    width, height = size
    if max(size) > _LONGEST:
        raise UserError(
            f"{name} has a side of {max(size)} pixels; unless it is damaged, cut it into parts"
        )
    if width * height > max_pixels() * reduce**2:
        raise UserError(
            f"{name} has {width} × {height} pixels, {width * height / 1e6:.0f} megapixels, more "
            f"than {max_pixels() / 1e6:g}; unless it is damaged, cut it into parts or shrink it, "
            f"or {_HOW_TO_ALLOW}"
        )


def _file_of(source: Any, what: str) -> AbstractContextManager[BinaryIO]:
    """Open the file of an image at its beginning. A file that the caller opened stays open."""
    if isinstance(source, (str, Path)):
        return open_regular(source, what, small=_SMALL)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source.read(0), str):
        raise UserError(f"the file of {what} {name_of(source)} is in text mode; open it with 'rb'")
    if not source.seekable():
        return io.BytesIO(source.read())
    source.seek(0)
    return nullcontext(source)


class _Bounded:
    """A file with a limit on reading: a damaged file may continue with gigabytes of zeros."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads, self._bytes = file, _READS, _HEADER_BYTES
        self.seek, self.tell = file.seek, file.tell

    def allow(self, size: tuple[int, int]) -> None:
        """Allow as many more bytes as an image of this width and height can need."""
        self._bytes += _BYTES_PER_PIXEL * size[0] * size[1]

    def content(self) -> bytes | None:
        """The whole file; None if it is longer than is allowed."""
        self.seek(0)
        data = self._file.read(self._bytes + 1)
        return data if len(data) <= self._bytes else None

    def read(self, count: int = -1) -> bytes:
        self._reads -= 1
        if count > 0:
            self._bytes -= count
        if self._reads < 0 or self._bytes < 0:
            raise OSError("decoding reads far more bytes than an image needs")
        return self._file.read(count)


def _picture(file: BinaryIO, name: str, reduce: int) -> Image.Image:
    """Open the image of a file, reading only its header. Raises UserError if it is not an image."""
    length = file.seek(0, io.SEEK_END)
    if not length:
        raise UserError(f"{name} is empty (0 bytes); replace or remove it")
    file.seek(0)
    head = file.read(SNIFFED)
    file.seek(0)
    format_name = _format_of(head)
    if format_name is None:
        content = kind_of(head) or "not an image in a known format"
        raise UserError(f"{name} is {content}; known formats: {_KNOWN}")
    if format_name == "WEBP":  # its decoder allocates the pixels as soon as it opens the file
        size = _webp_size(head)
        check_size(size, name)
        _check_claim(size, length, name)
    # The decoders of these two formats read the whole file into memory.
    if format_name in ("WEBP", "AVIF") and length > 3 * max_pixels():
        raise UserError(f"{name} has {length} bytes, more than its pixels could need")
    bounded = _Bounded(file)
    # The decoders of these two formats access the file directly.
    readable = file if format_name in ("TIFF", "JPEG2000") else bounded
    picture = _parsed(format_name, readable, name)
    bounded.allow(picture.size)
    check_size(picture.size, name, reduce if format_name == "JPEG" else 1)
    _check_plausible(picture, length, name)
    return picture


def _parsed(format_name: str, file: BinaryIO | _Bounded, name: str) -> Image.Image:
    """Let Pillow read the header of an image in a known format."""
    try:
        return _reader(FORMATS[format_name])(file)
    except ImportError as error:
        raise UserError(f"{name} is {format_name}; update Pillow to read this format") from error
    except SyntaxError as error:
        if format_name != "TIFF":
            raise
        raise UserError(
            f"cannot read {name}: Pillow does not support this type of TIFF ({error}); save it "
            "with 1, 3 or 4 channels of 8 or 16 bits"
        ) from error


@cache
def _reader(entry: Format) -> Callable[[Any], Image.Image]:
    """Pillow's class of a format. Image.open would try formats that run other programs."""
    module = import_module(f"PIL.{entry.module}ImagePlugin")
    return getattr(module, f"{entry.reader}ImageFile")


_KNOWN = ", ".join(FORMATS)


def _format_of(head: bytes) -> str | None:
    """The name in FORMATS of the format of a file, by its first bytes; None if unknown."""
    for name, entry in FORMATS.items():
        if head.startswith(entry.beginnings):
            return None if name == "WEBP" and head[8:12] != b"WEBP" else name
    return "AVIF" if kind_of(head) == "an AVIF image" else None


def _webp_size(head: bytes) -> tuple[int, int]:
    """The width and height in the first chunk of a WebP file (RFC 9649); zeros if missing."""
    chunk, data = head[12:16], head[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        sides = (int.from_bytes(data[n : n + 2], "little") & 0x3FFF for n in (6, 8))
        return tuple(sides)
    return 0, 0


def _check_plausible(picture: Any, length: int, name: str) -> None:
    """Raise UserError if the header gives a larger image than the file can contain."""
    width, height = picture.size
    _check_claim(picture.size, length, name)
    if picture.format == "TIFF":  # its tiles are decoded as a whole
        tile = picture.tag_v2.get(322, 0), picture.tag_v2.get(323, 0)
        if tile[0] > max(width, _TILE) or tile[1] > max(height, _TILE):
            raise UserError(
                f"{name} claims tiles larger than the image; it is damaged: replace or remove it"
            )


def _check_claim(size: tuple[int, int], length: int, name: str) -> None:
    """Raise UserError if no file of this many bytes contains an image of this size."""
    width, height = size
    if width * height > max(_LARGE, length * _PIXELS_PER_BYTE):
        raise UserError(
            f"{name} claims {width} × {height} pixels in {length} bytes; it is damaged, or all of "
            "one colour: replace or remove it"
        )
