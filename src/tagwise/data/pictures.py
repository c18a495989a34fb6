"""Opening image files: by what they hold, and only after a look at their size.

Pillow decodes all of them. It is loud where a file is cut off, and prints nothing.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import PIL._imaging
from PIL import Image

from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular

MAX_MEGAPIXELS = "TAGWISE_MAX_MEGAPIXELS"
"""Environment variable: the largest image that is decoded, in millions of pixels."""

_MEGAPIXELS = 100.0
_LONGEST = 1_000_000  # pixels of a side; decoders keep a pointer for each row
_TILE = 4096  # pixels of a side that a TIFF's tiles may have in any case
# Of large images, how few bytes are too few: no photo is as even as this.
_LARGE, _PIXELS_A_BYTE = 25_000_000, 10_000
# How much of a file is read until it counts as damaged. Decoders take 64 KiB at a time.
_READS, _HEADER_BYTES, _BYTES_A_PIXEL = 200_000, 64 << 20, 16
_HOW_TO_ALLOW = f"allow more with {MAX_MEGAPIXELS}=NUMBER in the environment"


class Format(NamedTuple):
    """A format: what its files begin with, Pillow's class for it, and the suffixes of its files."""

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
"""All formats that are read, by Pillow's names; a file's suffix does not matter."""

# What the decoders print is no use without the file's name; a failure is an error of its own.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its errors go to stderr
with suppress(OSError, AttributeError):  # a build without libtiff
    ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


@contextmanager
def opened(source: Any, what: str = "image", reduce: int = 1) -> Iterator[Image.Image]:
    """A Pillow image whose pixels are decoded inside the context, where any fault is named.

    source: a path, the bytes of a file, a file opened to read bytes, or a Pillow image.
    what: what it should be, for errors.
    reduce: how much smaller each side will be when it is decoded, where that saves memory (JPEG).

    Raises UserError for what cannot be opened, for images of more pixels than `max_pixels`, and in
    place of whatever is raised inside the context.
    """
    name = name_of(source)
    if isinstance(source, Image.Image):
        with _naming(f"{what} {name}", "closed, cut off or damaged"):
            check_size(source.size, f"{what} {name}")
            yield source
        return
    with ExitStack() as stack, _naming(f"{what} {name}", "cut off or damaged"):
        file = stack.enter_context(_file_of(source, what))
        length = file.seek(0, io.SEEK_END)
        if not length:
            raise UserError(f"{what} {name} is empty (0 bytes); replace it or take it out")
        file.seek(0)
        picture = stack.enter_context(_picture(file, length, f"{what} {name}"))
        check_size(picture.size, f"{what} {name}", reduce if picture.format == "JPEG" else 1)
        _check_plausible(picture, length, f"{what} {name}")
        yield picture


def name_of(source: Any) -> str:
    """What to call an image in an error: its path where it has one."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"of {memoryview(source).nbytes} bytes in memory"
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return str(name) if isinstance(name, (str, Path)) else "in memory"


def max_pixels() -> int:
    """The pixels that an image may have: 100 million, or what the environment says.

    Raises UserError where TAGWISE_MAX_MEGAPIXELS is not a positive number.
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
    if text and Image.MAX_IMAGE_PIXELS is not None:  # Pillow refuses twice its own limit
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)
    return pixels


def check_size(size: tuple[int, int], name: str, reduce: int = 1) -> None:
    """Raises UserError if an image of that width and height has too many pixels to decode.

    reduce: how much smaller each side will be when it is decoded.
    """
    width, height = size
    if max(size) > _LONGEST:
        raise UserError(f"{name} has a side of {max(size)} pixels; it is damaged, or cut it up")
    if width * height > max_pixels() * reduce**2:
        raise UserError(
            f"{name} has {width} × {height} pixels, {width * height / 1e6:.0f} megapixels, more "
            f"than {max_pixels() / 1e6:g}; unless it is damaged, cut it into parts or shrink it, "
            f"or {_HOW_TO_ALLOW}"
        )


