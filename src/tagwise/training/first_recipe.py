"""The first recipe for a data set: the proposed settings, with a measured time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.runtime import fastest_precision, find_device
from tagwise.tasks import Task
from tagwise.training.commented import commented_recipe
from tagwise.training.progress import format_time
from tagwise.training.proposal import Choices
from tagwise.training.recipe import Recipe
from tagwise.training.timing import plan_steps, seconds_per_step

_BEST = {"pose": "AP", "corners": "AP", "pixels": "F1@.5"}
_VALIDATIONS = 5  # of a run
_ORDER = ("task", "task_options", "sigmas", "model", "data", "optim", "run", "info")


@dataclass(frozen=True)
class Files:
    """The data files of a recipe, as it names them; val is None if nothing is held out."""

    root: str
    train: dict[str, str]
    val: dict[str, str] | None


@dataclass(frozen=True)
class FirstRecipe:
    """A recipe as text and as an object, and the expected time of its training, in words."""

    text: str
    recipe: Recipe
    time: str


def first_recipe(
    choices: Choices, files: Files, dataset: Photos, task: Task, val_images: int, head: list[str]
) -> FirstRecipe:
    """Complete the proposed settings for this machine, and write them as text.

    dataset: the training set, and task: its task, for a few steps whose time is measured.
    val_images: images to validate on. head: comments at the beginning of the text.
    """
    _add_files(choices, files)
    device = find_device("auto")
    device = "cuda" if device.type == "cuda" else "cpu"
    choices.set("run.precision", _precision(device), f"fastest on this machine ({device})")
    choices.set("run.validate_every", 0)
    choices.set("run.best", _BEST[task.name])
    trial = Recipe.from_dict(choices.tree, "the proposed recipe")
    usual = trial.optim.steps
    try:
        seconds = seconds_per_step(trial, dataset, task)
    except UserError as error:
        steps, time = usual, f"the time was not measured: {error}"
    else:
        steps, reason = plan_steps(usual, seconds)
        checks = _VALIDATIONS * val_images * _seconds_per_image(trial, seconds)
        time = f"about {format_time(steps * seconds + checks)} on this machine ({device}; {reason})"
        choices.set("optim.steps", steps, time)
    choices.tree = {name: choices.tree[name] for name in _ORDER if name in choices.tree}
    every = max(1, round(steps / _VALIDATIONS / 50) * 50 or steps // _VALIDATIONS)
    choices.set("run.validate_every", every, "steps; the best of these models is kept")
    text = commented_recipe(choices.tree, choices.reasons, head)
    optim, run = replace(trial.optim, steps=steps), replace(trial.run, validate_every=every)
    return FirstRecipe(text, replace(trial, optim=optim, run=run), time)


def _add_files(choices: Choices, files: Files) -> None:
    """Put the data files at the beginning of the section `data`."""
    rest = choices.tree.get("data", {})
    data: dict[str, Any] = {"root": files.root, "train": [files.train]}
    if files.val is not None:
        data["val"] = files.val
    choices.tree["data"] = {**data, **rest}
    choices.reasons.setdefault("data.root", "file names below are relative to this folder")


def _precision(device: str) -> str:
    """bf16 or fp32, which recipes allow; GPUs that emulate bf16 are slow in it."""
    return "bf16" if fastest_precision(device) == "bf16" else "fp32"


def _seconds_per_image(recipe: Recipe, seconds: float) -> float:
    """An estimate of the time to validate on one image: a third of a step, per pixel."""
    width, height = recipe.data.input_size
    across, down = recipe.data.val_size or recipe.data.input_size
    return seconds / (3 * recipe.optim.batch) * (across * down) / (width * height)


def relative_to(path: Path, root: Path) -> str:
    """The name of a path in a recipe: relative to its root if it is inside, otherwise absolute."""
    path, root = path.absolute(), root.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
