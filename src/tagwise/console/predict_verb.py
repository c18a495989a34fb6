"""The verb `predict` of the command line, as in `tagwise.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.arguments import (
    BatchSize,
    Classes,
    Conf,
    Device,
    Flip,
    Half,
    Imgsz,
    Precision,
    Protocol,
    Runtime,
    Scales,
    Weights,
)
from tagwise.console.streams import print_result


def predict(
    sources: Annotated[tuple[str, ...], Positional, arg(metavar="SOURCE")],
    weights: Weights = "people",
    out: str = "predictions",
    conf: Conf = None,
    classes: Classes = (),
    max_instances: int | None = None,
    pictures: bool = True,
    stride: int = 1,
    frames: bool = False,
    show: bool = False,
    coco: Path | None = None,
    resume: bool = False,
    device: Device = "auto",
    imgsz: Imgsz = None,
    half: Half = False,
    flip: Flip = False,
    scales: Scales = (1.0,),
    protocol: Protocol = None,
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    shard_size: int | None = None,
) -> int:
    """Find the instances in photos: poses, boxes or masks, depending on the model.

    Writes NAME.predictions.json and NAME.predictions.jpg for every photo, and
    NAME.predictions.jsonl and NAME.predictions.mp4 for every video (needs tagwise[video]). Exits
    with 0 on success, 1 if some photos could not be read (they are skipped) or a GPU stopped, 2 on
    bad input.

    $ tagwise predict photo.jpg
    $ tagwise predict photos "more/**/*.png" --weights bees --out found
    $ tagwise predict https://example.com/photo.jpg --conf 0.5
    $ tagwise predict clip.mp4             one annotated video, and one line of JSON per frame
    $ tagwise predict 0 --show             a webcam
    $ tagwise predict photos --resume      continues an interrupted run
    $ tagwise predict val --coco val.json --no-pictures --flip      COCO results of a whole set
    $ tagwise predict photos --workers 8   many photos in 8 processes, to shards of Parquet and COCO
    $ tagwise predict s3://bucket/photos --out s3://bucket/found --engine ray      on a Ray cluster

    Args:
        sources: Photos, videos, folders and their subfolders, patterns: "photos/**/*.jpg", http(s)
            addresses of photos, - for a photo on standard input, 0 for a webcam, or rtsp://. With
            --workers or --engine ray: photos, folders, patterns, addresses of stores, and manifests
            (.csv, .parquet or .jsonl).
        out: Folder for the results; it is made if it does not exist.
        max_instances: Keep the best instances of each photo, at most this number.
        stride: Take every Nth frame of videos.
        frames: Write a picture and JSON for each frame of a video.
        show: Show the pictures in a window; closing it ends the run.
        pictures: Draw the instances on each photo, or write JSON only.
        coco: Annotation JSON of the photos; writes one COCO results file for all of them.
        resume: Keep the results that an earlier run with the same settings finished.
        engine: ray runs on a Ray cluster, or on this machine if there is none; needs
            tagwise[scale].
        workers: Processes, or actors of Ray: by default one per GPU, or one per CPU core. Results
            are then shards of Parquet and COCO JSON in --out, without pictures.
        shard_size: Photos of a shard; by default chosen by the number of photos and workers.
    """
    run = tagwise.predict(**locals(), stream=True, progress=True)
    print_result(run.finish())
    return run.exit_code