@contextmanager
def _naming(name: str, likely: str) -> Iterator[None]:
    """Turns whatever decoding raises into a UserError with the image's name; likely: the cause."""
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{name} needs more memory than there is; make it smaller") from error
    except Exception as error:  # decoders raise what they like
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"cannot read {name} ({reason}); is it {likely}?") from error


@contextmanager
def _file_of(source: Any, what: str) -> Iterator[BinaryIO]:
    """An image's file, ready to be read from its beginning. A caller's own file stays open."""
    if isinstance(source, (str, Path)):
        with open_regular(source, what) as file:
            yield file
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source.read(0), str):
        raise UserError(f"the file of {what} {name_of(source)} is read as text; open it with 'rb'")
    elif source.seekable():
        source.seek(0)
        yield source
    else:
        yield io.BytesIO(source.read())


class _Bounded:
    """A file of which only so much is read: damaged ones may go on in zeros for gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._reads, self._bytes = file, _READS, _HEADER_BYTES
        self.seek, self.tell = file.seek, file.tell

    def allow(self, size: tuple[int, int]) -> None:
        """As many bytes more as an image of that width and height can need."""
        self._bytes += _BYTES_A_PIXEL * size[0] * size[1]

    def read(self, count: int = -1) -> bytes:
        self._reads -= 1
        self._bytes -= max(count, 0)
        if min(self._reads, self._bytes) < 0:
            raise OSError("far more of it is read than an image needs")
        return self._file.read(count)


@contextmanager
def _picture(file: BinaryIO, length: int, name: str) -> Iterator[Image.Image]:
    """The image of a file; only its header is read. Raises UserError for what is no image."""
    head = file.read(SNIFFED)
    file.seek(0)
    found = _format_of(head)
    if found is None:
        is_a = kind_of(head)
        raise UserError(f"{name} is {is_a or 'no image that is known'}; known are {_KNOWN}")
    if found == "WEBP":  # whose decoder makes room for the pixels as soon as it is opened
        check_size(_webp_size(head), name)
    if found in ("WEBP", "AVIF") and length > 3 * max_pixels():  # which are read whole at once
        raise UserError(f"{name} has {length} bytes, more than its pixels could need")
    # Not Image.open: it tries formats that run other programs, and has a limit of its own.
    entry = FORMATS[found]
    try:
        module = import_module(f"PIL.{entry.module}ImagePlugin")
        bounded = _Bounded(file)
        given = file if found in ("TIFF", "JPEG2000") else bounded  # those read by themselves
        with getattr(module, f"{entry.reader}ImageFile")(given) as picture:
            bounded.allow(picture.size)
            yield picture
    except ImportError as error:
        raise UserError(f"{name} needs a newer Pillow to read {found}: update it") from error
    except SyntaxError as error:
        if found != "TIFF":
            raise
        raise UserError(
            f"cannot read {name}: a TIFF of a kind that Pillow does not decode ({error}); save it "
            "with 1, 3 or 4 channels of 8 or 16 bits"
        ) from error


_KNOWN = ", ".join(FORMATS)


def _format_of(head: bytes) -> str | None:
    """Which of FORMATS a file has, by its first bytes."""
    if kind_of(head) == "an AVIF image":
        return "AVIF"
    for name, entry in FORMATS.items():
        if head.startswith(entry.beginnings):
            return None if name == "WEBP" and head[8:12] != b"WEBP" else name
    return None


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height that a WebP file's first chunk states (RFC 9649); zeros if it does not."""
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
    """Raises UserError for a header that states more than the file can hold."""
    width, height = picture.size
    if width * height > max(_LARGE, length * _PIXELS_A_BYTE):
        raise UserError(
            f"{name} claims {width} × {height} pixels in {length} bytes: it is damaged, or all of "
            "one colour"
        )
    if picture.format == "TIFF":  # whose tiles are decoded whole
        tile = picture.tag_v2.get(322, 0), picture.tag_v2.get(323, 0)
        if tile[0] > max(width, _TILE) or tile[1] > max(height, _TILE):
            raise UserError(f"{name} claims tiles larger than itself: it is damaged")
