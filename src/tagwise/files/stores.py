"""Folders and files of object stores, which fsspec opens: "s3://bucket/photos/a.jpg".

A read or write that fails is tried again, because stores fail now and then. `Store` is a folder on
this machine or in a store; its files are written completely or not at all.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tagwise.errors import UserError, brief, optional
from tagwise.files.reading import is_address
from tagwise.files.writing import make_folder, remove_partials, whole_file

_PAUSES = (0.1, 0.4, 1.6, 3.2)  # seconds before each further attempt
# No attempt begins after this many seconds, because some packages of stores retry by themselves.
_LONGEST = 10.0
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, UserError)
_DONE = TypeVar("_DONE")


class FetchError(UserError):
    """Something could not be fetched now; another attempt may succeed."""


def open_store(address: str) -> tuple[Any, str]:
    """The file system of fsspec that an address names, and the path in it.

    Raises UserError for an address that fsspec does not know, or whose package is not installed.
    """
    fsspec = optional("fsspec", "scale", f"{address} needs fsspec")
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise UserError(f"{address} needs another package: {brief(str(error), 200)}") from error
    except Exception as error:  # an unknown scheme, or whatever the package of the store raises
        raise UserError(f"cannot open {address}: {brief(str(error), 200)}") from error


def with_attempts(work: Callable[[], _DONE], what: str) -> _DONE:
    """Call a function that reads or writes in a store, up to five times within 10 seconds.

    what: the start of the message, such as "cannot read s3://bucket/a.jpg". A missing file and a
        missing right are final. Raises UserError if it fails in the end.
    """
    started = time.monotonic()
    for pause in (*_PAUSES, None):
        try:
            return work()
        except Exception as error:  # stores raise errors of their own packages
            final = isinstance(error, _FINAL) and not isinstance(error, FetchError)
            if final or pause is None or time.monotonic() - started > _LONGEST:
                raise _failed(error, what) from error
            time.sleep(pause)
    raise AssertionError


def _failed(error: Exception, what: str) -> UserError:
    if isinstance(error, UserError):
        return error
    if isinstance(error, FileNotFoundError):
        return UserError(f"{what}: there is no such file or bucket; check the address")
    if isinstance(error, PermissionError):
        return UserError(f"{what}: permission denied; check the rights of this account")
    return UserError(f"{what}: {type(error).__name__}: {brief(str(error), 200)}")


def read_address(address: str) -> bytes:
    """Read a file of a store. Raises UserError, naming it."""
    fs, path = open_store(address)
    return with_attempts(lambda: fs.cat_file(path), f"cannot read {address}")


class Store:
    """A folder, given as a path or an address. It is created when the first file is written.

    A bucket is not created: a wrong name would otherwise make one.
    """

    def __init__(self, where: str | Path) -> None:
        self.where, self._fs, self._root = str(where), None, ""
        if is_address(self.where):
            self._fs, self._root = open_store(self.where)
            if "file" in _protocols(self._fs):
                self._fs, self.where = None, self._root

    def __str__(self) -> str:
        return self.where

    def absolute(self) -> Store:
        """The same folder, from any working folder of this machine."""
        return self if self._fs is not None else Store(os.path.abspath(self.where))

    def names(self) -> list[str]:
        """The files and folders in it, without hidden ones. Raises UserError."""
        if self._fs is None:
            make_folder(self.where)
            return sorted(n for n in os.listdir(self.where) if not n.startswith("."))
        try:
            found = with_attempts(
                lambda: self._fs.ls(self._root, detail=False, refresh=True), f"cannot list {self}"
            )
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if name and not name.startswith("."))

    def tidy(self) -> None:
        """Remove what killed processes left unfinished in a folder of this machine."""
        if self._fs is None:
            for folder in (Path(self.where), *Path(self.where).glob("*/")):
                remove_partials(folder)

    def read(self, name: str) -> bytes | None:
        """The content of a file, None if there is none. Raises UserError if it cannot be read."""
        what = f"cannot read {self}/{name}"
        try:
            if self._fs is None:
                return with_attempts(Path(self.where, name).read_bytes, what)
            return with_attempts(lambda: self._fs.cat_file(f"{self._root}/{name}"), what)
        except UserError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write a file. Raises UserError if that fails (no right, disk full)."""
        if self._fs is None:
            with whole_file(Path(self.where, name), durable=True) as file:
                file.write(content)
            return
        path = f"{self._root}/{name}"

        def put() -> None:
            if path.startswith("/"):  # in a bucket, folders are parts of names
                self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, content)

        with_attempts(put, f"cannot write {self}/{name}")


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
