"""The command line. Each verb is the Python function of its name; no logic lives here.

Nothing heavy is imported before a verb runs, so that help appears at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

from tagwise import __version__
from tagwise.errors import UserError

_ABOUT = """Find who is where: keypoints of everyone in a photo, grouped by learned tags.

$ tagwise predict photo.jpg            poses of the people, as a picture and JSON
$ tagwise predict photos --weights bees --out found
$ tagwise track clip.mp4               who is who through a video
$ tagwise train recipes/robots.yaml    a model of your own
$ tagwise eval --weights robots --annotations val.json --images photos
$ tagwise convert checkpoint.pth       a published model as one of tagwise's
$ tagwise export people                a model as an ONNX file

`tagwise VERB --help` tells more. Add --debug to any verb to see the traceback of an error.
"""

Device = Annotated[str, tyro.conf.arg(metavar="auto|cpu|cuda|cuda:N|mps")]
Weights = Annotated[str, tyro.conf.arg(metavar="people|robots|bees|blood|nuclei|PATH")]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Sources = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]


def predict(
    sources: Sources,
    weights: Weights = "people",
    out: Path = Path("predictions"),
    threshold: float | None = None,
    pictures: bool = True,
    coco: Path | None = None,
    resume: bool = False,
    device: Device = "auto",
    size: int | None = None,
    flip: bool = False,
    scales: tuple[float, ...] = (1.0,),
    batch_size: int | None = None,
    precision: Precision = "auto",
) -> int:
    """Find instances and their keypoints in photos.

    Writes NAME.predictions.json and NAME.predictions.jpg for every photo. Exits with 0 if all went
    well, 1 if some photos could not be read (they are named, the rest is done), 2 on bad input.

    $ tagwise predict photo.jpg
    $ tagwise predict photos "more/**/*.png" --weights bees --out found
    $ tagwise predict photos --resume      go on where an interrupted run stopped
    $ tagwise predict val --coco val.json --no-pictures --flip      COCO results of a whole set

    Args:
        sources: Photos, folders (with all below them) or patterns such as "photos/**/*.jpg".
        weights: A model that ships with tagwise, or a .safetensors file.
        out: Folder for the results; made if need be.
        threshold: Leave out instances with a lower score, 0 to 1. By default the model's own; with
            --coco, 0.
        pictures: Draw the skeletons on each photo, or write JSON alone.
        coco: Annotation JSON of the photos; writes one COCO results file for all of them.
        resume: Keep what an earlier run with the same settings finished.
        device: Where the network runs; auto takes a GPU where there is one.
        size: Longest side of the network's input in pixels. Larger finds smaller instances, slower.
        flip: Run each photo mirrored too: better, at twice the time.
        scales: Run each photo in several sizes, such as 0.5 1 1.5.
        batch_size: Photos of one forward pass; by default 1 on a CPU and 16 on a GPU.
        precision: bf16 is faster on a recent CPU or a GPU; auto takes it where the CPU has it.
    """
    arguments = dict(locals())
    from tagwise.commands.predict import predict

    run = predict(**arguments, progress=True)
    print(run.finish())
    return run.exit_code


def train(
    recipe: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    resume: bool = False,
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = (),
) -> int:
    """Train a model as a recipe says.

    Any value of the recipe can be given on the command line, by its dotted name:

    $ tagwise train recipes/robots.yaml
    $ tagwise train recipes/robots.yaml --optim.steps 500 --data.root ../data --out runs/short
    $ tagwise train recipes/robots.yaml --resume      after a crash, as if nothing had happened

    Args:
        recipe: YAML file; recipes/ has those of the models that ship.
        out: Folder of the run: models, log, recipe. By default runs/ and the recipe's name.
        resume: Go on from the run's last checkpoint.
        overrides: Values of the recipe, as optim.steps=500; the same as --optim.steps 500.
    """
    arguments = dict(locals())
    from tagwise.commands.train import train

    print(f"the model is in {train(**arguments)}")
    return 0


def evaluate(
    weights: Weights,
    annotations: Path,
    images: Path,
    out: Path | None = None,
    coco: Path | None = None,
    sigmas: tuple[float, ...] = (),
    style: Literal["coco", "crowdpose"] | None = None,
    max_dets: int | None = None,
    oracle: Literal["grouping", "keypoints", "corners", "offsets", "foreground"] | None = None,
    device: Device = "auto",
    size: int | None = None,
    flip: bool = False,
    scales: tuple[float, ...] = (1.0,),
    threshold: float = 0.0,
    batch_size: int | None = None,
    precision: Precision = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> int:
    """Measure a model on labelled photos: AP and AR of poses, boxes or masks.

    Exits with 1 if some photos could not be read: they are named, and count as empty.

    $ tagwise eval --weights robots --annotations val.json --images photos
    $ tagwise eval --weights robots --annotations val.json --images photos --sigmas 0.4 0.1
    $ tagwise eval --weights people --annotations val.json --images photos --oracle grouping

    Args:
        weights: A model that ships with tagwise, or a .safetensors file.
        annotations: COCO JSON with keypoints or boxes, or a folder of label maps.
        images: Folder that the JSON's file names start from, or of the label maps' images.
        out: JSON file for the figures.
        coco: JSON file for the results themselves.
        sigmas: OKS sigmas, each for all keypoint types; one row of figures for each. By default
            those of the JSON, else of the model.
        style: Of keypoint figures; crowdpose adds AP of easy, medium and hard photos.
        max_dets: Best instances of a photo that count; by default 20 poses, 500 boxes or masks.
        oracle: What limits the model? "grouping" groups its keypoints, pairs its corners or tells
            its pixels apart by the truth; "keypoints", "corners" and "foreground" give the true
            ones its tags; "offsets" moves its corners to the true ones.
        device: Where the network runs; auto takes a GPU where there is one.
        size: Longest side of the network's input in pixels.
        flip: Run each photo mirrored too.
        scales: Run each photo in several sizes, such as 0.5 1 1.5.
        threshold: Leave out instances with a lower score; the figures need all of them.
        batch_size: Photos of one forward pass; by default 1 on a CPU and 16 on a GPU.
        precision: Of the network's arithmetic.
        first: Number of the first photo, from 0, that counts.
        every: Count only each so manieth photo from there.
        limit: Count only so many.
    """
    arguments = dict(locals())
    from tagwise.commands.evaluate import evaluate

    return 1 if evaluate(**arguments)["failed"] else 0


def track(
    source: Annotated[str, tyro.conf.Positional],
    weights: Weights = "people",
    out: Path = Path("tracks"),
    threshold: float | None = None,
    fill: int = 0,
    pictures: bool = True,
    device: Device = "auto",
    size: int | None = None,
    flip: bool = False,
    batch_size: int | None = None,
    precision: Precision = "auto",
) -> int:
    """Find instances in a video and follow each from frame to frame.

    Writes NAME.tracks.mp4, the video with instances in the colours of their tracks;
    NAME.tracks.txt, rows of the MOT challenge; and NAME.tracks.jsonl, the instances of a frame a
    line. Needs tagwise[video].

    $ tagwise track clip.mp4
    $ tagwise track clip.mp4 --weights bees --out found --fill 10

    Args:
        source: A video, or a folder of photos that are its frames.
        weights: A model that ships with tagwise, or a .safetensors file.
        out: Folder for the results; made if need be.
        threshold: Score from which an instance may start a track; half of it is enough to go on
            with one. By default the model's own.
        fill: Fill in the rows of tracks that were unseen for up to so many frames.
        pictures: Write the annotated video too.
        device: Where the network runs; auto takes a GPU where there is one.
        size: Longest side of the network's input in pixels. Larger finds smaller instances, slower.
        flip: Run each frame mirrored too: better, at twice the time.
        batch_size: Frames of one forward pass; by default 1 on a CPU and 16 on a GPU.
        precision: bf16 is faster on a recent CPU or a GPU; auto takes it where the CPU has it.
    """
    arguments = dict(locals())
    from tagwise.commands.track import track

    run = track(**arguments, progress=True)
    print(run.finish())
    return run.exit_code


def convert(
    file: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    skeleton: str | None = None,
    classes: Path | None = None,
    size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> int:
    """Write a published checkpoint as a tagwise model file.

    Knows HigherHRNet, pose-ae, mmpose's bottom-up HRNets, CornerNet, CornerNet-Lite and
    mmdetection's CornerNet, by the names and shapes of their tensors. `tagwise predict --weights`
    takes such files as they are, too.

    $ tagwise convert pose_higher_hrnet_w32_512.pth
    $ tagwise convert checkpoint.pth.tar --skeleton mice.json --out mice.safetensors

    Args:
        file: Checkpoint (.pth, .pth.tar, .pkl, .safetensors). No code in it is ever run.
        out: File to write; by default the same name with .safetensors.
        skeleton: coco, crowdpose or a COCO annotation file; by default by the number of keypoints.
        classes: COCO annotation file that names the classes of boxes; by default COCO's 80.
        size: Width and height of the network's input in pixels; by default the published one.
        drop_head: Begin the output layers anew, for another skeleton or other classes.
    """
    arguments = dict(locals())
    from tagwise.commands.convert import convert

    print(f"the model is in {convert(**arguments)}")
    return 0


def export(weights: Annotated[str, tyro.conf.Positional], out: Path | None = None) -> int:
    """Write a model as an ONNX file, to run without torch.

    It takes RGB images in [0, 1] of any number and size and gives the network's maps, and is
    compared with the network before it is written. `tagwise predict --weights` takes it too.

    $ tagwise export people                         writes people.onnx
    $ tagwise export runs/mice/best.safetensors --out mice.onnx

    Args:
        weights: A model that ships with tagwise, a .safetensors file, or a published checkpoint.
        out: File to write; by default the model's name with .onnx, in this folder.
    """
    arguments = dict(locals())
    from tagwise.commands.export import export

    print(f"the model is in {export(**arguments)}")
    return 0


def plot(
    source: Annotated[str | None, tyro.conf.Positional] = None,
    what: Literal["tags", "instances", "maps", "push"] = "tags",
    weights: Weights = "people",
    out: Path | None = None,
    threshold: float | None = None,
    device: Device = "auto",
) -> int:
    """Draw a picture that explains a prediction.

    $ tagwise plot photo.jpg                        the tags of everyone found in the photo
    $ tagwise plot photo.predictions.json           the same, from a prediction made before
    $ tagwise plot photo.jpg --what maps            what the network sees before grouping
    $ tagwise plot --what push                      what the loss asks of two instances' tags

    Args:
        source: A photo, or a .predictions.json file.
        what: Tags by keypoint type or corner, instances on the photo, the network's maps on the
            photo, or the push loss.
        weights: A model that ships with tagwise, or a .safetensors file.
        out: Picture file (.png, .jpg, .pdf, .svg); by default named after the source.
        threshold: Leave out instances with a lower score. By default the model's own; of a file, 0.
        device: Where the network runs; auto takes a GPU where there is one.
    """
    arguments = dict(locals())
    from tagwise.commands.plot import plot

    print(plot(**arguments))
    return 0


VERBS: dict[str, Callable[..., int]] = {
    "predict": predict,
    "train": train,
    "eval": evaluate,
    "plot": plot,
    "track": track,
    "convert": convert,
    "export": export,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 well, 1 in part, 2 bad input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    if argv == ["--version"]:
        print(f"tagwise {__version__}")
        return 0
    if argv[:1] == ["train"]:
        from tagwise.training.recipe import gather_overrides

        argv = gather_overrides(argv)
    try:
        return _run(argv or ["--help"])
    except UserError as error:
        if debug:
            raise
        print(f"tagwise: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        can_resume = argv[0] in ("predict", "train")
        hint = "; the same command with --resume goes on from here" if can_resume else ""
        print(f"tagwise: interrupted{hint}", file=sys.stderr)
        return 130


def _run(argv: list[str]) -> int:
    if argv[0] in VERBS:
        return tyro.cli(VERBS[argv[0]], prog=f"tagwise {argv[0]}", args=argv[1:])
    # Help for the whole, or an error that names the verbs: tyro's to print, with exit code 0 or 2.
    verbs = tuple(
        Annotated[Any, tyro.conf.subcommand(name, constructor=verb, description=_first_line(verb))]
        for name, verb in VERBS.items()
    )
    every = Union[verbs]  # noqa: UP007, made at run time
    return tyro.cli(every, prog="tagwise", description=_ABOUT, args=argv)


def _first_line(verb: Callable[..., int]) -> str:
    return (verb.__doc__ or "").partition("\n")[0]
