"""`tagwise predict`: the instances in many photos, one result after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tagwise.errors import UserError
from tagwise.prediction.options import Precision, Runtime
from tagwise.prediction.protocols import Protocol
from tagwise.prediction.run import PredictRun, open_files, open_predictor
from tagwise.prediction.runtimes import runtime_for
from tagwise.prediction.sources import Image, find_sources
from tagwise.runtime import keep_freed_memory

if TYPE_CHECKING:
    import torch
    from torch import nn


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
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    pictures: bool = True,
    coco: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
) -> PredictRun:
    """Find poses, boxes or masks in many photos; returns an iterator that reads them lazily.

    sources: files, folders, patterns, arrays, Pillow images, see `find_sources`.
    weights, device, size, flip, scales, protocol, batch_size, precision, runtime: see `Predictor`.
    out: folder for `NAME.predictions.json` and, with `pictures`, `NAME.predictions.jpg`. None:
        no files.
    threshold: see `Predictor`; with `coco` 0 by default, since average precision needs every
        instance.
    coco: annotation JSON of the photos; writes `out/STEM.results.json`, COCO results of the task.
    resume: photos that a run with the same settings finished in `out` are read from there.
    progress: show a progress bar.

    A photo that cannot be read is reported, added to the iterator's `failed`, and skipped.
    Raises UserError for sources, weights, a device or a folder that cannot be used.

    >>> for poses in predict("photos", "people"):  # doctest: +SKIP
    ...     poses.plot().save(f"{Path(poses.file).stem}.png")
    """
    if out is None and (coco is not None or resume):
        raise UserError("coco and resume need an output folder; give out")
    found = find_sources(sources)
    keep_freed_memory()
    predictor = open_predictor(
        weights,
        announce=progress,
        device=device,
        size=size,
        flip=flip,
        scales=scales,
        protocol=protocol,
        threshold=0.0 if threshold is None and coco is not None else threshold,
        batch_size=batch_size,
        precision=precision,
        runtime=runtime_for(runtime, len(found) if isinstance(found, list) else None),
    )
    files = None if out is None else open_files(out, predictor, weights, pictures, resume)
    return PredictRun(predictor, found, files, coco, progress)
