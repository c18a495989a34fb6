"""The folder in which public models are kept, its lock, and the settings in the environment.

TAGWISE_HOME: the folder; by default `tagwise` in XDG_CACHE_HOME or ~/.cache.
TAGWISE_OFFLINE: 1 forbids downloads of models and photos, as `--offline` does.
TAGWISE_MIRROR: replaces the scheme and host of every address, such as https://mirror.example.org.
TAGWISE_KEEP_ORIGINALS: 1 keeps the authors' file next to the converted one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.files import make_folder

INSTEAD = "set TAGWISE_HOME to another folder"
"""How to name another place for the cache, for errors."""


def cache_folder() -> Path:
    """The folder of public models; it may not exist yet."""
    if home := os.environ.get("TAGWISE_HOME"):
        return Path(home).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say to ignore relative paths.
    return (Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()) / "tagwise"


def is_set(variable: str) -> bool:
    """Whether a variable of the environment is set to anything except 0 and nothing."""
    return os.environ.get(variable, "") not in ("", "0")


def mirrored(url: str) -> str:
    """An address at the mirror that TAGWISE_MIRROR names, if it is set.

    Raises UserError if the mirror is not an address.
    """
    mirror = os.environ.get("TAGWISE_MIRROR")
    if not mirror:
        return url
    wrong = UserError(f"TAGWISE_MIRROR is {mirror!r}; use an address, as https://example.org")
    try:
        host, wanted = urlsplit(mirror), urlsplit(url)
    except ValueError:
        raise wrong from None
    if host.scheme not in ("http", "https") or not host.netloc:
        raise wrong
    path = host.path.rstrip("/") + wanted.path
    return urlunsplit((host.scheme, host.netloc, path, wanted.query, ""))


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time work on a model in the cache; the others wait.

    Raises UserError if the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # takes a tenth of the time of a prediction

    folder = make_folder(cache_folder(), INSTEAD)
    lock = FileLock(folder / f".{name}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print_note(f"another process is fetching {name}; waiting for it")
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write in the folder {folder}: {reason}; {INSTEAD}") from error
    try:
        yield
    finally:
        lock.release()
