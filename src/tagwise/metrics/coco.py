"""Shared parts of all COCO figures: calling hotcoco, and summarising its tables."""

from __future__ import annotations

import gc
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tagwise.data.report import Problem, summary
from tagwise.errors import UserError, brief, optional

# Indices of IoU .5 and .75 among COCO's ten thresholds, and of the ranges of areas.
_IOU = {"50": 0, "75": 5}
_AREAS = {"S": 1, "M": 2, "L": 3}


def check_results(results: Any, max_dets: Any, image_ids: Any) -> None:
    """Raise UserError unless the arguments of an evaluation have the right types."""
    if not isinstance(results, Sequence | np.ndarray) or isinstance(results, str | bytes):
        raise UserError(f"results must be a list of COCO results (dicts), got {brief(results)}")
    if not isinstance(max_dets, int | np.integer) or max_dets < 1:
        raise UserError(f"max_dets must be a whole number of at least 1, got {brief(max_dets)}")
    ids = () if image_ids is None else image_ids
    if not isinstance(ids, Iterable) or isinstance(ids, str):
        raise UserError(f"image_ids must be a list of ids of images, got {brief(image_ids)}")


def part_of(truth: dict[str, Any], image_ids: Iterable[Any]) -> dict[str, Any]:
    """Return the images with these ids, and their annotations."""
    ids = set(image_ids)
    return {
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [a for a in truth["annotations"] if a["image_id"] in ids],
        "categories": truth["categories"],
    }


def warn_of(problems: Sequence[Problem]) -> None:
    """Warn with a summary of the problems in the labels, if there are any."""
    if problems:
        warnings.warn(summary(problems), stacklevel=3)


def class_names(categories: Sequence[dict[str, Any]]) -> list[str]:
    """Return a unique name for each category; its id is added to a name that is shared."""
    names = [str(category.get("name", category["id"])) for category in categories]
    shared = Counter(names)
    return [
        f"{name} ({category['id']})" if shared[name] > 1 else name
        for name, category in zip(names, categories)
    ]


def finite(values: Any, count: int) -> bool:
    """Return whether `values` is a list of `count` finite numbers."""
    return (
        isinstance(values, list | tuple | np.ndarray)
        and len(values) == count
        and all(isinstance(v, int | float | np.number) and math.isfinite(v) for v in values)
    )


def run(gt: Any, dt: Any, iou_type: str, max_dets: int) -> dict[str, np.ndarray]:
    """Return hotcoco's "precision" (T, R, classes, areas, 1) and "recall" (T, classes, areas, 1).

    gt, dt: `hotcoco.COCO` of the truth and of the results. iou_type: "bbox" or "segm".
    T are the IoU thresholds .5, .55, ... .95, R the recalls 0, .01, ... 1; areas are all, small
    (below 32² pixels), medium and large (above 96²). Values are -1 where nothing is labelled.
    """
    evaluation = hotcoco().COCOeval(gt, dt, iou_type)
    evaluation.params.max_dets = [max_dets]
    with warnings.catch_warnings():
        # The caller chose limits that are not COCO's, which hotcoco warns of.
        warnings.filterwarnings("ignore", message="hotcoco", category=UserWarning)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval


def summarise(tables: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, float]:
    """Return AP and AR over all classes, by IoU and area, then AP and AP50 of each class."""
    figures = {}
    for name, table in (("AP", tables["precision"]), ("AR", tables["recall"])):
        figures[name] = mean(table[..., 0, :])
        figures |= {name + iou: mean(table[index, ..., 0, :]) for iou, index in _IOU.items()}
        figures |= {name + area: mean(table[..., index, :]) for area, index in _AREAS.items()}
    for number, name in enumerate(names):
        of_class = tables["precision"][:, :, number, 0]
        figures[f"AP/{name}"] = mean(of_class)
        figures[f"AP50/{name}"] = mean(of_class[0])
    return figures


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause garbage collection, which would take half of the time with millions of numbers."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def hotcoco() -> Any:
    """Import hotcoco. Raises UserError that names the extra if it is missing."""
    return optional("hotcoco", "eval", "evaluation needs hotcoco")


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that were measured, -1 if there are none."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else -1.0
