"""Threads for the stages of a prediction, which can be told to end from anywhere.

`concurrent.futures` has executors, but not even `shutdown(wait=False)` is safe in a finalizer: the
garbage collector may close an abandoned run in any thread, also in one that holds the lock of an
executor, and then waits for itself forever. `SimpleQueue.put` is made for finalizers.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any
from weakref import WeakSet


class Workers:
    """A number of threads that call functions in the order in which they are submitted.

    begin: called first in each thread. The threads start with the first function, and end after
    `stop`, or with the program.
    """

    def __init__(self, count: int, name: str, begin: Callable[[], object] | None = None) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple] | None]
        self._tasks, self._threads, self._stopped = SimpleQueue(), [], False
        self._count, self._name, self._begin = count, name, begin

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let a thread call the function; the future has its result. After `stop`, none does."""
        future: Future[Any] = Future()
        self._tasks.put((future, function, arguments))
        if not self._threads:
            self._start()
        return future

    def _start(self) -> None:
        with _STARTING:
            if self._threads:  # another thread has submitted a function at the same time
                return
            _LIVE.add(self)
            for number in range(self._count):
                name = f"{self._name} {number}"
                thread = Thread(target=self._work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        """Cancel what has not begun and let the threads end; does not wait, and needs no lock."""
        self._stopped = True
        for _ in range(self._count):
            self._tasks.put(None)

    def join(self, timeout: float | None = None) -> None:
        """Stop, and wait until the functions that have begun return."""
        self.stop()
        with _STARTING:
            threads = list(self._threads)
        for thread in threads:
            thread.join(timeout)

    def _work(self) -> None:
        if self._begin is not None:
            self._begin()
        while (task := self._tasks.get()) is not None:
            future, function, arguments = task
            if self._stopped:
                future.cancel()
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            del task, future, function, arguments  # they may hold an image


_LIVE: WeakSet[Workers] = WeakSet()
# Held while threads start, which the thread of another stage may do when the program ends.
# Reentrant, because the garbage collector may close a run in the thread that holds it.
_STARTING = RLock()


@atexit.register
def _end() -> None:
    """Let abandoned threads end before the interpreter does, which would end them anywhere."""
    joined: set[Workers] = set()
    while found := _live() - joined:  # a stage that is still running may start the next one
        for workers in found:
            workers.stop()
        for workers in found:
            workers.join(timeout=10)
        joined |= found


def _live() -> set[Workers]:
    with _STARTING:
        return set(_LIVE)
