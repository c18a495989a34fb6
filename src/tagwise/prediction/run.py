"""A prediction run, which yields results and writes files; an interrupted one can continue."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tagwise import models
from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.data.report import summary
from tagwise.errors import UserError, need_torch
from tagwise.files import whole_file
from tagwise.grouping.kernels.peaks import scan_peaks
from tagwise.plot.window import Window
from tagwise.prediction.given import RemoteImage
from tagwise.prediction.live import LiveVideo
from tagwise.prediction.lost_devices import DeviceError
from tagwise.prediction.outputs import CocoResults, Predictions
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.sequence import Results
from tagwise.prediction.sources import Frames, Source, count_of
from tagwise.prediction.video import Video
from tagwise.prediction.workers import Workers
from tagwise.results import Result
from tagwise.runtime import count_cores, is_compiled

if TYPE_CHECKING:
    from torch import nn

_WRITERS = min(count_cores(), 8)
"""Threads that draw and write the files of a run."""


@dataclass(frozen=True)
class _Writing:
    """The result of a photo.

    files: done when its files are written, None if there are none. picture: the annotated photo,
    None if no window shows it.
    """

    source: Source
    result: Result
    files: Future[None] | None = None
    picture: Future[np.ndarray] | None = None


class PredictRun(Results):
    """The results of many photos, which also writes their files if asked to, see `Results`.

    failed: errors so far, one per photo that could not be read.
    written: number of photos predicted so far. resumed: number of photos taken from an earlier run.
    """

    def __init__(
        self,
        predictor: Predictor,
        sources: Iterable[Source],
        files: Predictions | None,
        coco: str | Path | None,
        progress: bool,
        stream: bool = False,
        window: Window | None = None,
    ) -> None:
        self.failed: list[UserError] = []
        self.written = self.resumed = 0
        self._predictor, self._sources, self._files = predictor, sources, files
        self._progress, self._window = progress, window
        self._unit = "frame" if isinstance(sources, Frames) else "photo"
        self._writers = Workers(_WRITERS, "write")
        super().__init__(self._run() if coco is None else self._with_coco(coco), stream)

    def close(self) -> None:
        """Stop the run. The files of finished photos stay, and `resume` continues from them.

        The files of a video appear with the frames until then.
        """
        self._results.close()
        self._writers.join()
        if self._files is not None:
            self._files.finish(complete=False)

    def finish(self) -> str:
        """Predict all remaining photos, and return a summary in one line."""
        instances = sum(len(result) for result in self)
        text = (
            f"{counted(self.written + self.resumed, self._unit)}, {counted(instances, 'instance')}"
        )
        if self.resumed:
            text += f", {self.resumed} of the {self._unit}s from an earlier run"
        if self.failed:
            text += f", {counted(len(self.failed), self._unit)} could not be read"
        for video in self._broken():
            text += f", {video.unit}: {video.broken}"
        return f"{text}; results are in {self._files.folder}" if self._files else text

    @property
    def exit_code(self) -> int:
        """The exit code of a command: 0 if no photo failed so far, 1 if some did, 2 if all did.

        Parts of a video that could not be read, and a camera that stopped, count as failed photos.
        """
        if not self.failed and not self._broken():
            return 0
        return 1 if self.written or self.resumed else 2

    def _broken(self) -> list[Video | LiveVideo]:
        """The videos that could not be read completely."""
        clips = self._sources.clips if isinstance(self._sources, Frames) else []
        return [clip.video for clip in clips if clip.video.broken]

    def _run(self) -> Generator[Result, None, None]:
        """Yield each result once its files are written; other threads write the next ones."""
        waiting: deque[_Writing] = deque()
        wait, complete = True, False
        try:
            for found in self._found():
                waiting.append(found)
                while len(waiting) > _WRITERS:
                    yield self._recorded(waiting.popleft())
                if self._window is not None and self._window.closed:
                    break
            else:
                complete = True
            while waiting:
                yield self._recorded(waiting.popleft())
        except DeviceError:
            while waiting:  # what was found before is right
                yield self._recorded(waiting.popleft())
            raise
        except GeneratorExit:
            wait = False  # an abandoned run must not, see `workers`
            raise
        finally:
            self._writers.stop()
            if wait:
                self._writers.join()
                self._record_complete(waiting)
            if self._files is not None and wait:
                self._files.finish(complete)
            elif self._files is not None and self._files.videos is not None:
                self._files.videos.release()

    def _recorded(self, found: _Writing) -> Result:
        """Wait until the files of a photo are written, list it in the journal, return its result.

        The journal has the order of the photos, whichever files were complete first.
        """
        if found.files is not None:
            found.files.result()
            self._files.record(found.source)
        if found.picture is not None:
            self._window.show(found.picture.result())
        return found.result

    def _record_complete(self, waiting: Iterable[_Writing]) -> None:
        """List the photos of an interrupted run whose files were written nevertheless."""
        for found in waiting:
            if found.files is None:
                continue
            if not found.files.done() or found.files.cancelled() or found.files.exception():
                return
            with suppress(UserError):  # the disk is full: the error that ended the run says so
                self._files.record(found.source)

    def _found(self) -> Iterator[_Writing]:
        """Yield the results in the order of the sources, while their files are being written."""
        files = self._files
        ahead, inline = tee((s, bool(files and files.is_done(s))) for s in self._sources)
        outcomes = self._predictor.outcomes(source.image for source, done in ahead if not done)
        total = count_of(self._sources)
        bar = tqdm(inline, total=total, unit=self._unit, disable=None if self._progress else True)
        for source, done in stoppable(bar):
            if done:
                self.resumed += 1
                yield _Writing(source, files.load(source))
                continue
            try:
                outcome = next(outcomes)
            except DeviceError as error:
                raise self._stopped(error) from error
            if outcome.error is not None:
                self.failed.append(outcome.error)
                print_note(str(outcome.error))
                continue
            self.written += 1
            result = _named(outcome.result, source)
            yield self._writing(source, result, outcome.image)

    def _writing(self, source: Source, result: Result, image: np.ndarray) -> _Writing:
        """Begin to draw and write a result."""
        files, picture, saved = self._files, None, None
        clip = None if files is None else files.clip_of(source)
        if self._window is not None or (clip is not None and files.pictures):
            picture = self._writers.submit(result.draw, image)
        if clip is not None:
            saved = files.videos.save(source, result, picture if files.pictures else None)
        elif files is not None:
            saved = self._writers.submit(files.save, source, result, image)
        return _Writing(source, result, saved, picture if self._window is not None else None)

    def _stopped(self, error: DeviceError) -> DeviceError:
        """The error with what is done, and how to continue."""
        done = f"{error} after {counted(self.written + self.resumed, 'photo')}"
        if self._files is None:
            return DeviceError(f"{done}; run the rest on another device, as with --device cpu")
        return DeviceError(
            f"{done}, whose results are in {self._files.folder}; the same command with --resume "
            "continues from here, and with --device cpu it needs no GPU"
        )

    def _with_coco(self, annotations: str | Path) -> Generator[Result, None, None]:
        """Yield the same results and write them to one COCO file, which appears at the end."""
        path = self._files.folder / f"{Path(annotations).stem}.results.json"
        with whole_file(path) as file:
            results = CocoResults(self._predictor.task, annotations, file)
            if results.problems:
                print_note(summary(results.problems))
            self._check_known(results, annotations)
            for result in self._run():
                results.add(result)
                yield result
            results.finish()
        if results.unknown:
            count = len(results.unknown)
            print_note(
                f"{count} photos are not among the images of {annotations} and have no rows in "
                f"{path}; the first is {results.unknown[0]}"
            )

    def _check_known(self, results: CocoResults, annotations: str | Path) -> None:
        """Raise UserError before the first image is predicted if no photo would have a row."""
        if isinstance(self._sources, list) and not any(
            isinstance(source.image, Path) and results.image_id(str(source.image)) is not None
            for source in self._sources
        ):
            raise UserError(
                f"none of these photos is among the images of {annotations}; give the photos that "
                "it lists"
            )


def _named(result: Result, source: Source) -> Result:
    """The result with the video and frame, or the address, that its image comes from."""
    if source.index is not None:
        return replace(result, file=str(source.clip), frame=source.index, time=source.time)
    if isinstance(source.image, RemoteImage):
        return replace(result, file=source.image.address)
    return result


def open_predictor(weights: str | Path | nn.Module, *, announce: bool, **options: Any) -> Predictor:
    """Create a predictor. A published checkpoint may be large and slow: stderr announces it.

    options: arguments of `Predictor`.
    """
    if not announce or not _is_published(weights):
        return Predictor(weights, **options)
    print_note(f"reading the published checkpoint {weights}")
    predictor = Predictor(weights, **options)
    family = predictor.model.spec.info["family"]
    wait = f"photos run on {predictor.device} in {predictor.precision}, seconds per photo on a CPU"
    if not is_compiled(scan_peaks):
        wait += "; the first one also compiles code, which takes some seconds once"
    print_note(f"this is {family}; {wait}")
    return predictor


def open_files(
    folder: str | Path,
    predictor: Predictor,
    weights: str | Path | nn.Module,
    pictures: bool,
    resume: bool,
    frames: bool = False,
    stride: int = 1,
) -> Predictions:
    """Open the files of a run. Raises UserError if `resume` meets other settings or weights."""
    settings = {**predictor.settings(), "weights": fingerprint(weights), "pictures": pictures}
    settings |= {"frames": True} if frames else {}
    settings |= {"stride": stride} if stride != 1 else {}
    return Predictions(folder, settings, pictures, resume, frames)


def _is_published(weights: str | Path | nn.Module) -> bool:
    """Return whether the weights are a checkpoint of another program."""
    if not isinstance(weights, str | os.PathLike) or Path(weights).suffix == ".onnx":
        return False
    need_torch(str(weights))
    return models.find_weights(weights).suffix not in (".safetensors", ".xml")


def fingerprint(weights: str | Path | nn.Module) -> str:
    """Return a string that changes if the model file changes under the same name."""
    if not isinstance(weights, str | os.PathLike):
        return weights.spec.name
    path = Path(weights)
    if path.suffix != ".onnx":  # which is always a file, and read without torch
        path = models.find_weights(weights)
    files = [path, models.weights_beside(path)] if path.suffix == ".xml" else [path]
    checksum = 0
    for file in files:
        checksum = zlib.crc32(file.read_bytes(), checksum)
    return f"{weights} {checksum:08x}"


def counted(number: int, what: str) -> str:
    """A number of things in words.

    >>> counted(2, "photo")
    '2 photos'
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
