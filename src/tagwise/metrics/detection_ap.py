"""COCO box AP and AR, over all classes and for each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import check_coco, read_json
from tagwise.errors import UserError
from tagwise.metrics.coco import (
    class_names,
    finite,
    hotcoco,
    no_collection,
    part_of,
    run,
    summarise,
)


def box_metrics(
    results: Sequence[dict[str, Any]],
    ground_truth: str | Path | dict[str, Any],
    max_dets: int = 500,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, float]:
    """AP and AR of boxes by intersection over union (https://cocodataset.org/#detection-eval).

    results: COCO detection results, dicts of "image_id", "category_id", "bbox" (x, y, width,
        height in pixels) and "score". An image without any counts as nothing found; results of a
        category that the ground truth does not have are left out, as pycocotools does.
    ground_truth: a COCO JSON with boxes or its content. Annotations with "iscrowd" are ignored
        regions; "area" sorts boxes into small, medium and large, and is the box's where it is
        left out.
    max_dets: best detections of a class in an image that count. (COCO's own figures are at 100,
        too few for dense scenes.)
    image_ids: the images of the ground truth that count; None is all.

    Returns AP, AP50, AP75, APS (below 32² pixels), APM, APL (above 96²) and the same six of AR,
    all of them means over classes; then "AP/NAME" and "AP50/NAME" of each class. Figures are in
    [0, 1], or -1 where no annotation is of that kind. Raises UserError for JSON that is no COCO
    box set and for results that do not fit it.

    >>> truth = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 5, 10, 45]}
    >>> found = {"image_id": 7, "category_id": 3, "bbox": [0, 5, 10, 40], "score": 0.9}
    >>> cell = {"id": 3, "name": "cell"}
    >>> scene = {"images": [{"id": 7}], "annotations": [truth], "categories": [cell]}
    >>> figures = box_metrics([found], scene)
    >>> round(figures["AP50/cell"], 6), round(figures["AP75"], 6), round(figures["AP"], 6)
    (1.0, 1.0, 0.8)
    """
    with no_collection():
        truth = load_boxes(ground_truth)
        if image_ids is not None:
            truth = part_of(truth, image_ids)
        rows = _rows(results, truth)
        gt = _with_numbers(truth)
        tables = run(gt, gt.load_res(rows), "bbox", max_dets)
    return summarise(tables, class_names(truth["categories"]))


def load_boxes(source: str | Path | dict[str, Any]) -> dict[str, Any]:
    """COCO box annotations with all that an evaluation reads; the source is not changed.

    "iscrowd" and "area" are filled in where they are left out. Annotations of images or categories
    that the file does not have count for nothing, as in pycocotools, and are left out.
    """
    where = "the ground truth" if isinstance(source, dict) else source
    content = source if isinstance(source, dict) else read_json(source)
    check_coco(content, where)
    if not content["categories"]:
        raise UserError(f"{where}: there are no categories; list at least one")
    images = {image["id"] for image in content["images"]}
    numbers = _numbers(content["categories"])
    categories = {category["id"]: category for category in content["categories"]}
    annotations = []
    for annotation in content["annotations"]:
        box = annotation.get("bbox")
        if annotation.get("image_id") not in images:
            continue
        if annotation.get("category_id") not in numbers:
            continue
        if not finite(box, 4):
            raise UserError(
                f'{where}: annotation {annotation["id"]} has no "bbox" of four numbers; '
                "give x, y, width, height"
            )
        area = annotation.get("area")
        kept = {key: annotation[key] for key in ("id", "image_id", "category_id")}
        kept |= {"bbox": box, "area": box[2] * box[3] if area is None else area}
        annotations.append({**kept, "iscrowd": int(bool(annotation.get("iscrowd")))})
    return {
        "images": content["images"],
        "annotations": annotations,
        "categories": [categories[key] for key in numbers],
    }


def _with_numbers(truth: dict[str, Any]) -> Any:
    """The truth for hotcoco, with numbers from 1 for ids: it and pycocotools take 0 for none."""
    images = _numbers(truth["images"])
    categories = _numbers(truth["categories"])
    annotations = truth["annotations"]
    return hotcoco().COCO.from_arrays(
        [{"id": number} for number in images.values()],
        [{"id": number, "name": str(number)} for number in categories.values()],
        np.array([images[a["image_id"]] for a in annotations], np.int64),
        np.array([categories[a["category_id"]] for a in annotations], np.int64),
        np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        ids=np.arange(1, len(annotations) + 1),
        area=np.array([a["area"] for a in annotations], np.float64),
        iscrowd=np.array([a["iscrowd"] for a in annotations], np.int64),
    )


def _rows(results: Sequence[dict[str, Any]], truth: dict[str, Any]) -> np.ndarray:
    """Results as hotcoco's (N, 7): image, x, y, width, height, score, category, by number."""
    images, categories = _numbers(truth["images"]), _numbers(truth["categories"])
    try:
        rows = [
            (images[row["image_id"]], *row["bbox"], row["score"], categories[row["category_id"]])
            for row in results
            if row["category_id"] in categories
        ]
        table = np.array(rows, np.float64).reshape(len(rows), 7)
        fitting = bool(np.isfinite(table).all())
    except (KeyError, TypeError, ValueError):
        fitting = False
    if not fitting:
        raise next(filter(None, (_misfit(n, row, images) for n, row in enumerate(results))))
    if len(results) and not rows:
        raise UserError(
            f"no result is of a category of the ground truth ({sorted(categories, key=str)}); "
            "are these results of another set?"
        )
    return table


def _misfit(number: int, row: Any, images: dict[Any, int]) -> UserError | None:
    """What is wrong with a result, if anything."""
    keys = ("image_id", "category_id", "bbox", "score")
    missing = [key for key in keys if not (isinstance(row, dict) and key in row)]
    if missing:
        return UserError(f"result {number} is no COCO box result: it has no {missing[0]}")
    if row["image_id"] not in images:
        return UserError(
            f"result {number} is of image {row['image_id']!r}, which the ground truth does not "
            "have; are these results of another set?"
        )
    if not finite(row["bbox"], 4) or not finite([row["score"]], 1):
        return UserError(
            f"result {number} has box {row['bbox']} and score {row['score']}; "
            "give x, y, width, height and a score, all of them finite numbers"
        )
    return None


def _numbers(entries: Sequence[dict[str, Any]]) -> dict[Any, int]:
    """Each id and its number from 1. In order, for that breaks ties between images' scores."""
    ids = {entry["id"] for entry in entries}
    return {key: n for n, key in enumerate(sorted(ids, key=lambda k: (isinstance(k, str), k)), 1)}
