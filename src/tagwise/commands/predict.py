"""Prediction for a set of photos: results one by one, and files that a killed run can resume."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import tee
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.grouping.kernels.peaks import scan_peaks
from tagwise.models.model_file import find_weights
from tagwise.prediction.outputs import CocoResults, Predictions
from tagwise.prediction.predictor import Outcome, Precision, Predictor, find_device
from tagwise.prediction.sources import Image, Source, find_sources
from tagwise.results import Result
from tagwise.runtime import is_compiled, keep_freed_memory

__all__ = ["Outcome", "PredictRun", "Predictor", "find_device", "predict"]


def predict(
    sources: Image | Iterable[Image],
    weights: str | Path | nn.Module = "people",
    *,
    out: str | Path | None = None,
    threshold: float | None = None,
    device: str | torch.device = "auto",
    size: int | tuple[int, int] | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    batch_size: int | None = None,
    precision: Precision = "auto",
    pictures: bool = True,
    coco: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> PredictRun:
    """Poses of many photos, as a lazy iterator: images are read while you iterate.

    sources: files, folders, patterns, arrays, Pillow images, see `find_sources`.
    weights, device, size, flip, scales, batch_size, precision: see `Predictor`.
    out: folder for `NAME.predictions.json` and, with `pictures`, `NAME.predictions.jpg`. None
        writes nothing.
    threshold: see `Predictor`; with `coco` 0 by default, since average precision needs every
        instance.
    coco: annotation JSON of the photos; writes `out/STEM.results.json`, COCO keypoint results.
    resume: photos that a run with the same settings finished in `out` are read from there.
    progress: show a bar.

    A photo that cannot be read is reported, kept in the iterator's `failed`, and passed over.
    Raises UserError for sources, weights, devices and folders that do not work.

    >>> for poses in predict("photos", "people"):  # doctest: +SKIP
    ...     poses.plot().save(f"{Path(poses.file).stem}.png")
    """
    if out is None and (coco is not None or resume):
        raise UserError("coco and resume need an output folder: give out")
    found = find_sources(sources)
    keep_freed_memory()
    published = progress and _is_published(weights)
    if published:
        _say(f"reading the published checkpoint {weights}")
    predictor = Predictor(
        weights,
        device=device,
        size=size,
        flip=flip,
        scales=scales,
        threshold=0.0 if threshold is None and coco is not None else threshold,
        batch_size=batch_size,
        precision=precision,
    )
    if published:
        _say(f"this is {predictor.model.spec.info['family']}; {_what_comes(predictor)}")
    files = None
    if out is not None:
        settings = {**predictor.settings(), "weights": _fingerprint(weights), "pictures": pictures}
        files = Predictions(out, settings, pictures, resume)
    return PredictRun(predictor, found, files, coco, progress)


class PredictRun(Iterator[Result]):
    """The iterator that `predict` returns.

    failed: errors so far, one a photo that could not be read.
    written: photos predicted so far. resumed: those taken from an earlier run.
    """

    def __init__(
        self,
        predictor: Predictor,
        sources: Iterable[Source],
        files: Predictions | None,
        coco: str | Path | None,
        progress: bool,
    ) -> None:
        self.failed: list[UserError] = []
        self.written = self.resumed = 0
        self._predictor, self._sources, self._files = predictor, sources, files
        self._progress = progress
        self._results = self._run() if coco is None else self._collected(coco)

    def __next__(self) -> Result:
        return next(self._results)

    def close(self) -> None:
        """Stop here. Files of photos that are done stay; `resume` goes on."""
        self._results.close()

    def finish(self) -> str:
        """Go through all that is left, and say in a line what was done."""
        instances = sum(len(poses) for poses in self)
        text = f"{_count(self.written + self.resumed, 'photo')}, {_count(instances, 'instance')}"
        if self.resumed:
            text += f", {self.resumed} of the photos from an earlier run"
        if self.failed:
            text += f", {_count(len(self.failed), 'photo')} could not be read"
        return f"{text}; results are in {self._files.folder}" if self._files else text

    @property
    def exit_code(self) -> int:
        """For a command line: 0 if no photo failed so far, 1 if some did, 2 if all."""
        if not self.failed:
            return 0
        return 1 if self.written or self.resumed else 2

    def _run(self) -> Iterator[Result]:
        files = self._files
        ahead, inline = tee((s, bool(files and files.is_done(s))) for s in self._sources)
        outcomes = self._predictor.outcomes(source.image for source, done in ahead if not done)
        total = len(self._sources) if isinstance(self._sources, list) else None
        bar = tqdm(inline, total=total, unit="photo", disable=None if self._progress else True)
        for source, done in bar:
            if done:
                self.resumed += 1
                yield files.load(source)
                continue
            outcome = next(outcomes)
            if outcome.error is not None:
                self.failed.append(outcome.error)
                _say(str(outcome.error))
                continue
            if files:
                files.save(source, outcome.result, outcome.image)
            self.written += 1
            yield outcome.result

    def _collected(self, annotations: str | Path) -> Iterator[Result]:
        """The same, with one COCO results file beside, which appears when all is done."""
        path = self._files.folder / f"{Path(annotations).stem}.results.json"
        with whole_file(path) as file:
            results = CocoResults(annotations, file)
            self._check_known(results, annotations)
            for poses in self._run():
                results.add(poses)
                yield poses
            results.finish()
        if results.unknown:
            count = len(results.unknown)
            tqdm.write(
                f"tagwise: {count} photos are not among the images of {annotations} and have no "
                f"rows in {path}, {results.unknown[0]} first",
                file=sys.stderr,
            )

    def _check_known(self, results: CocoResults, annotations: str | Path) -> None:
        """An hour of work for no row at all is better refused at once."""
        if isinstance(self._sources, list) and not any(
            isinstance(source.image, Path) and results.image_id(str(source.image)) is not None
            for source in self._sources
        ):
            raise UserError(
                f"none of these photos is among the images of {annotations}; give the photos that "
                "its file names name"
            )


def _is_published(weights: str | Path | nn.Module) -> bool:
    """Whether weights are another program's, which may be large and slow."""
    if isinstance(weights, nn.Module):
        return False
    return find_weights(weights).suffix not in (".safetensors", ".onnx")


def _what_comes(predictor: Predictor) -> str:
    """What a user waits for until the first photo is done."""
    photos = f"photos run on {predictor.device} in {predictor.precision}, seconds each on a CPU"
    return (
        photos
        if is_compiled(scan_peaks)
        else f"{photos}; the first also compiles, half a minute once"
    )


def _say(text: str) -> None:
    tqdm.write(f"tagwise: {text}", file=sys.stderr)


def _fingerprint(weights: str | Path | nn.Module) -> str:
    """Tells one model file from the next one under the same name."""
    if isinstance(weights, nn.Module):
        return weights.spec.name
    return f"{weights} {zlib.crc32(find_weights(weights).read_bytes()):08x}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
