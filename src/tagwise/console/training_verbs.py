"""The verbs that lead from labels to a trained model, as in `tagwise.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.streams import print_result


def train(
    recipe: Annotated[Path, Positional, arg(metavar="RECIPE")],
    out: Path | None = None,
    resume: bool = False,
    folds: int | None = None,
    overrides: Annotated[tuple[str, ...], arg(name="set")] = (),
) -> int:
    """Train a model from a recipe.

    Any value of the recipe can be given on the command line, by its dotted name:

    $ tagwise train recipes/robots.yaml
    $ tagwise train recipes/robots.yaml --optim.steps 500 --data.root ../data --out runs/short
    $ tagwise train recipes/robots.yaml --resume      continues after a crash
    $ tagwise train mice.yaml --folds 5               five models, for sets under 200 photos

    Open report.html in the folder of the run to follow the training.

    Args:
        recipe: YAML file; recipes/ contains those of the models that come with tagwise.
        out: Folder of the run: models, log, recipe. By default runs/ and the recipe's name.
        resume: Continue from the run's last checkpoint.
        folds: Cross-validation: train this many models, each measured on another part of the
            first training set, and print the mean and the standard deviation of their figures.
        overrides: Values of the recipe, as optim.steps=500; the same as --optim.steps 500.
    """
    folder = tagwise.train(**locals())
    print_result(f"the model is in {folder}" if folds is None else f"the models are in {folder}")
    return 0
