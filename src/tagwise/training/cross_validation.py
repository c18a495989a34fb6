"""Cross-validation: one model per part of a set that is held out, and a summary of the figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.console.streams import print_note
from tagwise.errors import UserError
from tagwise.files import make_folder, trim_lines, whole_file
from tagwise.training.loop import run_training
from tagwise.training.recipe import Recipe, load_recipe


def cross_validate(
    recipe: Recipe, folder: Path, folds: int, resume: bool = False
) -> dict[str, Any]:
    """Train one model per fold of the first training set, and measure it on that fold.

    folder: gets a folder fold-1, fold-2, ... per model, and summary.json.
    folds: their number K, at least 2. The other training sets are in every fold; the validation set
        of the recipe is not used.
    resume: keep the folds that are finished, and continue the one that is not.

    Returns the content of summary.json: "folds" (for each its folder, the step of its best model,
    and that model's figures), "mean" and "standard_deviation" of each figure over the folds.
    Raises UserError for invalid values, and for `resume` with folds of another recipe.
    """
    if folds < 2:
        raise UserError(f"folds is {folds}; use at least 2")
    if recipe.data.fold is not None:
        raise UserError(
            "the recipe holds out one fold already; remove data.fold, or leave out folds"
        )
    runs = [
        (replace(recipe, data=replace(recipe.data, fold=(k, folds))), folder / f"fold-{k}")
        for k in range(1, folds + 1)
    ]
    for each, place in runs:
        _check_same(each, place, resume)
    if recipe.data.val is not None:
        print_note(
            f"cross-validation holds out parts of {recipe.data.train[0].annotations}; "
            f"{recipe.data.val.annotations} is not used"
        )
    rows = []
    for number, (each, place) in enumerate(runs, 1):
        if resume and _is_finished(place):
            print_note(f"fold {number} of {folds} is finished already")
        else:
            print_note(f"fold {number} of {folds}")
            run_training(each, make_folder(place), resume)
        rows.append(_best(place, recipe.run.best))
    summary = {"folds": rows, **summarise([row["figures"] for row in rows])}
    with whole_file(folder / "summary.json") as file:
        file.write(json.dumps(summary, indent=1).encode())
    return summary


def summarise(figures: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """The mean and the standard deviation (with n - 1) of each figure that all folds have.

    A figure is left out where it is negative in a fold, because nothing of its kind is labelled.
    """
    shared = [name for name in figures[0] if all(each.get(name, -1) >= 0 for each in figures)]
    values = {name: [each[name] for each in figures] for name in shared}
    return {
        "mean": {name: float(np.mean(each)) for name, each in values.items()},
        "standard_deviation": {name: float(np.std(each, ddof=1)) for name, each in values.items()},
    }


def format_summary(summary: dict[str, Any], most: int = 6) -> str:
    """Format the figures of all folds as a table, in percent; most: the columns."""
    names = [name for name in summary["mean"] if "/" not in name][:most]
    width = max(7, *(len(name) + 2 for name in names)) if names else 7
    rows = [("fold", names)]
    rows += [
        (str(number), [f"{100 * row['figures'][name]:.1f}" for name in names])
        for number, row in enumerate(summary["folds"], 1)
    ]
    for label, key in (("mean", "mean"), ("± s.d.", "standard_deviation")):
        rows.append((label, [f"{100 * summary[key][name]:.1f}" for name in names]))
    return "\n".join(f"{label:<8}" + "".join(f"{v:>{width}}" for v in row) for label, row in rows)


def _check_same(recipe: Recipe, place: Path, resume: bool) -> None:
    """Raise UserError if a folder has a run and the recipe may not continue it."""
    if not (place / "recipe.yaml").exists():
        return
    if not resume and (place / "last.pt").exists():
        raise UserError(f"{place} holds a run already; add --resume, or name another --out")
    if resume and load_recipe(place / "recipe.yaml") != recipe:
        raise UserError(
            f"{place} was trained with other values; use the same recipe and number of folds, or "
            "name another --out"
        )


def _is_finished(place: Path) -> bool:
    """Whether the run of a fold has ended; its last model is written at the very end."""
    return (place / "last.safetensors").exists()


def _best(place: Path, name: str) -> dict[str, Any]:
    """The best validation of a fold: its folder, step and figures."""
    column = f"val_{name}"
    rows = [row for row in trim_lines(place / "log.jsonl")[0] if column in row]
    if not rows:
        raise UserError(f"{place / 'log.jsonl'} has no validation; remove {place} and --resume")
    best = max(rows, key=lambda row: row[column])  # the first of equal ones, as in training
    figures = {n.removeprefix("val_"): v for n, v in best.items() if n.startswith("val_")}
    return {"folder": place.name, "step": best["step"], "figures": figures}
