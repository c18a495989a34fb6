"""`tagwise track`: the instances of a video, followed from frame to frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tagwise.errors import UserError
from tagwise.prediction.options import Precision, Runtime
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.protocols import Protocol
from tagwise.prediction.runtimes import runtime_for
from tagwise.prediction.video import open_video
from tagwise.runtime import keep_freed_memory
from tagwise.tracking.outputs import TrackFiles
from tagwise.tracking.run import TrackRun
from tagwise.tracking.tracker import Tracker, TrackSettings


def track(
    source: str | Path,
    weights: str | Path | nn.Module = "people",
    *,
    out: str | Path | None = None,
    threshold: float | None = None,
    settings: TrackSettings | None = None,
    fill: int = 0,
    device: str | torch.device = "auto",
    size: int | tuple[int, int] | None = None,
    flip: bool = False,
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    pictures: bool = True,
    progress: bool = False,
) -> TrackRun:
    """Track the instances of a video; returns an iterator of `Tracked` frames.

    source: a video, or a folder of photos in the order of their names.
    weights, device, size, flip, protocol, batch_size, precision, runtime: see `Predictor`.
    out: folder for `NAME.tracks.txt` (rows of the MOT challenge: frame and id, from 1; the box as
        x, y, width and height, where the first pixel is 1; score; -1, -1, -1),
        `NAME.tracks.jsonl` (one frame per line, as `predict` writes photos, with ids) and, with
        `pictures`, `NAME.tracks.mp4`. The files appear at the end. None: no files.
    threshold: score from which an instance may start a track; half of it is enough to continue
        one. By default the model's own, see `Predictor`.
    settings: settings of the tracker; `threshold`, if given, replaces `high` and `low` in them.
    fill: longest gap in a track, in frames, whose rows are filled in by linear interpolation.
    progress: show a progress bar.

    Raises UserError for a video, weights, a device or a folder that cannot be used.

    >>> for frame in track("clip.mp4"):  # doctest: +SKIP
    ...     print(frame.time, frame.ids, frame.result.boxes)
    """
    if fill < 0:
        raise UserError(f"fill is {fill} frames; use 0 or more")
    video = open_video(source)
    keep_freed_memory()
    predictor = Predictor(
        weights,
        device=device,
        size=size,
        flip=flip,
        protocol=protocol,
        threshold=threshold,
        batch_size=batch_size,
        precision=precision,
        runtime=runtime_for(runtime, video.frames),
    )
    if settings is None or threshold is not None:
        high = predictor.threshold
        settings = replace(settings or TrackSettings(), high=high, low=high / 2)
    predictor.threshold = settings.low
    files = None if out is None else TrackFiles(video, out, pictures, fill)
    return TrackRun(video, predictor, Tracker(settings), files, progress)
