"""The verbs that write model files in other formats: convert and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.streams import print_result


def convert(
    file: Annotated[Path, Positional, arg(metavar="CHECKPOINT")],
    out: Path | None = None,
    skeleton: str | None = None,
    classes: Path | None = None,
    size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> int:
    """Write a published checkpoint as a tagwise model file.

    Recognises HigherHRNet, pose-ae, mmpose's bottom-up HRNets, CornerNet, CornerNet-Lite and
    mmdetection's CornerNet, by the names and shapes of their tensors. Other verbs take such
    checkpoints as --weights too.

    $ tagwise convert pose_higher_hrnet_w32_512.pth
    $ tagwise convert checkpoint.pth.tar --skeleton mice.json --out mice.safetensors

    Args:
        file: Checkpoint (.pth, .pth.tar, .pkl, .safetensors). No code in it is ever run.
        out: File to write; by default the same name with .safetensors.
        skeleton: coco, crowdpose, wholebody, aic, mhp or a COCO annotation file; by default the
            one with as many keypoint types as the checkpoint.
        classes: COCO annotation file that names the classes of boxes; by default COCO's 80.
        size: Width and height of the network's input in pixels; by default the published one.
        drop_head: Reinitialise the output layers, for another skeleton or other classes.
    """
    print_result(f"the model is in {tagwise.convert(**locals())}")
    return 0


def export(
    weights: Annotated[str, Positional, arg(metavar="WEIGHTS")], out: Path | None = None
) -> int:
    """Write a model as an ONNX file, to run without torch.

    The input is any number of RGB images in [0, 1] of any size, the output the network's maps. They
    are compared with the network before the file is written. Other verbs take it as --weights.

    $ tagwise export people                         writes people.onnx
    $ tagwise export runs/mice/best.safetensors --out mice.onnx

    Args:
        weights: A model that comes with tagwise, a .safetensors file, or a published checkpoint.
        out: File to write; by default the model's name with .onnx, in this folder.
    """
    print_result(f"the model is in {tagwise.export(**locals())}")
    return 0
