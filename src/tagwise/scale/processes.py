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
from importlib.util import find_spec
from itertools import islice
from typing import Any

from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.runtime import count_cores, find_device
from tagwise.scale.plan import Shard
from tagwise.scale.shards import Summary
from tagwise.scale.worker import Work, Worker

_ATTEMPTS = 5  # starts of the processes without a single shard that was done


class Processes:
    """A number of processes, each with a model of its own.

    workers: their number. device: see `Predictor`; of several GPUs, the processes take one each in
        turn. threads: of the network in each, so that all together have one per core.
    """

    def __init__(self, workers: int, device: str) -> None:
        self.workers, self._devices = workers, _devices(device)
        self.threads = max(1, count_cores() // workers)
        self._spawn = multiprocessing.get_context("spawn")
        self._next = self._spawn.Value("i", 0)
        self._alive: Any = None
        self._pool: ProcessPoolExecutor | None = None

    def run(self, work: Work, shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield the summaries of shards as they are done; processes that end are replaced."""
        left, waiting = iter(shards), deque[Shard]()
        running: dict[Future[Summary], Shard] = {}
        broken, failures = False, 0
        self._start(work)
        while True:
            waiting.extend(islice(left, max(0, 2 * self.workers - len(running) - len(waiting))))
            while waiting and not broken:
                broken = not self._submit(waiting, running)
            if broken and not running:  # a broken pool fails all that was running
                failures += 1
                waiting = deque(sorted(waiting, key=lambda shard: shard.number))
                self._restart(work, waiting[0], failures)
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

    def _start(self, work: Work) -> None:
        # A process ends when the other end of this pipe is closed: with `close`, or with this
        # process, whatever ended it.
        watched, self._alive = self._spawn.Pipe(duplex=False)
        arguments = (work, self._devices, self._next, watched)
        self._pool = ProcessPoolExecutor(self.workers, self._spawn, _start_worker, arguments)

    def _restart(self, work: Work, shard: Shard, failures: int) -> None:
        """Start other processes. Raises UserError if no shard was done since several starts."""
        self.close()
        if failures >= _ATTEMPTS:
            raise UserError(
                f"worker processes ended {failures} times without a result (out of memory, or an "
                f"image from {shard.images[0]} on crashes them); use fewer --workers, and continue "
                "with --resume"
            )
        print_note("a worker process ended; starting others")
        self._start(work)

    def close(self) -> None:
        """End the processes at once. What they have not finished is computed again by `resume`."""
        if self._alive is not None:
            self._alive.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _devices(device: str) -> list[str]:
    """The names of the devices that the processes take in turn."""
    if find_spec("torch") is None:  # for the files of `tagwise export`
        return [device]
    found = find_device(device)
    if found.type != "cuda" or found.index is not None:
        return [str(found)]
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


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
