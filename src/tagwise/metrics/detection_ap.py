"""COCO AP and AR of boxes and of masks, over all classes and for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.box_labels import BoxLabels, read_box_labels
from tagwise.data.coco_json import is_id, name_of, read_coco
from tagwise.data.coco_labels import (
    ImageLabels,
    as_number,
    collect_images,
    is_crowd,
    linked_annotations,
)
from tagwise.data.regions import check_region
from tagwise.data.report import Problem
from tagwise.errors import UserError, brief
from tagwise.metrics.coco import (
    check_results,
    class_names,
    finite,
    hotcoco,
    no_collection,
    part_of,
    run,
    summarise,
    warn_of,
)

_KEYS = ("image_id", "category_id", "score")
_SHAPES = {
    "bbox": "x, y, width and height, finite too",
    "segmentation": "run lengths of the size of the image",
}


def box_metrics(
    results: Sequence[dict[str, Any]],
    ground_truth: str | Path | dict[str, Any] | BoxLabels,
    max_dets: int = 500,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, float]:
    """AP and AR of boxes by intersection over union (https://cocodataset.org/#detection-eval).

    results: COCO detection results, dicts of "image_id", "category_id", "bbox" (x, y, width,
        height in pixels) and "score". An image without results counts as an image without
        detections. Results of a category that the ground truth lacks are ignored, as in
        pycocotools.
    ground_truth: a COCO JSON with boxes, its content, or labels that are already read. Annotations
        with "iscrowd" are ignored regions; "area" divides boxes into small, medium and large, and
        is by default that of the box. Invalid annotations are left out, with a warning that lists
        them.
    max_dets: number of best detections per class and image that count. (COCO's own figures use 100,
        too few for dense scenes.)
    image_ids: the images of the ground truth that count; None: all.

    Returns AP, AP50, AP75, APS (below 32² pixels), APM, APL (above 96²) and the same six of AR,
    all of them means over classes; then "AP/NAME" and "AP50/NAME" of each class. Figures are in
    [0, 1], or -1 if there are no such annotations. Raises UserError for JSON that is not a COCO
    box set, and for results that do not fit it.

    >>> truth = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 5, 10, 45]}
    >>> found = {"image_id": 7, "category_id": 3, "bbox": [0, 5, 10, 40], "score": 0.9}
    >>> cell = {"id": 3, "name": "cell"}
    >>> scene = {"images": [{"id": 7}], "annotations": [truth], "categories": [cell]}
    >>> figures = box_metrics([found], scene)
    >>> round(figures["AP50/cell"], 6), round(figures["AP75"], 6), round(figures["AP"], 6)
    (1.0, 1.0, 0.8)
    """
    check_results(results, max_dets, image_ids)
    with no_collection():
        labels = ground_truth
        if not isinstance(labels, BoxLabels):
            labels = read_box_labels(labels, need_files=False)
            warn_of(labels.problems)
        truth = box_truth(labels)
        if image_ids is not None:
            truth = part_of(truth, image_ids)
        rows = _rows(results, truth, "bbox", lambda box, _: finite(box, 4))
        gt = _with_numbers(truth)
        tables = run(gt, gt.load_res(rows), "bbox", max_dets)
    return summarise(tables, class_names(truth["categories"]))


def mask_metrics(
    results: Sequence[dict[str, Any]],
    ground_truth: str | Path | dict[str, Any],
    max_dets: int = 500,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, float]:
    """AP and AR of masks by intersection over union (https://cocodataset.org/#detection-eval).

    results: COCO segmentation results, dicts of "image_id", "category_id", "segmentation" (run
        lengths, compressed or not) and "score".
    ground_truth: a COCO JSON with masks or its content; "segmentation" is run lengths or polygons,
        for which images need "width" and "height". By default, "area" is that of the mask.

    Other arguments are as in `box_metrics`; masks may overlap. For figures of whole label maps,
    without scores, see `label_map_counts`.

    >>> def mask(counts):
    ...     runs = {"size": [4, 4], "counts": counts}
    ...     return {"image_id": 7, "category_id": 3, "segmentation": runs}
    >>> scene = {"images": [{"id": 7}], "annotations": [{"id": 1, **mask("088")}]}
    >>> scene["categories"] = [{"id": 3, "name": "cell"}]
    >>> round(mask_metrics([{**mask("079"), "score": 0.9}], scene)["AP"], 6)
    0.8
    """
    check_results(results, max_dets, image_ids)
    with no_collection():
        truth = load_masks(ground_truth)
        if image_ids is not None:
            truth = part_of(truth, image_ids)
        rows = _rows(results, truth, "segmentation", _mask_fits(truth))
        gt = _with_numbers(truth)
        tables = run(gt, gt.load_res(rows), "segm", max_dets)
    return summarise(tables, class_names(truth["categories"]))


def box_truth(labels: BoxLabels) -> dict[str, Any]:
    """Convert labels to annotations for an evaluation, with the ids of the file."""
    annotations = []
    for image in labels.images:
        rows = [
            (labels.category_ids[c], box, area, False)
            for c, box, area in zip(image.classes, image.boxes, image.areas)
        ]
        rows += [(each.category, each.box, each.area, each.crowd) for each in image.ignored]
        annotations += [
            {
                "image_id": image.image_id,
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            for category, box, area, crowd in rows
        ]
    categories = {category["id"]: category for category in labels.categories}
    ordered = [categories[key] for key in _numbers(labels.categories)]
    images = [{"id": image.image_id} for image in labels.images]
    return {"images": images, "annotations": annotations, "categories": ordered}


def load_masks(source: str | Path | dict[str, Any]) -> dict[str, Any]:
    """Read COCO segmentation annotations for an evaluation, with polygons as run lengths.

    The source is not changed. Missing "iscrowd" and "area" are filled in. Annotations of images or
    categories that the file lacks, and masks that cannot be read, are left out, with a warning.
    """
    content = read_coco(source)
    where = name_of(source)
    if not content["categories"]:
        raise UserError(f"{where}: it has no categories; list at least one")
    problems: list[Problem] = []
    images = collect_images(content, problems, need_files=False)
    annotations = []
    for annotation, image, category in linked_annotations(content, images, problems):
        if category is None:
            kind = "annotation without a category, left out"
            problems.append(image.problem(kind, annotation))
            continue
        try:
            shape = _mask_of(annotation.get("segmentation"), image)
        except ValueError as error:
            kind = "mask cannot be read, left out"
            problems.append(image.problem(kind, annotation, str(error)))
            continue
        area = as_number(annotation.get("area"))
        if area is not None and area > 0:
            shape["area"] = area
        number = {"id": annotation.get("id"), "image_id": image.image_id, "category_id": category}
        annotations.append({**number, **shape, "iscrowd": int(is_crowd(annotation))})
    warn_of(problems)
    categories = {category["id"]: category for category in content["categories"]}
    ordered = [categories[key] for key in _numbers(content["categories"])]
    sizes = [
        {"id": image.image_id, "width": image.width, "height": image.height}
        for image in images.values()
    ]
    return {"images": sizes, "annotations": annotations, "categories": ordered}


def _mask_of(shape: Any, image: ImageLabels) -> dict[str, Any]:
    """The run lengths and the area of a mask. Raises ValueError if it cannot be read."""
    mask = hotcoco().mask
    if not isinstance(shape, dict | list) or not shape:
        raise ValueError('no "segmentation" of run lengths or polygons')
    check_region(shape, (image.width, image.height))
    if isinstance(shape, list):
        if None in (image.height, image.width):
            raise ValueError('a polygon, but its image has no "width" and "height"')
        polygons = [np.array(polygon, float).ravel().tolist() for polygon in shape]
        if min(map(len, polygons)) < 6:
            raise ValueError("a polygon of fewer than three corners")
        shape = mask.merge(mask.fr_py_objects(polygons, image.height, image.width))
    else:
        height, width = (int(side) for side in shape["size"])
        shape = {"size": [height, width], "counts": shape["counts"]}
        if isinstance(shape["counts"], list):
            shape["counts"] = [int(count) for count in shape["counts"]]
            shape = mask.fr_py_objects(shape, height, width)
    return {"segmentation": shape, "area": int(mask.area(shape))}


def _with_numbers(truth: dict[str, Any]) -> Any:
    """Convert the truth for hotcoco, with ids from 1, because 0 means no match there."""
    images, categories = _numbers(truth["images"]), _numbers(truth["categories"])
    annotations = truth["annotations"]
    masks = [a["segmentation"] for a in annotations if "segmentation" in a]
    boxes = np.array([a.get("bbox", (0, 0, 0, 0)) for a in annotations], np.float64)
    return hotcoco().COCO.from_arrays(
        [{"id": number} for number in images.values()],
        [{"id": number, "name": str(number)} for number in categories.values()],
        np.array([images[a["image_id"]] for a in annotations], np.int64),
        np.array([categories[a["category_id"]] for a in annotations], np.int64),
        boxes.reshape(-1, 4),
        ids=np.arange(1, len(annotations) + 1),
        area=np.array([a["area"] for a in annotations], np.float64),
        iscrowd=np.array([a["iscrowd"] for a in annotations], np.int64),
        segmentation=masks or None,
    )


def _rows(
    results: Sequence[dict[str, Any]],
    truth: dict[str, Any],
    key: str,
    fits: Callable[[Any, Any], bool],
) -> list[dict[str, Any]]:
    """Convert results for hotcoco, with its ids; categories that the truth lacks are left out.

    key: name of the shape in a result. fits: whether a shape is valid for the image with an id.
    """
    images, categories = _numbers(truth["images"]), _numbers(truth["categories"])
    rows = []
    for number, row in enumerate(results):
        missing = [name for name in (*_KEYS, key) if not (isinstance(row, dict) and name in row)]
        if missing:
            raise UserError(f"result {number} is not a COCO result: it has no {missing[0]}")
        if not is_id(row["image_id"]) or row["image_id"] not in images:
            raise UserError(
                f"result {number} is of image {brief(row['image_id'])}, which the ground truth "
                "does not have; are these results of another set?"
            )
        if not fits(row[key], row["image_id"]) or not finite([row["score"]], 1):
            raise UserError(
                f"result {number} has score {brief(row['score'])} and {key} {brief(row[key])}; "
                f"give a finite score and {_SHAPES[key]}"
            )
        if is_id(row["category_id"]) and row["category_id"] in categories:
            image, category = images[row["image_id"]], categories[row["category_id"]]
            ids = {"image_id": image, "category_id": category}
            rows.append({**ids, key: row[key], "score": row["score"]})
    if len(results) and not rows:
        raise UserError(
            f"no result is of a category of the ground truth ({sorted(categories, key=str)}); "
            "are these results of another set?"
        )
    return rows


def _mask_fits(truth: dict[str, Any]) -> Callable[[Any, Any], bool]:
    """Return a test of whether a shape is run lengths of the size of its image, if known."""
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth["images"]}
    for annotation in truth["annotations"]:
        sizes[annotation["image_id"]] = tuple(annotation["segmentation"]["size"])

    def fits(shape: Any, image_id: Any) -> bool:
        if not isinstance(shape, dict) or not {"size", "counts"} <= set(shape):
            return False
        size = shape["size"]
        if not isinstance(size, list | tuple) or len(size) != 2:
            return False
        return all(a in (None, b) for a, b in zip(sizes[image_id], size, strict=True))

    return fits


def _numbers(entries: Sequence[dict[str, Any]]) -> dict[Any, int]:
    """Number the ids from 1. Ids are sorted, because their order breaks ties of scores."""
    ids = {entry["id"] for entry in entries}
    return {key: n for n, key in enumerate(sorted(ids, key=lambda k: (isinstance(k, str), k)), 1)}
