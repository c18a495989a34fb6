"""Running the network for requests: a bounded queue, batches of what waits, and processes.

While the network is busy, requests wait in the queue. When it is free, it takes as many of them as
a batch allows, so that batches grow with the load and a lone request never waits for others.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tagwise.errors import UserError
from tagwise.prediction.outcome import Outcome
from tagwise.serving.metrics import Metrics
from tagwise.serving.models import Loaded, ModelStore
from tagwise.serving.responses import RequestError, busy


@dataclass(frozen=True)
class Job:
    """An image to predict. threshold: None is that of the model. name: of the file, or None."""

    model: str
    content: bytes
    name: str | None = None
    threshold: float | None = None


def predict_batch(loaded: Loaded, jobs: Sequence[Job]) -> list[dict[str, Any] | str]:
    """The JSON of each image, or the error of one that cannot be read."""
    predictor = loaded.predictor
    outcomes = [predictor.prepare(job.content) for job in jobs]
    ready = [outcome for outcome in outcomes if outcome.error is None]
    ready.sort(key=lambda outcome: str(predictor.shape(outcome)))
    for _, part in groupby(ready, predictor.shape):
        batch: list[Outcome] = list(part)
        predictor.decode(batch, predictor.run(batch))
    return [_answer(loaded, job, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]


def _answer(loaded: Loaded, job: Job, outcome: Outcome) -> dict[str, Any] | str:
    if outcome.error is not None:
        return str(outcome.error)
    threshold = loaded.threshold if job.threshold is None else job.threshold
    plain = outcome.result.above(threshold).to_dict()
    plain["image"]["file"] = job.name
    return plain


class Engine:
    """Predicts images from a queue.

    store: the models. workers: processes; with 1, a thread of this process runs the network.
    queue: jobs that may wait. batch_size: jobs that are predicted together; None is the default
        of the first model's `Predictor`.
    """

    def __init__(
        self,
        store: ModelStore,
        workers: int,
        queue: int,
        batch_size: int | None,
        metrics: Metrics,
    ) -> None:
        self._store, self._workers, self._batch_size = store, workers, batch_size
        self._most, self._metrics, self._exploring = queue, metrics, 0
        self._waiting: list[tuple[Job, asyncio.Future]] = []
        self._wake = asyncio.Condition()
        self._tasks: list[asyncio.Task] = []
        self._pool: ProcessPoolExecutor | None = None
        self.thread = ThreadPoolExecutor(1, "network")

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._waiting)

    async def start(self) -> None:
        """Load the first model, in every process if there are several."""
        loop = asyncio.get_running_loop()
        if self._batch_size is None:
            first = await loop.run_in_executor(self.thread, self._store.load)
            self._batch_size = first.predictor.batch_size
        if self._workers > 1:
            self._pool = self._new_pool()
            starts = [loop.run_in_executor(self._pool, _ready) for _ in range(self._workers)]
            await asyncio.gather(*starts)
        self._tasks = [asyncio.create_task(self._serve()) for _ in range(self._workers)]

    def _new_pool(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, spawn, _start_worker, self._store.recipe())

    async def stop(self) -> None:
        """End the threads and processes; jobs that still wait are refused."""
        for task in self._tasks:
            task.cancel()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(busy("it is stopping"))
        self.thread.shutdown(wait=True, cancel_futures=True)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def require_room(self) -> None:
        """Raise RequestError (503) if the queue is full."""
        if len(self._waiting) >= self._most:
            self._metrics.refused += 1
            raise busy(f"{self._most} images wait already")

    async def predict(self, job: Job) -> dict[str, Any]:
        """The JSON of one image. Raises RequestError: 503 for a full queue, 415 for no image."""
        self.require_room()
        future: asyncio.Future = asyncio.get_running_loop().create_future()
        async with self._wake:
            self._waiting.append((job, future))
            self._wake.notify()
        return await future

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run a function of the explorer in the thread of the network.

        Raises RequestError (503) if as many of them wait already as the queue allows.
        """
        if self._exploring >= self._most:
            self._metrics.refused += 1
            raise busy(f"{self._most} images wait already")
        self._exploring += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        finally:
            self._exploring -= 1

    async def _serve(self) -> None:
        while True:
            async with self._wake:
                await self._wake.wait_for(lambda: self._waiting)
                batch = self._next_batch()
            if batch:
                await self._finish(batch)

    def _next_batch(self) -> list[tuple[Job, asyncio.Future]]:
        """Take the oldest jobs of one model; clients that left are dropped."""
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]
        if not self._waiting:
            return []
        model = self._waiting[0][0].model
        batch = [pair for pair in self._waiting if pair[0].model == model][: self._batch_size]
        taken = {id(future) for _, future in batch}
        self._waiting = [pair for pair in self._waiting if id(pair[1]) not in taken]
        return batch

    async def _finish(self, batch: list[tuple[Job, asyncio.Future]]) -> None:
        jobs = [job for job, _ in batch]
        self._metrics.batch(len(jobs))
        loop, pool = asyncio.get_running_loop(), self._pool
        try:
            if pool is None:
                work = loop.run_in_executor(self.thread, self._predict_here, jobs)
            else:
                work = loop.run_in_executor(pool, _predict_in_worker, jobs)
            answers = await work
        except BrokenExecutor:
            if self._pool is pool:  # the first of its batches to notice starts new processes
                self._pool = self._new_pool()
            answers = [busy("a worker process ended, and a new one starts")] * len(jobs)
        except Exception as error:
            answers = [error] * len(jobs)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, str):
                future.set_exception(RequestError(415, answer))
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _predict_here(self, jobs: list[Job]) -> list[dict[str, Any] | str]:
        return predict_batch(self._store.load(jobs[0].model), jobs)


# ---------------------------------------------------------------------- in worker processes

_WORKER: dict[str, ModelStore] = {}


def _start_worker(*recipe: Any) -> None:
    _WORKER["store"] = ModelStore(*recipe)


def _ready() -> bool:
    """Load the first model of this process."""
    store = _WORKER["store"]
    store.load(store.first)
    return True


def _predict_in_worker(jobs: list[Job]) -> list[dict[str, Any] | str | Exception]:
    try:
        return predict_batch(_WORKER["store"].load(jobs[0].model), jobs)
    except UserError as error:
        return [error] * len(jobs)
