"""The verb `new` of the command line; the others are in `cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.streams import print_result


def new(
    what: Annotated[Literal["ingredient"], Positional, arg(metavar="ingredient")],
    name: Annotated[str, Positional, arg(metavar="NAME")],
    out: Path = Path(),
    overwrite: bool = False,
) -> int:
    """Write a small, complete program as a starting point for a grouping problem of your own.

    The folder NAME gets a data set, a network, the loss and the grouping, figures, a picture and
    tests. It runs as it is: a synthetic problem that is learned in half a minute. Its README.md
    lists the five places to change.

    $ tagwise new ingredient my_task
    $ python -m my_task.train            shows the score before and after
    $ python -m pytest my_task

    Args:
        what: The template; "ingredient" groups points by tags, with plain PyTorch.
        name: Name of the new package and its folder: letters, digits and _.
        out: Folder that gets the package.
        overwrite: Replace the files of an earlier call; other files in the folder stay.
    """
    print_result(str(tagwise.new(**locals())))
    return 0
