"""The verbs that begin with a lab's labels, as in `tagwise.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import tagwise
from tagwise.console.streams import print_result


def init(
    labels: Annotated[Path, Positional, arg(metavar="LABELS")],
    images: Path | None = None,
    out: Path = Path(),
    name: str = "my_animal",
    task: Literal["pose", "corners", "pixels"] | None = None,
    val: str | None = None,
    category: str | None = None,
    start: str | None = None,
    yes: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a recipe for your own labels, and check them.

    Reads SLEAP, DeepLabCut, Label Studio, YOLO, CVAT, labelme, Pascal VOC and COCO files and
    folders of label maps. Splits the images, chooses settings for them, draws the labels and the
    samples that training will see, and lists labels that look wrong. `tagwise train` takes the
    recipe as it is.

    $ tagwise init labels.slp                       writes my_animal.yaml
    $ tagwise init labels.json --images photos --name mouse
    $ tagwise init masks --images photos            a folder of label maps

    Args:
        labels: File or folder of labels.
        images: Folder of the images and videos; by default they are searched near the labels.
        out: Folder for the recipe.
        name: Name of the recipe, and of the folder of the other files.
        task: Poses, boxes (corners) or masks (pixels); by default what the labels have.
        val: Share of the images to hold out for validation, by default 0.2; or labels.
        category: Category to learn, if several have keypoints; by default the most frequent.
        start: Initial weights: imagenet, none, a model that comes with tagwise, or a model file;
            by default the nearest model that comes with tagwise.
        yes: Ask nothing.
        overwrite: Replace the files of an earlier run.
    """
    print_result(str(tagwise.init(**locals())))
    return 0
