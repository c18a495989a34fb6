"""The verbs that write models and labels in other formats: convert and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.streams import print_result


def convert(
    file: Annotated[Path, Positional, arg(metavar="LABELS|CHECKPOINT")],
    out: Path | None = None,
    to: Literal["coco", "sleap", "deeplabcut", "yolo", "labelstudio", "csv", "parquet"]
    | None = None,
    images: Path | None = None,
    category: str | None = None,
    annotations: Path | None = None,
    predicted: bool = False,
    copy: bool = True,
    skeleton: str | None = None,
    classes: Path | None = None,
    size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> int:
    """Convert labels from and to other programs, or a published checkpoint to a model file.

    Labels: reads SLEAP, DeepLabCut, Label Studio, CVAT, labelme, YOLO, Pascal VOC, COCO, and the
    predictions of tagwise. Writes COCO JSON with a folder of images for training, or with --to the
    format of another program. Says what it understood and what it left out.

    $ tagwise convert labels.slp --out my_animal       my_animal/labels.json, my_animal/images
    $ tagwise convert dlc_project --out my_animal      a DeepLabCut project with config.yaml
    $ tagwise convert labels.slp --images videos       videos that are elsewhere
    $ tagwise convert found --to sleap --out found.slp       predictions, to correct in SLEAP

    Checkpoints: recognises HigherHRNet, pose-ae, mmpose's bottom-up networks, CornerNet,
    CornerNet-Lite and mmdetection's CornerNet, by the names and shapes of their tensors. Other
    verbs take such checkpoints as --weights too.

    $ tagwise convert pose_higher_hrnet_w32_512.pth
    $ tagwise convert checkpoint.pth.tar --skeleton mice.json --out mice.safetensors

    Args:
        file: Labels or predictions, a file or folder; or a checkpoint (.pth, .pth.tar, .pkl,
            .safetensors). No code in it is ever run.
        out: File or folder to write; by default named after the file.
        to: Format of the new labels; by default coco. csv and parquet are tables.
        images: Folder with the images or videos of the labels, or a video; by default they are
            searched by name next to the labels and below.
        category: Category or skeleton to keep, where the labels have several.
        annotations: COCO annotation file to which a file of COCO results belongs.
        predicted: Also keep predicted instances beside those that people labelled.
        copy: Copy image files into the new folder. Frames of videos are always written there.
        skeleton: coco, crowdpose, wholebody, aic, mhp or a COCO annotation file; by default the
            one with as many keypoint types as the checkpoint.
        classes: COCO annotation file that names the classes of boxes; by default COCO's 80.
        size: Width and height of the network's input in pixels; by default the published one.
        drop_head: Reinitialise the output layers, for another skeleton or other classes.
    """
    path = tagwise.convert(**locals(), progress=True)
    what = "model is" if path.suffix == ".safetensors" else "labels are"
    print_result(f"the {what} in {path}")
    return 0


def export(
    weights: Annotated[str, Positional, arg(metavar="WEIGHTS")], out: Path | None = None
) -> int:
    """Write a model as an ONNX file, to run without torch.

    The input is any number of RGB images in [0, 1] of any size. The outputs are the peaks of the
    network's maps, with their scores, positions and tags, and the maps themselves. They are
    compared with the network before the file is written. Other verbs take it as --weights.

    $ tagwise export people                         writes people.onnx
    $ tagwise export runs/mice/best.safetensors --out mice.onnx

    Args:
        weights: A model that comes with tagwise, a .safetensors file, or a published checkpoint.
        out: File to write; by default the model's name with .onnx, in this folder.
    """
    print_result(f"the model is in {tagwise.export(**locals())}")
    return 0
