"""COCO and CrowdPose keypoint AP and AR for any skeleton."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tagwise.data.coco_json import is_id
from tagwise.data.coco_labels import Box
from tagwise.data.keypoint_labels import KeypointLabels, read_keypoint_labels
from tagwise.data.report import Problem
from tagwise.errors import UserError, brief, unknown_name
from tagwise.grouping.inputs import as_numbers
from tagwise.metrics.coco import check_results, finite, mean, no_collection, warn_of
from tagwise.metrics.plain_truth import in_order, plain_truth
from tagwise.metrics.pose_matching import FoundPoses, Matches, PoseTruth, match_poses
from tagwise.skeletons import Skeleton

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
    check_results(results, max_dets, image_ids)
    with no_collection():
        truth, category, problems = _truth(ground_truth, style)
        warn_of(problems)
        if image_ids is not None:
            truth = truth.part(image_ids)
        constants = np.array(sigma_set(sigmas, category))
        found = _read_results(results, truth, len(constants))
        if style == "crowdpose":
            return _crowdpose(found, truth, constants, max_dets)
        return _coco(match_poses(found, truth, constants, max_dets))


def _truth(
    ground_truth: str | Path | dict[str, Any] | KeypointLabels, style: str
) -> tuple[PoseTruth, dict[str, Any], list[Problem]]:
    """The labelled poses, the entry of their category, and the faults of the labels."""
    if isinstance(ground_truth, dict) and style == "coco":
        plain = plain_truth(ground_truth)
        if plain is not None:
            return *plain, []
    if isinstance(ground_truth, KeypointLabels):
        return keypoint_truth(ground_truth), ground_truth.category, []
    labels = read_keypoint_labels(ground_truth, need_files=False)
    return keypoint_truth(labels), labels.category, labels.problems


def keypoint_truth(labels: KeypointLabels) -> PoseTruth:
    """Convert labels to the arrays that `match_poses` takes."""
    images = {image.image_id: image for image in labels.images}
    ids = in_order(images)
    rows: list[tuple[int, np.ndarray, Box, float, bool]] = []
    nothing = np.zeros((len(labels.skeleton), 3))
    for number, image in enumerate(map(images.__getitem__, ids)):
        for keypoints, box, area in zip(image.keypoints, image.boxes, image.areas):
            rows.append((number, keypoints, box, area, False))
        for each in image.ignored:
            keypoints = nothing if each.keypoints is None else each.keypoints
            rows.append((number, keypoints, each.box, each.area, each.crowd))
    crowd_index = [images[number].crowd_index for number in ids]
    return PoseTruth(
        ids,
        labels.category["id"],
        images=np.array([row[0] for row in rows], np.int64),
        keypoints=np.array([row[1] for row in rows], np.float64).reshape(-1, *nothing.shape),
        boxes=np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        areas=np.array([row[3] for row in rows], np.float64),
        crowds=np.array([row[4] for row in rows], bool),
        crowd_index=np.array([np.nan if each is None else each for each in crowd_index], float),
    )


def sigma_set(sigmas: float | Sequence[float] | None, category: dict[str, Any]) -> list[float]:
    """Return one OKS constant per keypoint type; sigmas: see `keypoint_metrics`."""
    K = len(category["keypoints"])
    if sigmas is None:
        return list(Skeleton.from_coco(category).sigmas)
    given = as_numbers("sigmas", sigmas).astype(float)
    values = [float(given)] * K if given.ndim == 0 else given.tolist()
    if given.ndim > 1 or len(values) != K or not all(0 < value < np.inf for value in values):
        raise UserError(
            f"{len(values)} sigmas {values} for {K} keypoint types; give one above 0 for each, "
            "or one for all"
        )
    return values


def _coco(matches: Matches) -> dict[str, float]:
    precision, recall = matches.tables()
    figures = {}
    for name, table in (("AP", precision), ("AR", recall)):
        whole, medium, large = table
        figures |= {name: mean(whole), f"{name}50": mean(whole[0]), f"{name}75": mean(whole[5])}
        figures |= {f"{name}M": mean(medium), f"{name}L": mean(large)}
    return figures


def _crowdpose(
    found: FoundPoses, truth: PoseTruth, sigmas: np.ndarray, max_dets: int
) -> dict[str, float]:
    if np.isnan(truth.crowd_index).any():
        raise UserError(
            'an image of the ground truth has no "crowdIndex", which style "crowdpose" '
            'needs; use style "coco"'
        )
    truth = replace(truth, areas=_AREA_OF_BOX * truth.boxes[:, 2] * truth.boxes[:, 3])
    matches = match_poses(found, truth, sigmas, max_dets)
    whole = _coco(matches)
    figures = {name: whole[name] for name in _CROWDPOSE}
    parts = np.digitize(truth.crowd_index, _CROWD_LIMITS)
    for number, name in enumerate(("AP_easy", "AP_medium", "AP_hard")):
        precision, _ = matches.tables(parts == number)
        figures[name] = mean(precision[0])
    return figures


# ---------------------------------------------------------------------- results


def _read_results(results: Sequence[dict[str, Any]], truth: PoseTruth, K: int) -> FoundPoses:
    """Read the rows of the truth's category. Raises UserError for the first one that does not fit.

    One call for each row that converts all of its numbers is several times as fast as np.array.
    """
    numbers = {image_id: n for n, image_id in enumerate(truth.image_ids)}
    category = truth.category
    table = np.empty((len(results), 3 + 3 * K))
    pack = struct.Struct(f"{table.shape[1]}d").pack_into
    try:
        for start, row in zip(count(0, table.strides[0]), results):
            image, wanted = numbers[row["image_id"]], row["category_id"] == category
            pack(table, start, image, wanted, row["score"], *row["keypoints"])
    except (KeyError, TypeError, struct.error):
        raise _misfit_error(results, numbers, K) from None
    areas = np.full(len(results), np.nan)
    if set(map(len, results)) - {4}:  # there are more than the four fields above
        areas[:] = [_area_of_box(row, n) for n, row in enumerate(results)]
    of_category = table[:, 1] > 0
    if len(results) and not of_category.any():
        raise UserError(
            f"no result is of category {category}, the one of the ground truth that has keypoints; "
            "are these results of another set?"
        )
    if not of_category.all():
        table, areas = table[of_category], areas[of_category]
    keypoints = table[:, 3:].reshape(-1, K, 3)
    return FoundPoses(table[:, 0].astype(np.int64), table[:, 2], keypoints, areas)


def _area_of_box(row: dict[str, Any], number: int) -> float:
    """Width times height of the box of a result, NaN if it has none."""
    box = row.get("bbox")
    if box is None or len(box) == 0:
        return np.nan
    if not finite(box, 4):
        raise UserError(f"result {number} has the bbox {brief(box)}; give x, y, width, height")
    return box[2] * box[3]


def _misfit_error(results: Sequence[Any], known: dict[Any, int], K: int) -> UserError:
    """Return the error for the first result that does not fit the ground truth."""
    for number, row in enumerate(results):
        keys = ("image_id", "category_id", "keypoints", "score")
        missing = [key for key in keys if not (isinstance(row, dict) and key in row)]
        if missing or not isinstance(row["keypoints"], list | tuple | np.ndarray):
            what = missing[0] if missing else "a list of keypoints"
            return UserError(f"result {number} is not a COCO keypoint result: it has no {what}")
        if not is_id(row["image_id"]) or row["image_id"] not in known:
            return UserError(
                f"result {number} is of image {brief(row['image_id'])}, which the ground truth "
                "does not have; are these results of another set?"
            )
        if len(row["keypoints"]) != 3 * K:
            return UserError(
                f"result {number} has {len(row['keypoints'])} keypoint values, but {K} keypoint "
                f"types need {3 * K}; is this a model of another skeleton?"
            )
        values = [*row["keypoints"], row["score"]]
        strange = [each for each in values if not isinstance(each, int | float | np.number)]
        if strange:
            return UserError(f"result {number} has {brief(strange[0])} instead of a number")
    return UserError("the results are not COCO keypoint results")
