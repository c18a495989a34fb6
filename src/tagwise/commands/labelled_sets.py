"""Labelled sets for the verbs that measure a model, and the files that these write."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tagwise.data.photos import Photos
from tagwise.data.report import summary
from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.prediction.predictor import Predictor
from tagwise.training.data import open_validation
from tagwise.training.recipe import load_recipe


def open_labelled(
    predictor: Predictor,
    annotations: str | Path,
    images: str | Path,
    category: str | None,
    quiet: bool,
) -> Photos:
    """Open the labelled set with the model's types. Raises UserError if nothing is labelled."""
    given = {} if category is None else {"category": category}
    task = predictor.task
    dataset = task.open_dataset(
        Path(annotations), Path(images), like=task, keep_missing=True, **given
    )
    if dataset.report and not quiet:
        print(summary(dataset.report), file=sys.stderr)
    dataset.require_instances()
    return dataset


def open_validation_set(predictor: Predictor, weights: Path, quiet: bool) -> Photos:
    """Open the validation set of the run that trained a model, from the recipe beside the weights.

    Raises UserError if there is no such recipe, it has no validation set, or its files are missing.
    """
    path = weights.parent / "recipe.yaml"
    instead = "give --annotations and --images of a labelled set"
    if not path.is_file():
        raise UserError(f"{weights} has no recipe.yaml beside it that names a set; {instead}")
    recipe = load_recipe(path).complete()
    if recipe.data.val is None and recipe.data.fold is None:
        raise UserError(f"the recipe {path} has no validation set; {instead}")
    if recipe.task != predictor.task.name:
        raise UserError(f"the recipe {path} is not that of {weights}; {instead}")
    try:
        dataset = open_validation(recipe, predictor.task)
    except UserError as error:
        raise UserError(f"the validation set of {path}: {error}; or {instead}") from None
    if dataset.report and not quiet:
        print(summary(dataset.report), file=sys.stderr)
    dataset.require_instances()
    return dataset


def chosen_images(count: int, first: int, every: int, limit: int | None) -> range:
    """Return the indices first, first + every, and so on, at most `limit` of them."""
    if first < 0 or every < 1 or (limit is not None and limit < 1):
        raise UserError(
            f"first {first}, every {every}, limit {limit} choose no images; use 0, 1, 1 or more"
        )
    chosen = range(count)[first::every][:limit]
    if not chosen:
        raise UserError(f"no image is left: the set has {count}, first is {first}")
    return chosen


def write_json(path: str | Path | None, content: Any, indent: int | None = None) -> None:
    """Write a value as JSON to a file; None: to none. Raises UserError."""
    if path is None:
        return
    text = json.dumps(content, indent=indent)  # ASCII, which names of any characters survive
    with whole_file(Path(path)) as file:
        file.write(text.encode())


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("tagwise", "hotcoco", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
