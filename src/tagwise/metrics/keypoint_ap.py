"""COCO and CrowdPose keypoint AP and AR for any skeleton."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tagwise.data.coco_labels import Box
from tagwise.data.keypoint_labels import KeypointLabels, read_keypoint_labels
from tagwise.data.report import Problem
from tagwise.errors import UserError, brief, unknown_name
from tagwise.metrics.coco import hotcoco, no_collection, part_of, warn_of, with_plain_ids
from tagwise.metrics.plain_truth import plain_truth
from tagwise.skeletons import Skeleton

_COCO = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APm": "APM", "APl": "APL"} | {
    "AR": "AR", "AR50": "AR50", "AR75": "AR75", "ARm": "ARM", "ARl": "ARL"
}  # fmt: skip
_CROWDPOSE = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
# Values of crowdIndex that separate easy, medium and hard in the published CrowdPose toolkit. (The
# paper says .1 instead of .2; figures in the literature come from the toolkit.)
_CROWD_LIMITS = (0.2, 0.8)
# The area of a person as a share of the box, which the toolkit uses instead of the annotated area.
_AREA_OF_BOX = 0.53


def keypoint_metrics(
    results: Sequence[dict[str, Any]],
    ground_truth: str | Path | dict[str, Any] | KeypointLabels,
    sigmas: float | Sequence[float] | None = None,
    style: Literal["coco", "crowdpose"] = "coco",
    max_dets: int = 20,
    image_ids: Iterable[Any] | None = None,
) -> dict[str, float]:
    """AP and AR of keypoint results by object keypoint similarity (OKS).

    results: COCO keypoint results, dicts of "image_id", "category_id", "keypoints" (x, y, score of
        every type, in pixels, flat) and "score". An image without results counts as one without
        detections.
    ground_truth: a COCO keypoint JSON, its content, or labels that are already read. Annotations
        with "iscrowd" or without a labelled keypoint are ignored regions, as in pycocotools.
        Invalid annotations are left out, with a warning that lists them.
    sigmas: OKS constants, one per keypoint type or one for all; by default those of the
        JSON's category ("sigmas"), else the published ones, see `Skeleton.from_coco`.
    style: "coco" gives AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL with the annotated areas
        (https://cocodataset.org/#keypoints-eval); "crowdpose" gives AP, AP50, AP75, AR, AR50, AR75,
        AP_easy, AP_medium and AP_hard as in the CrowdPose toolkit
        (https://github.com/Jeff-sjtu/CrowdPose): the area is .53 times that of the box, and images
        are divided by their "crowdIndex" at .2 and .8.
    max_dets: number of best detections per image that count.
    image_ids: the images of the ground truth that count; None: all.

    Figures are in [0, 1], or -1 if there are no such annotations. Raises UserError for JSON
    that is not a COCO keypoint set, and for results that do not fit it.

    >>> pin = {"id": 1, "name": "pin", "keypoints": ["top", "foot"]}
    >>> truth = {"id": 1, "image_id": 7, "category_id": 1, "keypoints": [5, 5, 2, 5, 50, 2],
    ...          "bbox": [0, 5, 10, 45], "area": 450}
    >>> found = {"image_id": 7, "category_id": 1, "keypoints": [5, 5, 1, 5, 50, 1], "score": 0.9}
    >>> scene = {"images": [{"id": 7}], "annotations": [truth], "categories": [pin]}
    >>> round(keypoint_metrics([found], scene)["AP"], 6)
    1.0
    """
    if style not in ("coco", "crowdpose"):
        raise unknown_name("style of evaluation", style, ("coco", "crowdpose"))
    with no_collection():
        truth, category, problems = _truth(ground_truth, style)
        warn_of(problems)
        if image_ids is not None:
            truth = part_of(truth, image_ids)
        constants = sigma_set(sigmas, category)
        _check_results(results, truth, len(constants))
        truth, results = with_plain_ids(truth, results)
        if style == "crowdpose":
            return _crowdpose(truth, results, constants, max_dets)
        figures = _figures(truth, results, constants, max_dets)
    return {name: figures[key] for key, name in _COCO.items()}


def _truth(
    ground_truth: str | Path | dict[str, Any] | KeypointLabels, style: str
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """The annotations that hotcoco reads, their category, and the faults of the labels."""
    if isinstance(ground_truth, dict) and style == "coco":
        plain = plain_truth(ground_truth)
        if plain is not None:
            return *plain, []
    if isinstance(ground_truth, KeypointLabels):
        return keypoint_truth(ground_truth), ground_truth.category, []
    labels = read_keypoint_labels(ground_truth, need_files=False)
    return keypoint_truth(labels), labels.category, labels.problems


def keypoint_truth(labels: KeypointLabels) -> dict[str, Any]:
    """Convert labels to the annotations that hotcoco reads, with the image ids of the file."""
    rows: list[tuple[Any, np.ndarray, Box, float, bool]] = []
    nothing = np.zeros((len(labels.skeleton), 3))
    for image in labels.images:
        for keypoints, box, area in zip(image.keypoints, image.boxes, image.areas):
            rows.append((image.image_id, keypoints, box, area, False))
        for each in image.ignored:
            keypoints = nothing if each.keypoints is None else each.keypoints
            rows.append((image.image_id, keypoints, each.box, each.area, each.crowd))
    every = np.array([row[1] for row in rows]).reshape(len(rows), nothing.size)
    counts = (every[:, 2::3] > 0).sum(1).tolist()
    category = labels.category["id"]
    annotations = [
        {
            "id": number,  # from 1: 0 means no match in pycocotools and hotcoco
            "image_id": image,
            "category_id": category,
            "keypoints": values,
            "num_keypoints": count,
            "bbox": list(box),
            "area": area,
            "iscrowd": int(crowd),
        }
        for number, (image, _, box, area, crowd), values, count in zip(
            range(1, len(rows) + 1), rows, every.tolist(), counts
        )
    ]
    images = [{"id": each.image_id, "crowdIndex": each.crowd_index} for each in labels.images]
    # hotcoco refuses odd values in fields that it does not need.
    categories = [{"id": category, "name": "instance"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def sigma_set(sigmas: float | Sequence[float] | None, category: dict[str, Any]) -> list[float]:
    """Return one OKS constant per keypoint type; sigmas: see `keypoint_metrics`."""
    K = len(category["keypoints"])
    if sigmas is None:
        return list(Skeleton.from_coco(category).sigmas)
    values = [float(sigmas)] * K if np.ndim(sigmas) == 0 else [float(s) for s in sigmas]
    if len(values) != K or not all(0 < value < np.inf for value in values):
        raise UserError(
            f"{len(values)} sigmas {values} for {K} keypoint types; give one above 0 for each, "
            "or one for all"
        )
    return values


def _figures(
    truth: dict[str, Any], results: Sequence[dict[str, Any]], sigmas: list[float], max_dets: int
) -> dict[str, float]:
    """Return the figures of hotcoco under its own names."""
    coco = hotcoco()
    gt = coco.COCO(truth)
    evaluation = coco.COCOeval(gt, gt.load_res(list(results)), "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    evaluation.params.max_dets = [max_dets]
    with warnings.catch_warnings():
        # The caller chose sigmas and limits that are not COCO's, which hotcoco warns of.
        warnings.filterwarnings("ignore", message="hotcoco", category=UserWarning)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summary_lines()  # computes the figures; summarize() would print them as well
    return {name: float(value) for name, value in evaluation.get_results().items()}


def _crowdpose(
    truth: dict[str, Any], results: Sequence[dict[str, Any]], sigmas: list[float], max_dets: int
) -> dict[str, float]:
    if any(image["crowdIndex"] is None for image in truth["images"]):
        raise UserError(
            'an image of the ground truth has no "crowdIndex", which style "crowdpose" '
            'needs; use style "coco"'
        )
    boxed = []
    for annotation in truth["annotations"]:
        _, _, width, height = annotation["bbox"]
        boxed.append({**annotation, "area": _AREA_OF_BOX * width * height})
    truth = {**truth, "annotations": boxed}
    whole = _figures(truth, results, sigmas, max_dets)
    figures = {name: whole[name] for name in _CROWDPOSE}
    parts = np.digitize([image["crowdIndex"] for image in truth["images"]], _CROWD_LIMITS)
    for number, name in enumerate(("AP_easy", "AP_medium", "AP_hard")):
        ids = {
            image["id"]
            for image, part_number in zip(truth["images"], parts)
            if part_number == number
        }
        part = part_of(truth, ids)
        rows = [row for row in results if row["image_id"] in ids]
        figures[name] = _figures(part, rows, sigmas, max_dets)["AP"]
    return figures


def _check_results(results: Sequence[dict[str, Any]], truth: dict[str, Any], K: int) -> None:
    """Raise UserError for the first result that does not fit the ground truth."""
    known = {image["id"] for image in truth["images"]}
    category, values = truth["categories"][0]["id"], 3 * K
    if _all_fit(results, known, category, values):
        return
    categories = set()
    for number, row in enumerate(results):
        try:
            fitting = row["image_id"] in known and len(row["keypoints"]) == values
            fitting &= "score" in row
            categories.add(row["category_id"])
        except (KeyError, TypeError):
            fitting = False
        if not fitting:
            raise _misfit_error(number, row, known, K)
    if results and category not in categories:
        raise UserError(
            f"no result is of category {category}, the one of the ground truth that has keypoints; "
            "are these results of another set?"
        )


def _all_fit(results: Sequence[Any], known: set[Any], category: Any, values: int) -> bool:
    """Whether all results fit; a check of whole columns, for the usual case."""
    try:
        lengths = set(map(len, map(itemgetter("keypoints"), results)))
        return (
            lengths == {values}
            and known.issuperset(map(itemgetter("image_id"), results))
            and category in set(map(itemgetter("category_id"), results))
            and len(list(map(itemgetter("score"), results))) > 0
        )
    except (KeyError, TypeError):
        return False


def _misfit_error(number: int, row: Any, known: set[Any], K: int) -> UserError:
    """Return the error for a result that does not fit the ground truth."""
    keys = ("image_id", "category_id", "keypoints", "score")
    missing = [key for key in keys if not (isinstance(row, dict) and key in row)]
    if missing or not isinstance(row["keypoints"], list):
        what = missing[0] if missing else "a list of keypoints"
        return UserError(f"result {number} is not a COCO keypoint result: it has no {what}")
    if row["image_id"] not in known:
        return UserError(
            f"result {number} is of image {brief(row['image_id'])}, which the ground truth does "
            "not have; are these results of another set?"
        )
    return UserError(
        f"result {number} has {len(row['keypoints'])} keypoint values, but {K} keypoint types "
        f"need {3 * K}; is this a model of another skeleton?"
    )
