"""Reading of regular files, and detection of the type of a file from its first bytes."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tagwise.errors import UserError


def is_address(source: object) -> bool:
    """Whether a source is an address such as "https://example.com/photo.jpg"."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def refuse_address(source: object) -> None:
    """Raise UserError for an address such as "https://example.com/a.jpg", which is not a file."""
    if is_address(source):
        raise UserError(
            f"{source} is an address, and tagwise reads files; download it and give the file"
        )


def check_regular(path: str | Path, what: str = "file") -> os.stat_result:
    """Return the status of a regular file. what: a description of the file, for error messages.

    Raises UserError if the file does not exist, for invalid names and folders, and for pipes,
    devices and sockets, which may block forever.
    """
    with _named_errors(path, what):
        status = os.stat(path)
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise UserError(f"{what} {_shown(path)} is a folder; give a file")
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{what} {_shown(path)} is {_special(mode)}, not a file; save its content to a file"
        )
    return status


def open_regular(path: str | Path, what: str = "file", small: int = 0) -> BinaryIO:
    """Open a regular file for reading bytes. Raises UserError as `check_regular` does.

    small: read a file of at most this many bytes whole, and return it as a file in memory. This
        needs half as many system calls, each of which releases Python's lock.
    """
    check_regular(path, what)
    with _named_errors(path, what):
        file = open(path, "rb", buffering=0, opener=_open_without_waiting)  # noqa: SIM115
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            is_small = 0 < status.st_size <= small
            return _read_whole(file, status.st_size) if is_small else io.BufferedReader(file)
        file.close()
    raise UserError(f"{what} {_shown(path)} is no longer a regular file; give another file")


def _open_without_waiting(path: str, flags: int) -> int:
    """The opener of a file: if a pipe has replaced it, opening does not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_whole(file: io.FileIO, size: int) -> BinaryIO:
    """A file in memory with the content of a file; the file itself if it is shorter than `size`."""
    content = file.read(size)
    if len(content) < size:
        file.seek(0)
        return io.BufferedReader(file)
    file.close()
    return io.BytesIO(content)


def read_text(path: str | Path, what: str = "file") -> str:
    """Read the text of a regular UTF-8 file, without a byte order mark. Raises UserError."""
    with open_regular(path, what) as file, _named_errors(path, what):
        data = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        content = kind_of(data[:SNIFFED])
        # Text with another encoding, or damaged text.
        is_text = content in (None, "a text file", "a JSON file")
        hint = "is not UTF-8 text" if is_text else f"is {content}"
        raise UserError(f"{what} {_shown(path)} {hint}; give another file") from None


def read_json(path: str | Path, what: str = "file") -> Any:
    """Read a JSON file. Raises UserError, naming the file and the line."""
    text = read_text(path, what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        content = kind_of(text[:SNIFFED].encode())
        hint = "" if content in (None, "a text file", "a JSON file") else f" but {content}"
        raise UserError(
            f"{what} {_shown(path)} is not JSON{hint}: {error.msg} in line {error.lineno}"
        ) from None
    except (ValueError, RecursionError) as error:  # numbers that are too long, or too deep nesting
        raise UserError(f"{what} {_shown(path)} cannot be read as JSON: {error}") from None


@contextmanager
def _named_errors(path: str | Path, what: str) -> Iterator[None]:
    """Convert the errors of the operating system to UserErrors that name the file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"no such {what}: {_shown(path)}") from None
    except OSError as error:
        raise UserError(f"cannot read {what} {_shown(path)}: {error.strerror or error}") from None
    except ValueError as error:  # a NUL byte, or another character that no file name can contain
        raise UserError(f"{_shown(path)} is not a valid {what} name: {error}") from None


def _shown(path: str | Path) -> str:
    """A path for error messages, on one line and of limited length."""
    text = str(path)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


# ---------------------------------------------------------------------- file types

SNIFFED = 4096
"""The number of bytes at the beginning of a file that `kind_of` examines."""

_BEGINNINGS = (
    (
        b"version https://git-lfs.github.com/",
        "a Git LFS pointer (fetch the file with `git lfs pull`)",
    ),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras and SLEAP write them"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"BZh9", "a bzip2 archive (unpack it first)"),
    (b"\xfd7zXZ", "an xz archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7z archive (unpack it first)"),
    (b"Rar!", "a RAR archive (unpack it first)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a program"),
)
"""The first bytes of a type of file, and a description; some descriptions say what to do."""


def kind_of(head: bytes) -> str | None:
    """Describe the type of a file by its first bytes; None if they do not determine it.

    >>> kind_of(b"<!DOCTYPE html><title>Sign in</title>")
    'an HTML page (a download that failed?)'
    """
    if not head:
        return "empty (0 bytes)"
    for beginning, description in _BEGINNINGS:
        if head.startswith(beginning):
            return description
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        known = (description for brand, description in _BRANDS if brand in brands)
        return next(known, "an MP4 or MOV video")
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it first)"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return "an ONNX model"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "a safetensors file"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a pickle"
    return _kind_of_text(head)


_BRANDS = (
    (b"avif", "an AVIF image"),
    (b"avis", "an AVIF image"),
    (b"heic", "a HEIC image (convert it to JPEG)"),
    (b"heix", "a HEIC image (convert it to JPEG)"),
    (b"mif1", "a HEIF image (convert it to JPEG)"),
    (b"msf1", "a HEIF image (convert it to JPEG)"),
)
"""Brands of ISO base media files and their descriptions; the first match is used."""


def _kind_of_text(head: bytes) -> str | None:
    start = head[:SNIFFED].removeprefix(b"\xef\xbb\xbf")
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not only an incomplete last character
            return None
        text = start[: error.start].decode("utf-8")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    text = text.lstrip().lower()
    if text.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "an HTML page (a download that failed?)"
    if text.startswith("<"):
        return "an XML file"
    return "a JSON file" if text.startswith(("{", "[")) else "a text file"
