"""`tagwise plot`: a picture that explains a prediction."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.files import read_json, refuse_address
from tagwise.plot import plot_push, plot_tags
from tagwise.prediction.options import check_threshold
from tagwise.prediction.outputs import write_picture
from tagwise.prediction.predictor import Predictor
from tagwise.results import Result
from tagwise.tasks import read_result


def plot(
    source: str | Path | None = None,
    what: Literal["tags", "instances", "maps", "push"] = "tags",
    *,
    weights: str | Path = "people",
    out: str | Path | None = None,
    threshold: float | None = None,
    device: str = "auto",
) -> Path:
    """Write a picture that explains a prediction, and return its path.

    source: a `.predictions.json` file, or a photo to predict from; not needed for "push".
    what: "tags" (see `plot_tags`), "instances" on the photo (poses, masks, or boxes with their
        corners joined and coloured by tag), "maps" (the network's maps before grouping; needs a
        photo), or "push" (`plot_push`).
    weights, device: the model for a photo.
    threshold: instances with a lower score are left out. By default the model's own, see
        `Predictor`; for a file, all of its instances are drawn.
    out: picture file; by default `STEM.WHAT.png` in the working folder.
    Raises UserError.
    """
    if what == "push":
        return write_picture(plot_push(), out or "push.png")
    if source is None:
        raise UserError(f"a plot of {what} needs a photo or a .predictions.json file")
    refuse_address(source)
    path = Path(source)
    out = out or f"{path.name.split('.')[0]}.{what}.png"
    if path.suffix.lower() == ".json":
        if what == "maps":
            raise UserError(f"{path} contains no maps; give the photo")
        found = read_result(read_json(path), path)
        if what == "instances" and not _can_be_drawn(found):
            raise UserError(f"{path} has no size, and its photo does not exist; give the photo")
        found = found if threshold is None else found.above(check_threshold(threshold))
    else:
        predictor = Predictor(weights, device=device, threshold=threshold)
        if what == "maps":
            return write_picture(_maps(predictor, path), out)
        found = predictor(path)
    return write_picture(plot_tags(found) if what == "tags" else found.explained(), out)


def _can_be_drawn(result: Result) -> bool:
    """Whether the image of a result exists, or its size is known."""
    return bool(result.width and result.height) or os.path.exists(result.file or "")


def _maps(predictor: Predictor, path: Path) -> Any:
    """Draw the maps of the network for a photo, as the model's task defines."""
    image = read_image(path)
    outputs, affine = predictor.maps(image)
    to_image = affine.inverse() @ Affine.scaling(predictor.stride)
    return predictor.task.draw_maps(image, outputs, to_image, path.name)
