"""`tagwise predict`: the instances in many photos, one result after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tagwise.errors import UserError
from tagwise.plot.window import Window
from tagwise.prediction.options import (
    OlderNames,
    Precision,
    Runtime,
    check_stride,
    with_older_names,
)
from tagwise.prediction.protocols import Protocol
from tagwise.prediction.run import PredictRun, open_files, open_predictor
from tagwise.prediction.runtimes import runtime_for
from tagwise.prediction.sources import Frames, Image, count_of, find_sources
from tagwise.runtime import keep_freed_memory
from tagwise.scale.options import check_shards
from tagwise.scale.run import Engine, ShardRun, start_run

if TYPE_CHECKING:
    import torch
    from torch import nn


def predict(
    sources: Image | int | Iterable[Image | int],
    weights: str | Path | nn.Module = "people",
    *,
    conf: float | None = None,
    classes: str | int | Sequence[str | int] = (),
    max_instances: int | None = None,
    imgsz: int | tuple[int, int] | None = None,
    device: str | torch.device = "auto",
    half: bool = False,
    stream: bool = False,
    stride: int = 1,
    frames: bool = False,
    show: bool = False,
    out: str | Path | None = None,
    flip: bool = False,
    scales: Sequence[float] = (1.0,),
    protocol: Protocol | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    pictures: bool = True,
    coco: str | Path | None = None,
    resume: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    shard_size: int | None = None,
    progress: bool = False,
    **older: Unpack[OlderNames],
) -> PredictRun | ShardRun:
    """Find poses, boxes or masks in many photos; returns their results, computed as they are read.

    sources: files, folders, patterns, videos, cameras, addresses, arrays, Pillow images, tensors,
        lists of these, see `find_sources`.
    weights, classes, max_instances, imgsz, device, half, flip, scales, protocol, batch_size,
        precision, runtime: see `Predictor`.
    conf: see `Predictor`; with `coco` 0 by default, since average precision needs every instance.
    stream: keep no results, so that memory does not grow; those of cameras and streams are never
        kept. The results can be iterated once.
        Otherwise they are a sequence too: `results[0]`, `len(results)`, `results.to_df()`.
    stride: predict every Nth frame of videos.
    out: folder for `NAME.predictions.json` and, with `pictures`, `NAME.predictions.jpg`, which are
        written as results are computed. A video has one `NAME.predictions.jsonl`, with one frame
        per line, and `NAME.predictions.mp4`, which appear with its last frame. None: no files.
    frames: write the files of photos for each frame of a video instead.
    show: show the pictures in a window while they are computed; closing it ends the run.
    coco: annotation JSON of the photos; writes `out/STEM.results.json`, COCO results of the task.
    resume: photos that a run with the same settings finished in `out` are read from there.
    engine, workers: by default, threads of this process do the work. With a number of workers, as
        many processes do it, and with "ray" as many actors of Ray (None: one per GPU, or one per
        CPU core); needs tagwise[scale]. Sources are then photos, folders, patterns, manifests and
        addresses of stores. Results are written to `out`, which may be an address too, as shards
        of Parquet and COCO JSON, without pictures; docs/scale.md describes them.
    shard_size: images of a shard; by default chosen by the number of images and workers.
    progress: show a progress bar.

    A photo that cannot be read is reported, added to the `failed` of the results, and skipped. The
    older names `threshold` for `conf` and `size` for `imgsz` still work. Raises UserError for
    sources, weights, a device or a folder that cannot be used, and for other names of arguments.

    >>> results = predict("photos", "people", conf=0.5)  # doctest: +SKIP
    >>> results[0].save("poses.png")  # doctest: +SKIP
    >>> results.to_df()  # doctest: +SKIP
    """
    named = with_older_names({**locals()}, older)
    conf = named["conf"]
    if engine != "local" or workers is not None or shard_size is not None:
        return _predict_in_shards(named)
    if out is None and (coco is not None or resume):
        raise UserError("coco and resume need an output folder; give out")
    stride = check_stride(stride)
    found = find_sources(sources, stride)
    live = isinstance(found, Frames) and found.live
    window = Window("tagwise") if show else None
    keep_freed_memory()
    predictor = open_predictor(
        weights,
        announce=progress,
        conf=0.0 if conf is None and coco is not None else conf,
        classes=classes,
        max_instances=max_instances,
        imgsz=named["imgsz"],
        device=device,
        half=half,
        flip=flip,
        scales=scales,
        protocol=protocol,
        batch_size=1 if live and batch_size is None else batch_size,
        precision=precision,
        runtime=runtime_for(runtime, weights, count_of(found)),
    )
    files = None
    if out is not None:
        files = open_files(out, predictor, weights, pictures, resume, frames, stride)
    return PredictRun(predictor, found, files, coco, progress, stream or live, window)


def _predict_in_shards(given: dict[str, Any]) -> ShardRun:
    """Predict in processes or actors; given: the arguments of `predict`."""
    check_shards(given)
    return start_run(
        given["sources"],
        given["weights"],
        given["out"],
        **{name: given[name] for name in _SHARDS},
        options={name: given[name] for name in _OPTIONS},
    )


_SHARDS = ("engine", "workers", "shard_size", "resume", "progress", "stream")
_OPTIONS = (
    *("conf", "classes", "max_instances", "imgsz", "device", "half", "flip", "scales"),
    *("protocol", "batch_size", "precision", "runtime"),
)
