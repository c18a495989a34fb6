"""The command line. Each verb is the Python function of its name; no logic lives here.

The package imports that function only when a verb runs, so that help appears immediately.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from tyro.conf import Positional, arg

import tagwise
from tagwise.console.arguments import (
    ABOUT,
    BatchSize,
    Classes,
    Device,
    Flip,
    Half,
    Imgsz,
    Least,
    Precision,
    Protocol,
    Runtime,
    Scales,
    TrackConf,
    Weights,
    environment,
)
from tagwise.console.diagnosis_verbs import calibrate, diagnose, tune
from tagwise.console.interrupts import signals_handled, stop_requested
from tagwise.console.label_verbs import init
from tagwise.console.model_verbs import convert, export
from tagwise.console.new_verb import new
from tagwise.console.predict_verb import predict
from tagwise.console.serve_verb import serve
from tagwise.console.streams import print_result, streams_guarded
from tagwise.console.training_verbs import label, suggest, train
from tagwise.errors import UserError, unknown_name, without_torch


def evaluate(
    weights: Weights,
    annotations: Path,
    images: Path,
    out: Path | None = None,
    coco: Path | None = None,
    category: str | None = None,
    sigmas: tuple[float, ...] = (),
    style: Literal["coco", "crowdpose"] | None = None,
    max_dets: int | None = None,
    oracle: Literal["grouping", "keypoints", "corners", "offsets", "foreground", "both"]
    | None = None,
    device: Device = "auto",
    imgsz: Imgsz = None,
    flip: Flip = False,
    scales: Scales = (1.0,),
    protocol: Protocol = None,
    conf: Least = None,
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
    first: int = 0,
    every: int = 1,
    limit: int | None = None,
) -> int:
    """Measure a model on labelled photos: AP and AR of poses, boxes or masks.

    Exits with 1 if some photos could not be read: they are reported, and count as empty.

    $ tagwise eval --weights robots --annotations val.json --images photos
    $ tagwise eval --weights robots --annotations val.json --images photos --sigmas 0.4 0.1
    $ tagwise eval --weights people --annotations val.json --images photos --oracle grouping

    Args:
        annotations: COCO JSON with keypoints or boxes, or a folder of label maps.
        images: Folder that the JSON's file names are relative to, or of the label maps' images.
        out: JSON file for the figures.
        coco: JSON file for the results.
        category: Category of the JSON to evaluate; by default the first with annotated keypoints.
        sigmas: OKS sigmas, each for all keypoint types, with one row of figures each; by default
            those of the JSON, else of the model.
        style: Style of keypoint figures; crowdpose adds AP of easy, medium and hard photos.
        max_dets: Best instances per photo that count: by default 20 poses, 500 boxes or masks.
        oracle: Replace one part of the model by the truth, to see what limits it: "grouping"
            groups its detections; "keypoints", "corners" and "foreground" replace its detections
            and keep its tags; "offsets" moves its corners to the true ones; "both" replaces all.
        conf: Leave out instances with a lower score; by default none.
        first: Index of the first photo to use, from 0.
        every: Use every Nth photo from there.
        limit: Largest number of photos to use.
    """
    return 1 if tagwise.evaluate(**locals())["failed"] else 0


def track(
    source: Annotated[str, Positional, arg(metavar="VIDEO")],
    weights: Weights = "people",
    out: Path = Path("tracks"),
    conf: TrackConf = None,
    classes: Classes = (),
    max_instances: int | None = None,
    stride: int = 1,
    show: bool = False,
    fill: int = 0,
    pictures: bool = True,
    device: Device = "auto",
    imgsz: Imgsz = None,
    half: Half = False,
    flip: Flip = False,
    protocol: Protocol = None,
    batch_size: BatchSize = None,
    precision: Precision = "auto",
    runtime: Runtime = "auto",
) -> int:
    """Find the instances in a video and follow each from frame to frame.

    Writes NAME.tracks.mp4, the video with each track in its colour;
    NAME.tracks.txt, rows of the MOT challenge; and NAME.tracks.jsonl, one frame per line. Needs
    tagwise[video].

    $ tagwise track clip.mp4
    $ tagwise track clip.mp4 --weights bees --out found --fill 10

    Args:
        source: A video, a folder of photos that are its frames, 0 for a webcam, or rtsp://.
        out: Folder for the results; it is made if it does not exist.
        max_instances: Keep the best instances of each frame, at most this number, such as 2 flies.
        stride: Use every Nth frame.
        show: Show the frames with their tracks in a window; closing it ends the run.
        fill: Longest gap in a track, in frames, whose rows are filled in.
        pictures: Also write the annotated video.
    """
    run = tagwise.track(**locals(), progress=True)
    print_result(run.finish())
    return run.exit_code


def plot(
    source: Annotated[tuple[str, ...], Positional, arg(metavar="[FIGURE] [FILE]")] = (),
    what: Literal["tags", "instances", "keypoints", "corners", "maps", "tag_maps", "push", "curves"]
    | None = None,
    weights: Weights = "people",
    out: Path | None = None,
    conf: Least = None,
    dark: bool = False,
    device: Device = "auto",
) -> int:
    """Draw a figure that explains a prediction, a model, the loss or a training.

    $ tagwise plot tags photo.jpg             the tags of all people, beside the photo
    $ tagwise plot tags photo.predictions.json      the same, from an earlier prediction
    $ tagwise plot instances photo.jpg        poses, masks, or boxes with their corners joined
    $ tagwise plot keypoints photo.jpg        all keypoints at once, beside the grouped poses
    $ tagwise plot corners smear.jpg --weights blood      all corners, beside the paired boxes
    $ tagwise plot maps photo.jpg             heatmaps on the photo, before grouping
    $ tagwise plot tag_maps photo.jpg         heatmaps, and the tag maps as colour images
    $ tagwise plot push                       the push loss of two mean tags, and its gradient
    $ tagwise plot curves runs/mine/log.jsonl --out curves.svg --dark

    Args:
        source: The name of the figure (tags if it is left out), and its file: a photo, a
            .predictions.json file (tags, instances) or a log.jsonl (curves).
        what: The figure, if it is not the first word.
        out: Picture file (.png, .svg, .pdf, .jpg); by default named after the file.
        conf: Leave out instances with a lower score. By default the model's own, or 0
            for a file.
        dark: Draw figures with axes on a dark background.
    """
    arguments = dict(locals())
    from tagwise.commands.plot import plot, split_words

    print_result(str(plot(**arguments | split_words(source, what))))
    return 0


def models(name: Annotated[str | None, Positional, arg(metavar="[NAME]")] = None) -> int:
    """List the models that --weights can name: shipped, downloaded, available.

    With the name of one model, prints all that is known about it: licence, citation, address.

    $ tagwise models
    $ tagwise models higherhrnet-w32-512

    Args:
        name: Only this model.
    """
    from tagwise.commands.models import format_models

    print_result(format_models(tagwise.list_models(name)))
    return 0


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Positional, arg(metavar="bash|zsh|fish")],
) -> int:
    """Print the script with which a shell completes the verbs and options of tagwise.

    Put it where the shell looks for such scripts, then open a new terminal:

    $ tagwise completion bash > ~/.local/share/bash-completion/completions/tagwise
    $ tagwise completion zsh > ~/.zfunc/_tagwise      a folder of your $fpath
    $ tagwise completion fish > ~/.config/fish/completions/tagwise.fish

    Args:
        shell: The shell that the script is for.
    """
    return tyro.cli(_every_verb(), prog="tagwise", args=["--tyro-print-completion", shell])


VERBS: dict[str, Callable[..., int]] = {
    "predict": predict,
    "init": init,
    "train": train,
    "suggest": suggest,
    "label": label,
    "eval": evaluate,
    "diagnose": diagnose,
    "calibrate": calibrate,
    "tune": tune,
    "plot": plot,
    "track": track,
    "convert": convert,
    "export": export,
    "serve": serve,
    "models": models,
    "new": new,
    "completion": completion,
}
for _verb in VERBS.values():  # tyro keeps the line breaks in the text of an argument
    _verb.__doc__ = re.sub(r"\n {12}(?=\S)", " ", _verb.__doc__ or "")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 success, 1 partial, 2 bad input, 130 interrupted."""
    with streams_guarded(), signals_handled():
        return _main(list(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    debug = "--debug" in argv
    offline = {"TAGWISE_OFFLINE": "1"} if "--offline" in argv else {}
    argv = [argument for argument in argv if argument not in ("--debug", "--offline")]
    try:
        with environment(offline):
            return _run(argv or ["--help"])
    except BaseException as error:
        # A signal during an import can leave a half-imported module, with errors of any type.
        if isinstance(error, KeyboardInterrupt) or stop_requested():
            can_resume = argv[:1] in (["predict"], ["train"])
            hint = "; the same command with --resume continues from here" if can_resume else ""
            print(f"tagwise: interrupted{hint}", file=sys.stderr)
            return 128 + (stop_requested() or signal.SIGINT)
        if isinstance(error, ModuleNotFoundError) and error.name == "torch" and not debug:
            error = without_torch(f"tagwise {argv[0]}")
        if debug or not isinstance(error, UserError):
            raise
        print(f"tagwise: {error}", file=sys.stderr)
        return error.exit_code


def _run(argv: list[str]) -> int:
    if argv == ["--version"]:
        print_result(f"tagwise {tagwise.__version__}")
        return 0
    if argv[0] == "train":
        from tagwise.training.recipe import gather_overrides

        argv = gather_overrides(argv)
    if argv[0] in VERBS:
        return tyro.cli(VERBS[argv[0]], prog=f"tagwise {argv[0]}", args=argv[1:])
    if not argv[0].startswith("-"):
        raise unknown_name("verb", argv[0], VERBS)
    # Help for the program, or an error for a wrong option: tyro prints either and exits.
    return tyro.cli(_every_verb(), prog="tagwise", description=ABOUT, args=argv)


def _every_verb() -> Any:
    """The verbs as one type for tyro: a union of subcommands."""
    verbs = tuple(
        Annotated[Any, tyro.conf.subcommand(name, constructor=verb, description=about)]
        for name, verb in VERBS.items()
        for about in [(verb.__doc__ or "").partition("\n")[0]]
    )
    return Union[verbs]  # noqa: UP007, created at run time
