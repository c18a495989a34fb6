"""`tagwise init`: from a lab's labels to a recipe that `tagwise train` takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from tagwise.data.report import Problem, summary
from tagwise.data.training_set import TrainingSet
from tagwise.errors import UserError
from tagwise.files import removed_on_failure, whole_file
from tagwise.labels.complete import PoseFacts
from tagwise.labels.faults import find_faults
from tagwise.labels.prepare import has_map_folders, write_json
from tagwise.plot.sheets import contact_sheet, draw_numbers, draw_sample
from tagwise.skeletons.stated import stated_flip
from tagwise.tasks import create_task
from tagwise.training.first_data import FirstData, Source, prepare_coco, prepare_maps, with_pairs
from tagwise.training.first_recipe import Files, FirstRecipe, first_recipe, relative_to
from tagwise.training.proposal import propose
from tagwise.training.recipe import Recipe
from tagwise.training.start import choose_start

_SHARE = 0.2  # of the images that are held out, unless `val` says otherwise
_SHOWN = 12  # images on a contact sheet
_CELLS, _STRIDE = 2, {"pose": 4, "corners": 4, "pixels": 2}  # shorter instances are tiny


@dataclass(frozen=True)
class InitReport:
    """What `init` understood and wrote.

    recipe: the recipe. folder: the other files. lines: what was understood, for people.
    problems: labels that were left out or look wrong, all of them; also in problems.json.
    """

    recipe: Path
    folder: Path
    lines: list[str]
    problems: list[Problem]

    def __str__(self) -> str:
        listed = summary(self.problems, 5).replace(" in the data", " in the labels")
        if self.problems:
            listed += f"\nall of them are in {self.folder / 'problems.json'}"
        look = f"look at {self.folder / 'labels.jpg'} and {self.folder / 'samples.jpg'}"
        end = [f"wrote {self.recipe}", f"next: {look}, then", f"  tagwise train {self.recipe}"]
        return "\n".join([*self.lines, listed, *end])


def init(
    labels: str | Path,
    *,
    images: str | Path | None = None,
    out: str | Path = Path(),
    name: str = "my_animal",
    task: Literal["pose", "corners", "pixels"] | None = None,
    val: str | float | Path | None = None,
    category: str | None = None,
    start: str | None = None,
    yes: bool = False,
    overwrite: bool = False,
) -> InitReport:
    """Write a recipe for labels of any known format, with settings that follow from them.

    Writes OUT/NAME.yaml, and into OUT/NAME: the split labels (train.json and val.json, or folders
    of label maps), pictures of labels and of augmented samples (labels.jpg, samples.jpg), and
    problems.json. Photos stay where they are; frames of videos are written to OUT/NAME.

    labels: a file or folder that `read_labels` reads, or a folder of label maps.
    images: the folder to search for images and videos; by default that of the labels.
    task: "pose", "corners" (boxes) or "pixels" (masks); by default what the labels have.
    val: the share of the images to hold out, .2 by default, or labels to validate on.
    category: the category to learn, if several have keypoints; by default the most frequent one.
    start: "imagenet", "none", a shipped model or a model file; by default the nearest shipped one.
    yes: ask nothing. Questions are asked only on a terminal.
    overwrite: replace the files of an earlier run.
    Raises UserError for labels that cannot be used, and if the recipe exists.

    >>> print(init("labels.slp", yes=True))  # doctest: +SKIP
    """
    labels, folder = Path(labels), Path(out) / name
    recipe = folder.with_name(f"{name}.yaml")
    _check_new([recipe, folder], overwrite)
    given = Path(images) if images is not None else None
    source = Source(labels, given, *_validation(val), category, task)
    with removed_on_failure(folder):
        if task in (None, "pixels") and has_map_folders(labels):
            data = prepare_maps(source, folder)
        else:
            data = prepare_coco(source, folder, _ask_pairs if _may_ask(yes) else _accept)
        written = _recipe(data, labels, recipe, folder, start)
        _draw(data, written.recipe, folder)
        problems = [*data.problems, *find_faults(data.every, _least_side(data, written.recipe))]
        write_json([vars(problem) for problem in problems], folder / "problems.json", indent=1)
        with whole_file(recipe) as file:
            file.write(written.text.encode())
    return InitReport(recipe, folder, [*data.lines, *_settings(written)], problems)


def _check_new(paths: list[Path], overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; add --overwrite to replace it, or give another --name")


def _validation(val: str | float | Path | None) -> tuple[Path | None, float]:
    """The labels to validate on, or None and the share of the images to hold out."""
    if val is None:
        return None, _SHARE
    try:
        share = float(val)
    except (TypeError, ValueError):
        return Path(val), _SHARE
    if not 0 < share < 1:
        raise UserError(f"val is {val}; give a share above 0 and below 1, or labels")
    return None, share


# ---------------------------------------------------------------------- questions


def _may_ask(yes: bool) -> bool:
    """Whether there is somebody to answer."""
    return not yes and all(
        stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)
    )


def _accept(facts: PoseFacts) -> PoseFacts:
    return facts


def _ask_pairs(facts: PoseFacts) -> PoseFacts:
    """Show the pairs of sides, and let the user correct them."""
    for line in facts.lines():
        print(line, file=sys.stderr)
    question = "Are left and right correct? Enter for yes, or pairs as a=b, c=d, or none: "
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if answer.lower() in ("", "y", "yes"):
            return facts
        try:
            return with_pairs(facts, parse_pairs(answer, facts.names))
        except UserError as error:
            print(error, file=sys.stderr)


def parse_pairs(answer: str, names: tuple[str, ...]) -> list[tuple[int, int]]:
    """The pairs of keypoint types, by name or number, in an answer such as "left=right, 3=4".

    Raises UserError for unknown names.

    >>> parse_pairs("ear A = ear B", ("nose", "ear A", "ear B"))
    [(1, 2)]
    """
    if answer.lower() in ("none", "n", "no"):
        return []
    pairs = [[side.strip() for side in each.split("=")] for each in answer.split(",")]
    flip = stated_flip(names, pairs, "the answer")
    return [(a, b) for a, b in enumerate(flip) if a < b]


# ---------------------------------------------------------------------- files


def _recipe(
    data: FirstData, labels: Path, recipe: Path, folder: Path, start: str | None
) -> FirstRecipe:
    """Propose the settings, and complete them for this machine."""
    choices = propose(
        data.task, data.found, choose_start(data.task, data.names, start), len(data.train)
    )
    options = {}
    if data.pose is not None:
        pairs = "types that a mirrored photo swaps"
        choices.set("data.flip_pairs", data.pose.pair_names(), pairs)
        if data.pose.unpaired:
            choices.set("data.augment.flip", 0.0, "there are sides without a pair")
        if data.pose.sigmas is not None:
            sigmas = data.pose.sigmas
            choices.set("sigmas", list(sigmas) if isinstance(sigmas, tuple) else sigmas)
            choices.reasons["sigmas"] = f"OKS constants, for AP: {data.pose.sigmas_from}"
            options["sigmas"] = sigmas
        options["flip_pairs"] = data.pose.pair_names()
    count = f"{len(data.train)} images of {labels.name}"
    choices.set("info.data", count, "kept in the model file")
    root = folder.parent.absolute()
    named = {
        part: {"annotations": relative_to(annotations, root), "images": relative_to(images, root)}
        for part, (annotations, images) in data.files.items()
    }
    head = [f"Written by `tagwise init` from {labels}.", f"  tagwise train {recipe}", *data.lines]
    files = Files(str(root), named["train"], named.get("val"))
    options_of_task = {**data.train.labels_of_task(), **choices.tree["task_options"]}
    task = create_task(data.task, **options_of_task)
    return first_recipe(choices, files, data.train, task, data.val_images, head)


def _least_side(data: FirstData, recipe: Recipe) -> float:
    """The side in pixels of the images below which an instance is tiny for the network."""
    cell = _STRIDE[data.task]
    if data.task == "pixels":
        return _CELLS * cell / recipe.task_options["zoom"]
    width, height = recipe.data.val_size
    size = np.median(data.found.sizes, axis=0)
    return _CELLS * cell / float(min(width / size[0], height / size[1]))


def _settings(written: FirstRecipe) -> list[str]:
    """The main settings of a recipe, in a line each."""
    recipe = written.recipe
    width, height = recipe.data.val_size
    begins = recipe.model.pretrained or "random values"
    return [
        f"network: {recipe.model.name}, from {begins}; images of {width} × {height} pixels",
        f"training: {recipe.optim.steps} steps, {written.time}",
    ]


def _draw(data: FirstData, recipe: Recipe, folder: Path) -> None:
    """Draw the sheet of labels and the sheet of augmented samples."""
    _save(contact_sheet(list(_labelled(data))), folder / "labels.jpg")
    samples = TrainingSet([data.train], None, recipe.data.augment, recipe.data.input_size)
    skeleton = getattr(data.train, "skeleton", None)
    drawn = [draw_sample(samples[number], skeleton) for number in range(_SHOWN)]
    _save(contact_sheet(drawn), folder / "samples.jpg")


def _labelled(data: FirstData) -> Iterator[np.ndarray]:
    """Labelled images from the whole set; of poses, first an instance with its types numbered."""
    skeleton = getattr(data.train, "skeleton", None)  # with edges, if they were proposed
    indices = np.linspace(0, len(data.every) - 1, min(_SHOWN, len(data.every))).astype(int)
    samples = [data.every.load(int(index)) for index in indices]
    if skeleton is not None:
        fullest = max(
            samples, key=lambda each: int((each.keypoints[..., 2] > 0).sum(1).max(initial=0))
        )
        numbered = draw_numbers(fullest, skeleton)
        if numbered is not None:
            yield numbered
            samples = samples[: _SHOWN - 1]
    yield from (draw_sample(sample, skeleton) for sample in samples)


def _save(image: np.ndarray, path: Path) -> None:
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    with whole_file(path) as file:
        file.write(encoded.tobytes())
