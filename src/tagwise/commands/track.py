"""`tagwise track`: the instances of a video, followed from frame to frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import torch
from torch import nn

from tagwise.errors import UserError
from tagwise.plot.window import Window
from tagwise.prediction.live import LiveVideo, is_live
from tagwise.prediction.options import (
    OlderNames,
    Precision,
    Runtime,
    check_stride,
    with_older_names,
)
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.protocols import Protocol
from tagwise.prediction.runtimes import runtime_for
from tagwise.prediction.video import open_video
from tagwise.runtime import keep_freed_memory
from tagwise.tracking.outputs import TrackFiles
from tagwise.tracking.run import TrackRun
from tagwise.tracking.tracker import Tracker, TrackSettings


def track(
    source: str | Path | int,
    weights: str | Path | nn.Module = "people",
    *,
    conf: float | None = None,
    classes: str | int | Sequence[str | int] = (),
    max_instances: int | None = None,
    imgsz: int | tuple[int, int] | None = None,
    device: str | torch.device = "auto",
    half: bool = False,
    stride: int = 1,
    show: bool = False,
    out: str | Path | None = None,
    settings: TrackSettings | None = None,
    fill: int = 0,
    flip: bool = False,
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    pictures: bool = True,
    progress: bool = False,
    **older: Unpack[OlderNames],
) -> TrackRun:
    """Track the instances of a video; returns an iterator of `Tracked` frames.

    source: a video, a folder of photos in the order of their names, or a camera or stream, see
        `LiveVideo`.
    weights, classes, max_instances, imgsz, device, half, flip, protocol, batch_size, precision,
        runtime: see `Predictor`; `max_instances` holds for each frame.
    conf: score from which an instance may start a track; half of it is enough to continue one. By
        default the model's own, see `Predictor`.
    stride: use every Nth frame.
    show: show the frames with their tracks in a window; closing it ends the run.
    out: folder for `NAME.tracks.txt` (rows of the MOT challenge: frame and id, from 1; the box as
        x, y, width and height, where the first pixel is 1; score; -1, -1, -1),
        `NAME.tracks.jsonl` (one frame per line, as `predict` writes photos, with ids) and, with
        `pictures`, `NAME.tracks.mp4`. The files appear at the end; those of a camera or stream
        also if Ctrl-C ends the run. None: no files.
    settings: settings of the tracker; `conf`, if given, replaces `high` and `low` in them.
    fill: longest gap in a track, in frames, whose rows are filled in by linear interpolation.
    progress: show a progress bar.

    The older names `threshold` for `conf` and `size` for `imgsz` still work. Raises UserError for a
    video, weights, a device or a folder that cannot be used, and for other names of arguments.

    >>> for frame in track("clip.mp4"):  # doctest: +SKIP
    ...     print(frame.time, frame.ids, frame.result.boxes)
    """
    named = with_older_names({**locals()}, older)
    conf = named["conf"]
    if fill < 0:
        raise UserError(f"fill is {fill} frames; use 0 or more")
    stride = check_stride(stride)
    live = is_live(source) and not os.path.exists(str(source))
    video = LiveVideo(source, stride) if live else open_video(source, stride)
    window = Window("tagwise") if show else None
    keep_freed_memory()
    predictor = Predictor(
        weights,
        conf=conf,
        classes=classes,
        max_instances=max_instances,
        imgsz=named["imgsz"],
        device=device,
        half=half,
        flip=flip,
        protocol=protocol,
        batch_size=1 if live and batch_size is None else batch_size,
        precision=precision,
        runtime=runtime_for(runtime, weights, video.frames),
    )
    if settings is None or conf is not None:
        high = predictor.threshold
        settings = replace(settings or TrackSettings(), high=high, low=high / 2)
    predictor.threshold = settings.low
    files = None if out is None else TrackFiles(video, out, pictures, fill)
    return TrackRun(video, predictor, Tracker(settings), files, progress, window)
