"""The verbs that find out what limits a model, as in `tagwise.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tagwise
from tagwise.console.arguments import (
    Device,
    Flip,
    Imgsz,
    Least,
    Precision,
    Protocol,
    Scales,
    Weights,
)
from tagwise.console.streams import print_result


def diagnose(
    weights: Weights,
    annotations: Path | None = None,
    images: Path | None = None,
    out: Path | None = None,
    category: str | None = None,
    sigmas: tuple[float, ...] = (),
    style: Literal["coco", "crowdpose"] | None = None,
    max_dets: int | None = None,
    conf: Least = None,
    device: Device = "auto",
    imgsz: Imgsz = None,
    flip: Flip = False,
    scales: Scales = (1.0,),
    protocol: Protocol = None,
    precision: Precision = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> int:
    """Find out what limits a model on labelled photos, and what to do about it.

    Writes diagnosis.html, a page to open in a browser, and diagnosis.json. Exits with 1 if some
    photos could not be read.

    $ tagwise diagnose --weights runs/mice/best.safetensors      the validation photos of the run
    $ tagwise diagnose --weights robots --annotations val.json --images photos --out report

    Args:
        annotations: COCO JSON with keypoints or boxes, or a folder of label maps. By default the
            validation set that the recipe beside the weights names.
        images: Folder that the JSON's file names are relative to, or of the label maps' images.
        out: Folder for the page; by default diagnosis, beside the weights.
        category: Category of the JSON to evaluate; by default the first with annotated keypoints.
        sigmas: OKS sigmas of all keypoint types; the first counts.
        style: Style of keypoint figures.
        max_dets: Best instances per photo that count: by default 20 poses, 500 boxes or masks.
        conf: Score from which detections count as shown; by default the model's own.
        first: Index of the first photo to use, from 0.
        every: Use every Nth photo from there.
        limit: Largest number of photos to use.
    """
    report = tagwise.diagnose(**locals())
    for number, one in enumerate(report["advice"], 1):
        print_result(f"{number}. {one['what']}\n   {one['why']}")
    print_result(f"the page is {report['page']}")
    return 1 if report["failed"] else 0


def calibrate(
    weights: Weights,
    annotations: Path | None = None,
    images: Path | None = None,
    out: Path | None = None,
    category: str | None = None,
    sigmas: tuple[float, ...] = (),
    device: Device = "auto",
    imgsz: Imgsz = None,
    precision: Precision = "auto",
    pose_score: bool = False,
) -> int:
    """Write a model whose scores say how likely an instance is right.

    Of the instances with a score of 0.5, half then have an OKS or IoU of 0.5 or more. The order of
    scores and average precision stay the same, and so do the instances that are shown by default.

    $ tagwise calibrate --weights runs/mice/best.safetensors      the validation photos of the run
    $ tagwise calibrate --weights blood --annotations val.json --images photos
    $ tagwise calibrate --weights a.safetensors --annotations all.json --images photos --pose-score

    Args:
        annotations: COCO JSON with keypoints or boxes, or a folder of label maps, of photos that
            were not used in training. By default the validation set that the recipe beside the
            weights names.
        images: Folder that the JSON's file names are relative to, or of the label maps' images.
        out: Model file to write; by default the model's name with .calibrated.safetensors, in
            this folder.
        category: Category of the JSON to use; by default the first with annotated keypoints.
        sigmas: OKS sigma of all keypoint types; by default those of the JSON, else of the model.
        pose_score: Learn the score of a pose from its keypoints first, for models of poses. This
            changes the order of scores. Use many photos, such as those of the training, and then
            calibrate the new file on other photos.
    """
    report = tagwise.calibrate(**locals())
    before, after = report["before"]["ece"], report["cross_validated"]["ece"]
    print_result(
        f"expected calibration error: {before:.3f} before, {after:.3f} in cross-validation\n"
        f"threshold: {report['threshold']['before']:.3f}, now {report['threshold']['after']:.3f}\n"
        f"the model is in {report['model']}"
    )
    return 1 if report["failed"] else 0


def tune(
    weights: Weights,
    annotations: Path | None = None,
    images: Path | None = None,
    out: Path | None = None,
    write: bool = False,
    metric: Literal["ap", "f1"] = "ap",
    precision: float = 0.0,
    negatives: Path | None = None,
    category: str | None = None,
    sigmas: tuple[float, ...] = (),
    trials: int = 120,
    seed: int = 0,
    device: Device = "auto",
    imgsz: Imgsz = None,
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> int:
    """Fit the settings of a model's decoder and its threshold to labelled photos.

    The network runs once per photo; its weights stay the same. Prints the gain on photos that the
    settings were not fitted to. Exits with 1 if some photos could not be read.

    $ tagwise tune --weights runs/mice/best.safetensors --write
    $ tagwise tune --weights people --annotations val.json --images photos --out mine.safetensors
    $ tagwise tune --weights runs/mice/best.safetensors --write --metric f1 --precision .9

    Args:
        annotations: COCO JSON with keypoints or boxes, or a folder of label maps. By default the
            validation set that the recipe beside the weights names.
        images: Folder that the JSON's file names are relative to, or of the label maps' images.
        out: Model file to write, a copy with the new settings.
        write: Change the model file itself. Without it and --out, nothing is written.
        metric: AP, or the best F1 of the detections above a threshold.
        precision: Least precision of the threshold, 0 to 1; 0 for the best F1.
        negatives: Folder of photos without any instance, which are to stay empty.
        category: Category of the JSON to evaluate; by default the first with annotated keypoints.
        sigmas: OKS sigmas of all keypoint types; the first counts.
        trials: Settings to try in each of the three fits.
        seed: Of the search; the same seed gives the same result.
        first: Index of the first photo to use, from 0.
        every: Use every Nth photo from there.
        limit: Largest number of photos to use.
    """
    report = tagwise.tune(**locals())
    print_result(report["text"])
    return 1 if report["failed"] else 0
