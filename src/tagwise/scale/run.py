"""A run in shards: progress, a summary, and the results as they are written."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.files import Store
from tagwise.prediction.lost_devices import DeviceError
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.run import counted, fingerprint
from tagwise.prediction.runtimes import runtime_for
from tagwise.prediction.sequence import Results
from tagwise.results import Result
from tagwise.scale.images import list_images
from tagwise.scale.plan import Plan, make_plan, open_plan
from tagwise.scale.processes import Processes
from tagwise.scale.ray_actors import RayActors
from tagwise.scale.shards import Summary, file_names
from tagwise.scale.table import read_results
from tagwise.scale.worker import Work

Engine = Literal["local", "ray"]

_MESSAGES = 10  # about images that could not be read; the rest is in the column error


class ShardRun(Results):
    """The results of a run in shards, in the order of the images, see `Results`.

    failed: number of images that could not be read so far. written: number of images done so far.
    resumed: those of them whose results an earlier run had written.
    """

    def __init__(
        self,
        out: Store,
        plan: Plan,
        summaries: Iterator[Summary],
        pool: Processes | RayActors,
        *,
        resume: bool,
        progress: bool,
        stream: bool,
    ) -> None:
        self.failed = self.written = self.resumed = self._instances = 0
        self._out, self._plan, self._resume, self._progress = out, plan, resume, progress
        self._summaries, self._pool = self._counted(summaries), pool
        super().__init__(self._run(), stream)

    def close(self) -> None:
        """End the workers. The shards that are done stay, and `resume` continues from them."""
        self._summaries.close()
        self._pool.close()

    def finish(self) -> str:
        """Predict all remaining images, and return a summary in one line."""
        for _ in self._summaries:
            pass
        text = f"{counted(self.written, 'photo')}, {counted(self._instances, 'instance')}"
        if self.resumed:
            text += f", {self.resumed} of the photos from an earlier run"
        if self.failed:
            text += f", {counted(self.failed, 'photo')} could not be read"
        return f"{text}; results are in {self._out}"

    @property
    def exit_code(self) -> int:
        """The exit code of a command: 0 if no image failed so far, 1 if some did, 2 if all did."""
        return 0 if not self.failed else 2 if self.failed == self.written else 1

    def _run(self) -> Generator[Result, None, None]:
        """Read the results of shards from their files, in the order of the images."""
        done, shard = set(), 0
        for summary in self._summaries:
            done.add(summary.shard)
            while shard in done:
                yield from read_results(self._out.read(file_names(shard)[0]) or b"")
                shard += 1

    def _counted(self, summaries: Iterator[Summary]) -> Generator[Summary, None, None]:
        """Count what is done, and show it. Raises UserError if a worker could not go on."""
        bar = tqdm(total=self._plan.images, unit="photo", disable=None if self._progress else True)
        try:
            with bar:
                for summary in stoppable(summaries):
                    if summary.problem is not None:
                        raise self._stopped(summary)
                    self._count(summary, bar)
                    yield summary
            self._out.tidy()
        finally:
            self._pool.close()

    def _count(self, summary: Summary, bar: tqdm[Any]) -> None:
        self.written += summary.images
        self._instances += summary.instances
        if summary.earlier and self._resume:
            self.resumed += summary.images
            if not bar.disable:
                bar.initial += summary.images  # so that the speed is that of this run
        for message in summary.failures[: max(0, _MESSAGES - self.failed)]:
            print_note(message)
        self.failed += summary.failed
        if summary.failed:
            bar.set_postfix(errors=self.failed, refresh=False)
        bar.update(summary.images)

    def _stopped(self, summary: Summary) -> UserError:
        hint = f"after {counted(self.written, 'photo')}; the same command with --resume continues"
        kind = DeviceError if summary.exit_code == DeviceError.exit_code else UserError
        return kind(f"{summary.problem} ({hint} from here)")


def start_run(
    sources: Any,
    weights: Any,
    out: str | Path,
    *,
    engine: Engine,
    workers: int | None,
    shard_size: int | None,
    resume: bool,
    progress: bool,
    stream: bool,
    options: dict[str, Any],
) -> ShardRun:
    """Check everything, write the plan of a run, and return its results, computed when read.

    sources: see `list_images`. weights, options: of `Predictor`. out: the output folder, or an
        address of a store. workers: number of processes or of Ray's actors, see `RayActors`.
    shard_size: images of a shard; None chooses it. Raises UserError for all that cannot work.
    """
    if not isinstance(weights, str | os.PathLike):
        raise UserError("workers load the model from a file; save it with save_model, and name it")
    weights, store = os.fspath(weights), Store(out)
    images = list_images(sources)
    settings = _settings(weights, options)
    options = {**options, "runtime": runtime_for(options["runtime"], weights, len(images))}
    device = options.pop("device")
    pool = RayActors(workers, device) if engine == "ray" else Processes(workers, device)
    try:
        plan = make_plan(images, shard_size, pool.workers, fingerprint(weights), settings)
        plan = open_plan(store, plan, resume, sized=shard_size is not None)
    except UserError:
        pool.close()
        raise
    work = Work(weights, options, plan.weights, str(store.absolute()), os.getcwd(), pool.threads)
    summaries = pool.run(work, plan.shards(images))
    return ShardRun(store, plan, summaries, pool, resume=resume, progress=progress, stream=stream)


def _settings(weights: str, options: dict[str, Any]) -> dict[str, Any]:
    """The settings that results depend on; loads the model once, which checks them all."""
    here = {"device": "cpu", "runtime": "torch", "precision": "fp32", "half": False}
    found = Predictor(weights, **{**options, **here}).settings()
    return {**found, "precision": options["precision"], "half": options["half"]}
