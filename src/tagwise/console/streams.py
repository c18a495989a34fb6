"""The standard streams: a report is not lost, and a broken stream does not stop the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from tagwise.errors import UserError

_ERRORS = (OSError, ValueError)  # a full disk, a reader that has ended, a closed stream


class _Lenient:
    """A text stream that leaves out what cannot be written, instead of raising.

    Messages and progress bars go to stderr while photos are predicted or a model is trained; a full
    disk behind it must not end that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(*_ERRORS):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(*_ERRORS):
            self._stream.flush()


@contextmanager
def streams_guarded() -> Iterator[None]:
    """Make the standard streams safe to write to.

    Characters that a stream's encoding does not have are written as escapes. Streams that were
    closed when the program started lead nowhere.
    """
    _open_missing_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    stderr = sys.stderr
    sys.stderr = _Lenient(stderr if stderr is not None else _nowhere())  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stderr = stderr
        try:
            print(end="", file=sys.stdout, flush=True)  # what others have printed, such as help
        except _ERRORS:
            _discard(sys.stdout)


def print_result(text: str) -> None:
    """Print what a command reports to stdout; if that fails, to stderr, so that it is not lost.

    Raises UserError if stdout is full or closed. A reader that has seen enough, such as `head`, is
    not an error.
    """
    stdout = sys.stdout
    try:
        if stdout is None:
            raise ValueError("it is closed")
        print(text, file=stdout, flush=True)
    except _ERRORS as error:
        _discard(stdout)
        print(text, file=sys.stderr)
        if not isinstance(error, BrokenPipeError):
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot write to standard output: {reason}") from error


def _discard(stream: TextIO | None) -> None:
    """Lead a stream nowhere: Python flushes it once more at its exit, and would fail again."""
    if stream is None:
        return
    descriptor = os.open(os.devnull, os.O_WRONLY)
    with suppress(*_ERRORS):
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


def _open_missing_descriptors() -> None:
    """Lead descriptors 0 to 2 nowhere if they are closed.

    Otherwise the next file that is opened becomes, for example, the stderr of libraries, which
    write their messages into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one


def _nowhere() -> TextIO:
    """A stream on descriptor 2, which `_open_missing_descriptors` has opened."""
    return os.fdopen(2, "w", encoding="utf-8", closefd=False)
