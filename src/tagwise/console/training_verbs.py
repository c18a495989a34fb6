"""The verbs that lead from labels to a trained model, as in `tagwise.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.arguments import Device, Flip, Least, Weights
from tagwise.console.streams import print_result


def train(
    recipe: Annotated[Path, Positional, arg(metavar="RECIPE")],
    out: Path | None = None,
    resume: bool = False,
    folds: int | None = None,
    copy: bool = False,
    overrides: Annotated[tuple[str, ...], arg(name="set")] = (),
) -> int:
    """Train a model from a recipe, or copy a recipe that comes with tagwise.

    Any value of the recipe can be given on the command line, by its dotted name:

    $ tagwise train recipes/robots.yaml
    $ tagwise train recipes/robots.yaml --optim.steps 500 --data.root ../data --out runs/short
    $ tagwise train recipes/robots.yaml --resume      continues after a crash
    $ tagwise train mice.yaml --folds 5               five models, for sets under 200 photos
    $ tagwise train robots.yaml --copy                a recipe of tagwise's, to edit

    Open report.html in the folder of the run to follow the training.

    Args:
        recipe: YAML file. With --copy, the name of a recipe that comes with tagwise.
        out: Folder of the run: models, log, recipe. By default runs/ and the recipe's name.
        resume: Continue from the run's last checkpoint.
        folds: Cross-validation: train this many models, each measured on another part of the
            first training set, and print the mean and the standard deviation of their figures.
        copy: Write the recipe of this name that comes with tagwise to this folder, and stop. Edit
            the copy, then train with it.
        overrides: Values of the recipe, as optim.steps=500; the same as --optim.steps 500.
    """
    folder = tagwise.train(**locals())
    if copy:
        print_result(f"{folder} is yours to edit; then run tagwise train {folder}")
        return 0
    print_result(f"the model is in {folder}" if folds is None else f"the models are in {folder}")
    return 0


def suggest(
    photos: Annotated[tuple[str, ...], Positional, arg(metavar="SOURCE")],
    weights: Weights,
    out: Path = Path("suggestions"),
    count: int = 20,
    labelled: Path | None = None,
    to: Literal["coco", "sleap", "deeplabcut", "yolo", "labelstudio", "csv", "parquet"] = "coco",
    conf: Least = None,
    mirror: bool = True,
    device: Device = "auto",
) -> int:
    """Choose the photos to label next: those about which a model is most unsure.

    A photo ranks high if its scores suggest many errors, if tags lie between two instances, or if
    its mirror image gives another result. Of similar photos and neighbouring frames only one is
    chosen. Writes the list, a contact sheet, and the predictions as labels to correct.

    $ tagwise suggest photos --weights runs/mice/best.safetensors
    $ tagwise suggest clip.mp4 --weights runs/mice/best.safetensors --count 50 --labelled train.json
    $ tagwise suggest photos --weights runs/mice/best.safetensors --to sleap

    Args:
        photos: Photos, videos, folders and their subfolders, or patterns: "photos/**/*.jpg".
        out: Folder for suggestions.csv, suggestions.json, sheet.jpg and the labels.
        count: The most photos to choose.
        labelled: Labels of any format; their photos are left out.
        to: Format of the predictions.
        conf: Score from which an instance counts as found. By default the model's own.
        mirror: Also run each mirrored photo, which takes twice the time.
    """
    rows = tagwise.suggest(**locals())
    print_result(f"{len(rows)} photos to label next are in {out}; the first is {rows[0]['file']}")
    return 0


def label(
    photos: Annotated[tuple[str, ...], Positional, arg(metavar="SOURCE")],
    weights: Weights,
    out: Path = Path("pseudo.json"),
    confident: float = 0.5,
    least: float = 0.1,
    flip: Flip = True,
    device: Device = "auto",
) -> int:
    """Label photos with a trained model, to train again with more photos.

    Writes COCO JSON for data.train of a recipe. Confident instances become labels; where the model
    is unsure, the photo is ignored, so that a missed instance does not count as background.

    $ tagwise label photos --weights runs/mice/best.safetensors
    $ tagwise label photos --weights people --out pseudo.json --confident 0.6

    Args:
        photos: Photos, folders and their subfolders, or patterns: "photos/**/*.jpg".
        out: COCO JSON to write.
        confident: Score from which an instance becomes a label.
        least: Score from which an instance that is not confident becomes an ignored region.
    """
    found = tagwise.label(**locals())
    print_result(
        f"{found.labels} instances and {found.ignored} ignored regions in {found.kept} of "
        f"{found.seen} photos; for data.train of a recipe:\n"
        f"- {{annotations: {found.annotations.absolute()}, images: {found.images}, weight: 0.3}}"
    )
    return 0
