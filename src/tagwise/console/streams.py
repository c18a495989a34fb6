"""Standard streams whose errors do not stop the work, and reports that are not lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from tqdm import tqdm

_ERRORS = (OSError, ValueError)  # a full disk, a reader that has ended, a closed stream


class _Lenient:
    """A text stream that drops text that cannot be written, and stores the error.

    Messages and progress bars go to stderr while photos are predicted or a model is trained; a full
    disk must not interrupt this.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.error: Exception | None = None if stream else ValueError("it is closed")
        self._stream = stream or _open_nowhere()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, act: Callable[..., object], *arguments: str) -> None:
        try:
            act(*arguments)
        except _ERRORS as error:
            self.error = self.error or error
            self._discard()

    def _discard(self) -> None:
        """Redirect the stream to os.devnull, because Python flushes it again at exit."""
        descriptor = os.open(os.devnull, os.O_WRONLY)
        with suppress(*_ERRORS):
            os.dup2(descriptor, self._stream.fileno())
        os.close(descriptor)


@contextmanager
def streams_guarded() -> Iterator[None]:
    """Prevent exceptions from writing to the standard streams.

    Afterwards the program exits with 2 if something could not be written to stdout. A reader of
    stdout that stops reading, such as `head`, is not an error. Characters that the
    encoding of a stream lacks are written as escapes.
    """
    _open_missing_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    before = sys.stdout, sys.stderr
    guarded = sys.stdout, sys.stderr = [_Lenient(stream) for stream in before]
    try:
        try:
            yield
        except SystemExit:  # of --help, for example
            _check(*guarded)
            raise
        _check(*guarded)
    finally:
        sys.stdout, sys.stderr = before


def _check(stdout: _Lenient, stderr: _Lenient) -> None:
    stdout.flush()
    if stdout.error is not None and not isinstance(stdout.error, BrokenPipeError):
        reason = getattr(stdout.error, "strerror", None) or stdout.error
        print(f"tagwise: cannot write to standard output: {reason}", file=stderr, flush=True)
        sys.exit(2)


def print_note(text: str) -> None:
    """Print one line for the user to standard error, above any progress bar."""
    tqdm.write(f"tagwise: {text}", file=sys.stderr)


def print_result(text: str) -> None:
    """Print the report of a command to stdout; if that fails, also to stderr."""
    print(text, flush=True)
    if getattr(sys.stdout, "error", None) is not None:
        print(text, file=sys.stderr)


def _open_missing_descriptors() -> None:
    """Open os.devnull for descriptors 0 to 2 if they are closed.

    Otherwise the next file that is opened becomes, for example, the stderr of libraries, which
    write their messages into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one


def _open_nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
