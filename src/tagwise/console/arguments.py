"""Arguments of the command line that several verbs share, and the text of its help."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, arg

ABOUT = """Find people, animals and things in photos and videos: as poses, boxes or masks.

$ tagwise predict photo.jpg            poses of the people, as a picture and JSON
$ tagwise predict photos --weights blood --out found
$ tagwise track clip.mp4               the same instances through a video
$ tagwise init labels.slp              a recipe for your own labels
$ tagwise train recipes/robots.yaml    a model of your own
$ tagwise eval --weights robots --annotations val.json --images photos
$ tagwise diagnose --weights runs/mine/best.safetensors
$ tagwise tune --weights runs/mine/best.safetensors --write
$ tagwise convert checkpoint.pth       a published model as one of tagwise's
$ tagwise export people                a model as an ONNX file
$ tagwise serve                        the tag explorer, a page in your browser
$ tagwise new ingredient my_task       a program of your own that groups points by tags
$ tagwise models                       every model there is, those to download too
$ tagwise completion bash              completion for your shell, also zsh and fish
$ tagwise --version                    the version that is installed

See `tagwise VERB --help` for details. Add --debug to any verb to see the traceback of an error, and
--offline to forbid it to download a model.
"""

Weights = Annotated[
    str,
    arg(
        metavar="people|robots|bees|flies|blood|nuclei|PATH",
        help="A model that comes with tagwise, a public one (see `tagwise models`), a .safetensors "
        "or .onnx file, or a published checkpoint (see `tagwise convert --help`).",
    ),
]
Device = Annotated[
    str,
    arg(
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where the network runs; auto: a GPU if there is one.",
    ),
]
Imgsz = Annotated[
    int | None,
    arg(
        aliases=["--size"],
        help="Longest side of the network's input in pixels. Larger finds smaller instances.",
    ),
]
Conf = Annotated[
    float | None,
    arg(
        aliases=["--threshold"],
        help="Leave out instances with a lower score, 0 to 1. By default the model's own; with "
        "--coco, 0.",
    ),
]
Least = Annotated[float | None, arg(aliases=["--threshold"])]
TrackConf = Annotated[
    float | None,
    arg(
        aliases=["--threshold"],
        help="Score from which an instance may start a track; half of it is enough to continue "
        "one. By default the model's own.",
    ),
]
Classes = Annotated[
    tuple[str, ...], arg(help="Keep these classes only, by name or by number from 0.")
]
Half = Annotated[
    FlagCreatePairsOff[bool],
    arg(help="Run the network in half precision; --precision chooses which, or fp32."),
]
Flip = Annotated[bool, arg(help="Run each image mirrored too: more accurate, twice the time.")]
Scales = Annotated[tuple[float, ...], arg(help="Run each image at several sizes: 0.5 1 1.5.")]
Protocol = Annotated[
    Literal["published", "fast"] | None,
    arg(
        help="How to test a public model or a published checkpoint: with the flip, scales and "
        "decoder of its authors, or with the decoder of tagwise. For public models, eval uses "
        "published by default, and other verbs use fast.",
    ),
]
BatchSize = Annotated[int | None, arg(help="Images per forward pass: 1 on a CPU, 32 on a GPU.")]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    arg(help="bf16 is faster on a recent CPU or GPU; auto uses it there, and fp16 on older GPUs."),
]
Runtime = Annotated[
    Literal["auto", "torch", "openvino"],
    arg(
        help="What runs the network. On a CPU, auto is OpenVINO if it is installed (pip install "
        "'tagwise[openvino]') and there are 100 photos or more. For .onnx files, torch stands for "
        "onnxruntime, and one photo is enough.",
    ),
]


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment; afterwards they are what they were before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
