"""`tagwise plot`: the figures that explain a prediction, a model, the loss or a training."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

import numpy as np

from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.files import read_json, read_text, refuse_address
from tagwise.grouping.maps import as_array
from tagwise.plot import (
    MOST_NUMBERS,
    draw_label,
    instance_colour,
    plot_curves,
    plot_grouping,
    plot_push,
    plot_tag_maps,
    plot_tags,
    theme,
)
from tagwise.prediction.options import OlderNames, check_threshold, with_older_names
from tagwise.prediction.predictor import Predictor
from tagwise.results import Result
from tagwise.results.pictures import write_picture
from tagwise.serving.views import view_of
from tagwise.tasks import read_result

Figure = Literal["tags", "instances", "keypoints", "corners", "maps", "tag_maps", "push", "curves"]
FIGURES: tuple[str, ...] = get_args(Figure)

_OF_PHOTOS = ("keypoints", "corners", "maps", "tag_maps")  # a .predictions.json is not enough
_TASKS = {"keypoints": "pose", "corners": "corners"}
_WORDS = {"keypoints": "keypoints at once", "corners": "corners at once"}
_MOST_ROWS = 3  # keypoint types in a figure of tag maps


def plot(
    source: str | Path | None = None,
    what: Figure = "tags",
    *,
    weights: str | Path = "people",
    out: str | Path | None = None,
    conf: float | None = None,
    dark: bool = False,
    device: str = "auto",
    **older: Unpack[OlderNames],
) -> Path:
    """Write a figure that explains a prediction, a model, the loss or a training; return its path.

    source: a photo to predict from; for "tags" and "instances" also a `.predictions.json` file.
        For "curves", the `log.jsonl` of a training run, or its folder. Not needed for "push".
    what: "tags" (see `plot_tags`, beside the photo if it exists), "instances" on the photo (poses,
        masks, or boxes with their corners joined and coloured by tag), "keypoints" or "corners"
        (all of them, beside the instances that grouping makes of them), "maps" (the network's maps
        on the photo, before grouping), "tag_maps" (`plot_tag_maps`), "push" (`plot_push`), or
        "curves" (`plot_curves`).
    weights, device: the model for a photo.
    conf: instances with a lower score are left out. By default the model's own, see
        `Predictor`; for a file, all of its instances are drawn.
    dark: draw figures with axes on a dark background.
    out: picture file (.png, .svg, .pdf, .jpg); by default `STEM.WHAT.png` in the working folder.
    Raises UserError.
    """
    named = with_older_names({**locals()}, older)
    if what not in FIGURES:
        raise unknown_name("figure", str(what), FIGURES)
    with theme(dark):
        if what == "push":
            return write_picture(plot_push(), out or "push.png")
        if source is None:
            needed = "the log.jsonl of a training" if what == "curves" else "a photo"
            raise UserError(f"a plot of {what.replace('_', ' ')} needs {needed}; name the file")
        refuse_address(source)
        path = Path(source)
        if what == "curves" and path.is_dir():
            path = path / "log.jsonl"
        if out is None:
            stem = path.resolve().parent.name if what == "curves" else path.name.split(".")[0]
            out = f"{stem}.{what}.png"
        if what == "curves":
            return write_picture(plot_curves(_rows(path), path.parent.name or None), out)
        if path.suffix.lower() == ".json":
            return write_picture(_of_file(path, what, named["conf"]), out)
        predictor = Predictor(weights, device=device, conf=named["conf"])
        return write_picture(_of_photo(predictor, path, what), out)


def split_words(words: Sequence[str], what: str | None) -> dict[str, str | None]:
    """Return the arguments `source` and `what` that the words of a command line name.

    words: the name of a figure, its file, or both in this order. what: a figure that is named
    apart. Raises UserError for other words.
    """
    rest = list(words)
    if what is None:
        what = rest.pop(0) if rest and rest[0] in FIGURES else "tags"
    if len(rest) > 1:
        if rest[0] not in FIGURES and not os.path.exists(rest[0]):
            raise unknown_name("figure", rest[0], FIGURES)
        raise UserError(f"one figure shows one file, and there are {len(rest)}; name one")
    return {"source": rest[0] if rest else None, "what": what}


# ---------------------------------------------------------------------- what is drawn


def _of_file(path: Path, what: str, threshold: float | None) -> Any:
    """Draw a figure of an earlier prediction."""
    if what in _OF_PHOTOS:
        raise UserError(f"{path} contains no {what.replace('_', ' ')} to plot; give the photo")
    found = read_result(read_json(path), path)
    photo = bool(found.file) and os.path.exists(found.file or "")
    if what == "instances" and not (photo or (found.width and found.height)):
        raise UserError(f"{path} has no size, and its photo does not exist; give the photo")
    found = found if threshold is None else found.above(check_threshold(threshold))
    if what == "instances":
        return found.explained()
    return plot_tags(found, photo=_numbered(found) if photo else None)


def _of_photo(predictor: Predictor, path: Path, what: str) -> Any:
    """Draw a figure of a photo and of what the model finds in it."""
    if what == "maps":
        image, outputs, to_image = _maps(predictor, path)
        return predictor.task.draw_maps(image, outputs, to_image, path.name)
    if what == "tag_maps":
        image, outputs, to_image = _maps(predictor, path)
        rows = _tag_rows(predictor, outputs)
        return plot_tag_maps(image, rows, to_image, f"{path.name}, model {predictor.name}")
    if what in _TASKS:
        return _grouping(predictor, path, what)
    found = predictor(path)
    return found.explained() if what == "instances" else plot_tags(found, photo=_numbered(found))


def _numbered(found: Result) -> np.ndarray:
    """The photo with its instances, numbered as in the plot of their tags."""
    style = {"colours": "instance"} if found.task == "corners" else {}
    drawn = np.array(found.plot(labels=False, **style))
    for n in reversed(range(len(found) if 1 < len(found) <= MOST_NUMBERS else 0)):
        draw_label(drawn, found.boxes[n], str(n + 1), instance_colour(n))
    return drawn


def _maps(predictor: Predictor, path: Path) -> tuple[np.ndarray, dict[str, Any], Affine]:
    """A photo, the raw maps of the network for it, and the map from their cells to its pixels."""
    image = read_image(path)
    outputs, affine = predictor.maps(image)
    return image, outputs, affine.inverse() @ Affine.scaling(predictor.stride)


def _tag_rows(predictor: Predictor, outputs: dict[str, Any]) -> list[tuple]:
    """The rows of `plot_tag_maps`: keypoint types with the highest peaks, corners, or pixels."""
    task = predictor.task
    heads = {name: head for name, head in task.heads().items() if name in outputs}
    rows = []
    for name, head in heads.items():
        if head.kind != "tag":
            continue
        heat = next(n for n, h in heads.items() if h.kind == "heatmap" and h.corner == head.corner)
        heatmaps = as_array(task.heatmap_values(outputs[heat])[0])
        tags = as_array(outputs[name][0]).astype(np.float32)
        skeleton = getattr(task, "skeleton", None)
        if skeleton is None:
            label = {"tl": "top-left corners", "br": "bottom-right corners"}.get(head.corner)
            rows.append((label or heat, heatmaps.max(axis=0), tags))
            continue
        tags = tags.reshape(len(heatmaps), -1, *tags.shape[1:])
        best = np.argsort(-heatmaps.max(axis=(1, 2)), kind="stable")[:_MOST_ROWS]
        names = [skeleton.keypoints[k].replace("_", " ") for k in sorted(best)]
        rows += [(n, heatmaps[k], tags[k]) for n, k in zip(names, sorted(best))]
    if not rows:
        raise UserError(f"the {task.name} task has no tag maps; use a model of another task")
    return rows


def _grouping(predictor: Predictor, path: Path, what: str) -> Any:
    """Draw all detections of a photo beside its instances."""
    task = predictor.task
    if task.name != _TASKS[what]:
        raise UserError(
            f"{predictor.name} is a model of the {task.name} task, which has no {what}; "
            f"use --weights {'people' if what == 'keypoints' else 'blood'}, or another figure"
        )
    outcome = predictor.prepare(path)
    if outcome.error is not None:
        raise outcome.error
    computed = predictor.run([outcome])
    maps = computed.passes(0, 1)[0].maps
    predictor.decode([outcome], computed)
    view = view_of(predictor, outcome, maps, predictor.threshold)
    found, result = view.group().detections, outcome.result
    grouped = np.asarray(result.plot() if what == "keypoints" else result.explained())
    strong = int((found.scores > 0.1).sum())
    count = f"{len(result)} {'poses' if what == 'keypoints' else 'boxes'}"
    titles = (f"all {strong} {_WORDS[what]}", f"grouped by their tags: {count}")
    return plot_grouping(outcome.image, found, grouped, path.name, titles)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log of a training; an incomplete last line is left out. Raises UserError."""
    rows = []
    lines = read_text(path, "log").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({name: float(value) for name, value in row.items()})
        except (ValueError, TypeError, AttributeError, RecursionError):
            if number < len(lines):
                raise UserError(
                    f"line {number} of {path} is not a row of a training log; give the log.jsonl "
                    "that `tagwise train` writes"
                ) from None
    rows = [row for row in rows if "step" in row and len(row) > 1]
    if not rows:
        raise UserError(f"{path} has no row with a step yet; wait until the training logs one")
    return rows
