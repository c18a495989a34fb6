"""`tagwise train`: from a recipe to a folder with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagwise.console.streams import print_note, print_result
from tagwise.errors import UserError
from tagwise.files import make_folder
from tagwise.runtime import keep_freed_memory
from tagwise.training.cross_validation import cross_validate, format_summary
from tagwise.training.loop import run_training
from tagwise.training.recipe import Recipe, load_recipe
from tagwise.training.shipped_recipes import copy_shipped_recipe, existing_recipe


def train(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    folds: int | None = None,
    copy: bool = False,
    overrides: Sequence[str] = (),
) -> Path:
    """Train the model that a recipe describes, and return the folder of the run.

    The folder holds recipe.yaml (with every default spelled out), log.jsonl, last.pt (all that
    resuming needs), best.safetensors (the best at validation) and last.safetensors. Both models
    have the averaged weights. With a validation set there are also report.html, which shows the
    run, and examples.jsonl, the results in its pictures.

    recipe: a YAML file or a Recipe.
    out: folder of the run; by default runs/ and the recipe's name.
    resume: continue from last.pt if the folder has one.
    folds: cross-validation: train this many models, in fold-1, fold-2, ... of the folder, each
        measured on another part of the first training set; summary.json has the figures.
    copy: write the recipe of this name that comes with tagwise, such as robots.yaml, into the
        current folder instead of training, and return its path.
    overrides: single values that replace those of the YAML file, such as "optim.steps=100".
    Raises UserError for bad recipes, missing data, and a loss that is not finite.

    >>> folder = train("recipes/robots.yaml", overrides=["optim.steps=500"])  # doctest: +SKIP
    >>> predictor = Predictor(folder / "best.safetensors")  # doctest: +SKIP
    """
    if copy:
        if out is not None or resume or folds is not None or overrides:
            raise UserError("copy goes with the name of a recipe alone; train with the copy then")
        return copy_shipped_recipe(recipe)
    name = "training"
    if not isinstance(recipe, Recipe):
        path, recipe = recipe, load_recipe(existing_recipe(recipe), overrides)
        name = Path(path).stem
        for note in recipe.notes():
            print_note(f"{path}: {note}")
    elif overrides:
        raise UserError("overrides change the values of a recipe file; change the Recipe instead")
    folder = Path(out) if out is not None else Path("runs") / name
    if folds is None and (folder / "last.pt").exists() and not resume:
        raise UserError(f"{folder} holds a run already; add --resume, or name another --out")
    make_folder(folder)
    keep_freed_memory()
    if folds is None:
        run_training(recipe, folder, resume)
    else:
        print_result(format_summary(cross_validate(recipe, folder, folds, resume)))
    return folder
