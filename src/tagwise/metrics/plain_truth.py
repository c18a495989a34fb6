"""A check of whole columns of COCO keypoint labels, for evaluation of files without faults."""

from __future__ import annotations

import struct
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from tagwise.data.coco_json import pick_category, read_coco
from tagwise.data.coco_labels import LARGEST
from tagwise.data.plausibility import check_corner_form, check_pixels
from tagwise.errors import UserError
from tagwise.skeletons import Skeleton

_FIELDS = ("id", "image_id", "category_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")


def plain_truth(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The annotations for hotcoco and their category, if no annotation needs any repair.

    content: a COCO keypoint JSON. Returns None if anything is unusual. Then
    `tagwise.data.keypoint_labels` has to read the labels, which takes several times as long: it
    looks at one annotation after the other, and reports what it leaves out.
    """
    try:
        category = pick_category(read_coco(content), "")
        types = len(Skeleton.from_coco(category))
        annotations = content["annotations"]
        columns = {name: list(map(itemgetter(name), annotations)) for name in _FIELDS}
        sizes = {image["id"]: _size(image) for image in content["images"]}
        if not annotations or len(sizes) < len(content["images"]):
            return None
        if _ids_are_plain(columns, sizes, category["id"]) and _values_are_plain(
            columns, types, np.array([sizes[number] for number in columns["image_id"]])
        ):
            if set(map(len, annotations)) != {len(_FIELDS)}:
                # hotcoco refuses odd values in fields that it does not need.
                annotations = [dict(zip(_FIELDS, row)) for row in zip(*columns.values())]
            images = [{"id": number} for number in sizes]
            categories = [{"id": category["id"], "name": "instance"}]
            truth = {"images": images, "annotations": annotations, "categories": categories}
            return truth, category
    except (KeyError, TypeError, ValueError, OverflowError, struct.error, UserError):
        pass  # the other reader names the fault
    return None


def _size(image: dict[str, Any]) -> tuple[float, float]:
    """Width and height, NaN where the file does not give them."""
    sides = [image.get(side) for side in ("width", "height")]
    if not all(side is None or (type(side) is int and 1 <= side <= LARGEST) for side in sides):
        raise ValueError
    return tuple(np.nan if side is None else float(side) for side in sides)


def _ids_are_plain(columns: dict[str, list], images: dict[Any, Any], category: Any) -> bool:
    """Whether all ids are small numbers; annotations have different ones, from 1."""
    numbers, flags = set(columns["id"]), set(columns["iscrowd"])
    names = ("id", "image_id", "category_id", "num_keypoints", "iscrowd")
    return (
        set(map(type, chain(images, [category], *(columns[name] for name in names)))) == {int}
        and len(numbers) == len(columns["id"])
        and min(numbers) >= 1
        and max(numbers) < 2**31
        and set(columns["category_id"]) == {category}
        and images.keys() >= set(columns["image_id"])
        and min([category, *images]) >= 0
        and max([category, *images]) < 2**31
        and flags <= {0, 1}
    )


def _values_are_plain(columns: dict[str, list], types: int, sizes: np.ndarray) -> bool:
    """Whether boxes, areas and keypoints are possible; sizes (N, 2): of the annotations' images."""
    if set(map(type, columns["keypoints"])) | set(map(type, columns["bbox"])) != {list}:
        return False
    areas = _numbers([columns["area"]], len(sizes))
    boxes, keypoints = _numbers(columns["bbox"], 4), _numbers(columns["keypoints"], 3 * types)
    x, y, seen = (keypoints[:, axis::3] for axis in range(3))
    labelled = seen > 0
    limits = np.where(np.isnan(sizes), LARGEST, sizes)[:, :, None]
    inside = (x >= -1) & (y >= -1) & (x <= limits[:, 0]) & (y <= limits[:, 1])
    plain = (
        np.isfinite(keypoints).all()
        and (inside | ~labelled).all()
        and (labelled.sum(1) == columns["num_keypoints"]).all()
        and (np.abs(boxes) <= LARGEST).all()
        and (boxes[:, 2:] > 0).all()
        and ((areas > 0) & (areas <= LARGEST**2)).all()
    )
    if plain:
        check_pixels(np.stack([x[labelled], y[labelled]], 1), "keypoints", "")
        check_corner_form(boxes, sizes, "")
    return bool(plain)


def _numbers(rows: list[list], count: int) -> np.ndarray:
    """Rows of `count` numbers as float64. Raises struct.error for anything else.

    This is faster than np.array, which also converts strings.
    """
    pack = struct.Struct(f"{count}d").pack
    packed = b"".join([pack(*row) for row in rows])
    return np.frombuffer(packed).reshape(len(rows), count)
