"""Writing of files completely or not at all, and of logs by appending complete lines.

No other module opens files for writing; a test checks that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from tagwise.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, which refuses to remove a file that a process has open
    fcntl = None  # type: ignore[assignment]

_INSTEAD = "give another --out"
_PARTIAL = re.compile(r"\..+\.(\d+)\.partial")
_SERIAL = count()
_LONGEST = 200  # longer names, in bytes, are shortened in partial files; file systems allow 255


@contextmanager
def whole_file(path: Path, durable: bool = False, instead: str = _INSTEAD) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only when it is complete; creates its folder.

    durable: wait until the data is on the disk, so that a power failure leaves the old or the new
        file.
    instead: how to name another place, for errors.

    Raises UserError if the file cannot be written (no permission, disk full); it is then removed.
    """
    partial = _partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_partials_once(path.parent)
        with partial.open("wb") as file:
            _lock(file)
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise _unwritable(path, error, instead) from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def growing_file(path: Path, instead: str = _INSTEAD) -> Iterator[BinaryIO]:
    """Open a file for appending, such as a download that a later run may continue.

    What was written stays if the block raises; an empty file does not. Raises UserError, and
    removes the file, if it cannot be written (no permission, disk full).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            yield file
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise _unwritable(path, error, instead) from error
    finally:
        with suppress(OSError):
            if not path.stat().st_size:
                path.unlink()


def make_folder(path: str | Path, instead: str = _INSTEAD) -> Path:
    """Create the folder of a run if it is missing, and remove partial files of killed runs from it.

    instead: how to name another place, for errors. Raises UserError if it cannot be created.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: {error.strerror or error}; {instead}"
        ) from error
    remove_partials(path)
    return path


@contextmanager
def removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove a folder that is made inside the block, if the block fails."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def remove_oldest(folder: Path, keep: int) -> None:
    """Remove the oldest files of a cache, except the last `keep` that were written."""
    with suppress(OSError):
        files = [path for path in folder.iterdir() if not path.name.startswith(".")]
        for path in sorted(files, key=lambda path: path.stat().st_mtime)[: -keep or None]:
            path.unlink()


# ---------------------------------------------------------------------- logs of JSON lines


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a log as one line of JSON.

    Raises UserError if the line cannot be written completely; the log is then unchanged.
    """
    rest = memoryview(json.dumps(row).encode() + b"\n")
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while rest:  # a nearly full disk writes a part, and fails at the next write
                    rest = rest[file.write(rest) :]
            except BaseException:
                file.truncate(before)
                raise
    except OSError as error:
        raise _unwritable(path, error) from error


def trim_lines(
    path: Path, keep: Callable[[dict[str, Any]], bool] = lambda row: True
) -> tuple[list[dict[str, Any]], list[int]]:
    """Remove damaged lines from a log, and the rows that `keep` rejects.

    A missing log counts as empty. An incomplete last line is removed without being counted as
    damaged: it was being written when a run was killed.

    Returns the rows that remain, and the numbers, from 1, of the lines that were not JSON objects.
    Raises UserError if the log cannot be read or written; it is then unchanged.
    """
    try:
        content = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; remove it") from error
    lines = (content or b"").splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    rows = [_row(line) for line in lines]
    kept = [k for k, row in enumerate(rows) if row is not None and keep(row)]
    trimmed = b"".join(lines[k] for k in kept)
    if trimmed != content:
        with whole_file(path) as file:
            file.write(trimmed)
    return [rows[k] for k in kept], [k + 1 for k, row in enumerate(rows) if row is None]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


# ---------------------------------------------------------------------- partial files


def remove_partials(folder: Path) -> None:
    """Remove the partial files in a folder whose processes have ended."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _PARTIAL.fullmatch(entry.name)
            if match and not _is_written(Path(entry.path), int(match[1])):
                with suppress(OSError):
                    os.unlink(entry.path)


# A process that writes many files into a folder searches it for partial files only once.
_remove_partials_once = cache(remove_partials)


def _partial_path(path: Path) -> Path:
    """The path at which a file is written first, different for each call.

    The final name may have the maximum length.
    """
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        short = os.fsencode(name)[: _LONGEST // 2].decode(errors="ignore")
        name = f"{short}.{zlib.crc32(os.fsencode(name)):08x}"
    return path.with_name(f".{name}.{next(_SERIAL)}.{os.getpid()}.partial")


def _is_written(partial: Path, pid: int) -> bool:
    """Whether a process is writing a partial file, here or on a computer that shares the drive."""
    if fcntl is None:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        pass
    except OSError:  # the process belongs to another user
        return True
    else:
        return True
    try:
        with partial.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _lock(file: BinaryIO) -> None:
    """Lock a partial file until it is closed or its process ends."""
    if fcntl is not None:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unwritable(path: Path, error: OSError, instead: str = _INSTEAD) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}; free space or {instead}")
