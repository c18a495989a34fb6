"""Stopping on Ctrl-C, SIGTERM or SIGHUP: between two photos, frames or steps, not inside one.

An exception that a signal raises may occur in a callback of a library, which drops it, or between
the files of a photo. The command line therefore installs a handler that only sets a flag while a
loop over `stoppable(items)` runs; the loop checks the flag between two items. The second signal,
and any signal outside of such a loop, raises `Interrupted` immediately.

Without `signals_handled`, as in a notebook, Python handles Ctrl-C as usual.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeVar

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_SIGNALS = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
_HINT = b"\ntagwise: stopping; press Ctrl-C again to stop without waiting\n"

Item = TypeVar("Item")


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop."""


class _State:
    """requested: the number of the first signal, 0 for none. loops: the number of running loops."""

    requested = 0
    loops = 0


def stoppable(items: Iterable[Item], requested: Callable[[], int] | None = None) -> Iterator[Item]:
    """Yield the items; after a signal has arrived, raise Interrupted instead of the next item.

    requested: returns the number of the signal that ends the loop, 0 for none; by default
        `stop_requested`. Processes that work together end at the same item if they agree on it.
    """
    requested = requested or stop_requested
    _State.loops += 1
    try:
        _raise_if(requested())
        for item in items:
            yield item
            _raise_if(requested())
    finally:
        _State.loops -= 1


def stop_requested() -> int:
    """The number of the signal that asked the program to stop, 0 if there was none."""
    return _State.requested


@contextmanager
def signals_handled() -> Iterator[None]:
    """Handle the signals as this module describes, and restore the handlers afterwards.

    Signals that are ignored stay ignored, as after `nohup`. Outside of the main thread, which
    receives all signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a process that loads data, which its owner ends
            _pass_on(number)
            return
        first, _State.requested = not _State.requested, _State.requested or number
        if not first or not _State.loops:
            raise Interrupted(signal.Signals(number).name)
        _print_hint()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    handled = [number for number in _SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    _State.requested = _State.loops = 0
    try:
        for number in handled:
            signal.signal(number, handle)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
        _State.requested = 0


def _raise_if(number: int) -> None:
    if number:
        _State.requested = number  # for the exit code, if another process had the signal
        raise Interrupted(signal.Signals(number).name)


def _pass_on(number: int) -> None:
    """Let a forked process ignore Ctrl-C, which its owner receives too, and end on others."""
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _print_hint() -> None:
    with suppress(OSError):
        os.write(2, _HINT)  # print must not be called here: a signal may interrupt another print
