"""`tagwise plot`: one picture that explains a prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.files import read_json
from tagwise.plot import draw_heatmaps, plot_corner_maps, plot_push, plot_tags
from tagwise.prediction.outputs import write_picture
from tagwise.prediction.predictor import Predictor
from tagwise.results import Boxes, Result, result_from_dict


def plot(
    source: str | Path | None = None,
    what: Literal["tags", "instances", "maps", "push"] = "tags",
    *,
    weights: str | Path = "people",
    out: str | Path | None = None,
    threshold: float = 0.25,
    device: str = "auto",
) -> Path:
    """Write one picture that explains a prediction, and return its path.

    source: a `.predictions.json` file, or a photo to predict from; not needed for "push".
    what: "tags" (see `plot_tags`), "instances" on the photo (poses, or boxes with their corners
        joined and coloured by tag), "maps" (what the network sees before grouping; needs a
        photo), or "push" (`plot_push`).
    weights, device: the model for a photo. threshold: instances with a lower score are left out.
    out: picture file; by default `STEM.WHAT.png` in the working folder.
    Raises UserError.
    """
    if what == "push":
        return write_picture(plot_push(), out or "push.png")
    if source is None:
        raise UserError(f"a plot of {what} needs a photo or a .predictions.json file")
    path = Path(source)
    out = out or f"{path.name.split('.')[0]}.{what}.png"
    if path.suffix.lower() == ".json":
        if what == "maps":
            raise UserError(f"{path} holds no maps; give the photo")
        found = result_from_dict(read_json(path)).above(threshold)
    else:
        predictor = Predictor(weights, device=device, threshold=threshold)
        if what == "maps":
            return write_picture(_maps(predictor, path), out)
        found = predictor(path)
    return write_picture(plot_tags(found) if what == "tags" else _instances(found), out)


def _instances(found: Result) -> Any:
    if isinstance(found, Boxes):
        return found.plot(colours="tag", corners=True, labels=False)
    return found.plot()


def _maps(predictor: Any, path: Path) -> Any:
    """The maps of a photo as a picture, by the kind of the model."""
    image = read_image(path)
    outputs, affine = predictor.maps(image)
    to_image = affine.inverse() @ Affine.scaling(predictor.stride)
    if predictor.task.name == "corners":
        maps = {name: tensor[0].cpu() for name, tensor in outputs.items()}
        maps |= {name: maps[name].sigmoid() for name in predictor.task.heatmaps}
        maps = {name: tensor.numpy() for name, tensor in maps.items()}
        return plot_corner_maps(image, maps, to_image, path.name)
    values = predictor.task.heatmap_values(outputs["heatmaps"])[0].cpu().numpy()
    return draw_heatmaps(image, values, to_image.matrix)
