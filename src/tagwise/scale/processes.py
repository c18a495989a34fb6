"""Worker processes of this machine, started by `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from typing import Any

from tagwise.data.report import print_note
from tagwise.errors import UserError
from tagwise.scale.plan import Shard
from tagwise.scale.shards import Summary
from tagwise.scale.worker import Work, Worker

_ATTEMPTS = 5  # starts of the processes without a single shard that was done


class Processes:
    """A number of processes, each with a model of its own.

    devices: names of the devices, which the processes take in turn.
    """

    def __init__(self, work: Work, workers: int, devices: list[str]) -> None:
        self._work, self._workers, self._devices = work, workers, devices
        self._spawn = multiprocessing.get_context("spawn")
        self._next = self._spawn.Value("i", 0)
        self._alive: Any = None
        self._pool: ProcessPoolExecutor | None = None

    def run(self, shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield the summaries of shards as they are done; processes that end are replaced."""
        left, waiting = iter(shards), deque[Shard]()
        running: dict[Future[Summary], Shard] = {}
        broken, failures = False, 0
        self._start()
        while True:
            waiting.extend(islice(left, max(0, 2 * self._workers - len(running) - len(waiting))))
            while waiting and not broken:
                broken = not self._submit(waiting, running)
            if broken and not running:  # a broken pool fails all that was running
                failures += 1
                self._restart(waiting[0], failures)
                broken = False
                continue
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                shard = running.pop(future)
                try:
                    summary = future.result()
                except BrokenExecutor:
                    broken = True
                    waiting.append(shard)
                    continue
                failures = 0
                yield summary
        self._pool.shutdown()

    def _submit(self, waiting: deque[Shard], running: dict[Future[Summary], Shard]) -> bool:
        """Give the next shard to the processes; returns whether they still run."""
        try:
            future = self._pool.submit(_predict, waiting[0])
        except BrokenExecutor:
            return False
        running[future] = waiting.popleft()
        return True

    def _start(self) -> None:
        # A process ends when the other end of this pipe is closed: with `close`, or with this
        # process, whatever ended it.
        watched, self._alive = self._spawn.Pipe(duplex=False)
        arguments = (self._work, self._devices, self._next, watched)
        self._pool = ProcessPoolExecutor(self._workers, self._spawn, _start_worker, arguments)

    def _restart(self, shard: Shard, failures: int) -> None:
        """Start other processes. Raises UserError if no shard was done since several starts."""
        self.close()
        if failures >= _ATTEMPTS:
            raise UserError(
                f"worker processes ended {failures} times without a result (out of memory, or an "
                f"image from {shard.images[0]} on crashes them); use fewer --workers, and continue "
                "with --resume"
            )
        print_note("a worker process ended; starting others")
        self._start()

    def close(self) -> None:
        """End the processes at once. What they have not finished is computed again by `resume`."""
        if self._alive is not None:
            self._alive.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


# ---------------------------------------------------------------------- in worker processes

_WORKER: dict[str, Worker] = {}


def _start_worker(work: Work, devices: list[str], number: Any, watched: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process receives it too
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    with number.get_lock():
        device = devices[number.value % len(devices)]
        number.value += 1
    _WORKER["worker"] = Worker(work, device)


def _end_with(watched: Any) -> None:
    """End this process once the main process closes its end of a pipe."""
    with suppress(EOFError, OSError):
        watched.recv()
    os._exit(1)


def _predict(shard: Shard) -> Summary:
    return _WORKER["worker"](shard)
