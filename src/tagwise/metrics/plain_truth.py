"""A check of whole columns of COCO keypoint labels, for evaluation of files without faults."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import count
from typing import Any

import numpy as np

from tagwise.data.coco_json import pick_category, read_coco
from tagwise.data.coco_labels import LARGEST
from tagwise.data.plausibility import check_corner_form, check_pixels
from tagwise.errors import UserError
from tagwise.metrics.pose_matching import PoseTruth
from tagwise.runtime import compiled
from tagwise.skeletons import Skeleton


def plain_truth(content: dict[str, Any]) -> tuple[PoseTruth, dict[str, Any]] | None:
    """The labelled poses and the entry of their category, if no annotation needs any repair.

    content: a COCO keypoint JSON. Returns None if anything is unusual. Then
    `tagwise.data.keypoint_labels` has to read the labels, which takes several times as long: it
    looks at one annotation after the other, and reports what it leaves out.
    """
    try:
        category = pick_category(read_coco(content), "")
        types = len(Skeleton.from_coco(category))
        sizes = {image["id"]: _size(image) for image in content["images"]}
        if not content["annotations"] or len(sizes) < len(content["images"]):
            return None
        if set(map(type, sizes)) != {int}:
            return None
        ids = in_order(sizes)
        numbers = {number: n for n, number in enumerate(ids)}
        table = _table(content["annotations"], numbers, category["id"], types)
        images, crowds, counts, areas = table[:, :4].T
        truth = PoseTruth(
            ids,
            category["id"],
            images.astype(np.int64),
            keypoints=table[:, 8:].reshape(-1, types, 3),
            boxes=table[:, 4:8],
            areas=areas,
            crowds=crowds > 0,
            crowd_index=np.full(len(ids), np.nan),
        )
        sides = np.array(list(map(sizes.__getitem__, ids)))[truth.images]
        if ((crowds == 0) | (crowds == 1)).all() and _values_are_plain(truth, counts, sides):
            return truth, category
    except (KeyError, TypeError, ValueError, OverflowError, struct.error, UserError):
        pass  # the other reader names the fault
    return None


def in_order(image_ids: Iterable[Any]) -> list[Any]:
    """The ids of images, sorted if they are numbers, as pycocotools does; else as they are."""
    ids = list(image_ids)
    return sorted(ids) if set(map(type, ids)) <= {int} else ids


def _size(image: dict[str, Any]) -> tuple[float, float]:
    """Width and height, NaN where the file does not give them."""
    sides = [image.get(side) for side in ("width", "height")]
    if not all(side is None or (type(side) is int and 1 <= side <= LARGEST) for side in sides):
        raise ValueError
    return tuple(np.nan if side is None else float(side) for side in sides)


def _table(
    annotations: list[dict[str, Any]], numbers: dict[int, int], category: Any, types: int
) -> np.ndarray:
    """(G, 8 + 3 K) float64: image, crowd, number of keypoints, area, box, and keypoints.

    numbers: the index of each image id. One call for each annotation that converts all of its
    numbers is several times as fast as np.array. Raises ValueError, KeyError or struct.error for
    other values than usual.
    """
    table = np.empty((len(annotations), 8 + 3 * types))
    pack = struct.Struct(f"{table.shape[1]}d").pack_into
    for start, row in zip(count(0, table.strides[0]), annotations):
        image, crowd = row["image_id"], row["iscrowd"]
        box, keypoints = row["bbox"], row["keypoints"]
        lists = type(box) is type(keypoints) is list and len(box) == 4
        if not (type(image) is type(crowd) is int and lists and row["category_id"] == category):
            raise ValueError
        number = numbers[image]
        pack(table, start, number, crowd, row["num_keypoints"], row["area"], *box, *keypoints)
    return table


def _values_are_plain(truth: PoseTruth, counts: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether boxes, areas and keypoints are possible.

    counts: "num_keypoints" of the G poses. sizes: (G, 2), width and height of their images.
    """
    labelled = truth.keypoints[..., 2] > 0
    limits = np.where(np.isnan(sizes), LARGEST, sizes)
    plain = (
        _are_inside(truth.keypoints, limits)
        and (labelled.sum(1) == counts).all()
        and (np.abs(truth.boxes) <= LARGEST).all()
        and (truth.boxes[:, 2:] > 0).all()
        and ((truth.areas > 0) & (truth.areas <= LARGEST**2)).all()
    )
    if plain:
        check_pixels(truth.keypoints[labelled, :2], "keypoints", "")
        check_corner_form(truth.boxes, sizes, "")
    return bool(plain)


@compiled()
def _are_inside(keypoints, limits):
    """Whether all keypoints (G, K, 3) are finite, the labelled ones within limits (G, 2).

    Some programs measure from the corner of the first pixel, so that x = width can occur.
    """
    for n in range(len(keypoints)):
        for k in range(keypoints.shape[1]):
            x, y, seen = keypoints[n, k]
            inside = -1 <= x <= limits[n, 0] and -1 <= y <= limits[n, 1]
            if not np.isfinite(x + y + seen) or (seen > 0 and not inside):
                return False
    return True
