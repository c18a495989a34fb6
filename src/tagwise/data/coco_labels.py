"""The labels of a COCO file, grouped by image; faulty annotations are left out and reported.

Training, validation and evaluation all read COCO annotations through this module, so that they
use the same labels. Annotations need no ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tagwise.data.coco_json import Ids
from tagwise.data.regions import check_region
from tagwise.data.report import Problem

Box = tuple[float, float, float, float]

LARGEST = 1e6
"""Pixels that no side of an image has; numbers beyond are treated as if they were not finite."""


class Ignored(NamedTuple):
    """A crowd, or an instance with too few labels: evaluation counts it neither as hit nor miss.

    keypoints: (S, 3), x, y, v, or None. box: x, y, width, height. area: in squared pixels.
    category: the category's id. crowd: whether it is a crowd region.
    """

    keypoints: np.ndarray | None
    box: Box
    area: float
    category: Any
    crowd: bool


@dataclass
class ImageLabels:
    """The labels of one image, with the S keypoint types of the file.

    image_id: the id as written in the file. file: the file name.
    width, height: in pixels, None if the file does not give them.
    keypoints: N arrays (S, 3) float64, x, y, v; empty for box labels.
    boxes: N tuples x, y, width, height. areas: N numbers in squared pixels.
    classes: N class indices; empty for keypoint labels. ids: the ids of the N annotations.
    ignored: annotations that evaluation counts neither as hits nor as misses.
    regions: regions that training ignores (see regions.paint_region).
    crowd_index: CrowdPose's measure of how crowded the image is.
    """

    image_id: Any
    file: str
    width: int | None
    height: int | None
    keypoints: list[np.ndarray] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    regions: list[Any] = field(default_factory=list)
    crowd_index: float | None = None

    def problem(self, kind: str, annotation: dict[str, Any], detail: str = "") -> Problem:
        """Describe a fault of one of the image's annotations."""
        return Problem(kind, self.file, self.image_id, annotation.get("id"), detail)


def collect_images(
    content: dict[str, Any], problems: list[Problem], need_files: bool = True
) -> dict[Any, ImageLabels]:
    """Return the images of a file by id, without labels.

    problems: faults are appended to this list. need_files: leave out images without a file name.
    """
    images: dict[Any, ImageLabels] = {}
    for entry in content["images"]:
        name, number = str(entry.get("file_name") or ""), entry["id"]
        if number in images:
            kind = "image id is used twice, second image left out"
            problems.append(Problem(kind, name, number))
        elif need_files and not name:
            problems.append(Problem('image has no "file_name", left out', "", number))
        else:
            width, height = (_side(entry.get(side)) for side in ("width", "height"))
            crowd_index = as_number(entry.get("crowdIndex"))
            images[number] = ImageLabels(number, name, width, height, crowd_index=crowd_index)
    return images


def linked_annotations(
    content: dict[str, Any], images: dict[Any, ImageLabels], problems: list[Problem]
) -> Iterator[tuple[dict[str, Any], ImageLabels, Any]]:
    """Yield each annotation with the labels of its image and the id of its category.

    The category is None where the annotation has none. Annotations of unknown images or
    categories, and exact copies of another annotation, are reported and left out.
    """
    image_ids = Ids(images)
    category_ids = Ids(entry["id"] for entry in content["categories"])
    by_number: dict[Any, dict[str, Any]] = {}
    for annotation in content["annotations"]:
        image = images.get(image_ids.find(annotation.get("image_id")))
        number = annotation.get("id")
        if image is None:
            detail = f"image_id {annotation.get('image_id')!r}"
            kind = "annotation of an unknown image, left out"
            problems.append(Problem(kind, annotation_id=number, detail=detail))
            continue
        given = annotation.get("category_id")
        category = category_ids.find(given)
        if given is not None and category is None:
            kind = "annotation of an unknown category, left out"
            problems.append(image.problem(kind, annotation, f"category_id {given!r}"))
            continue
        twin = annotation if number is None else by_number.setdefault(str(number), annotation)
        if twin is not annotation and twin == annotation:
            problems.append(image.problem("duplicate annotation, left out", annotation))
            continue
        yield annotation, image, category


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a crowd region; "iscrowd" may be a number, a string or missing."""
    value = annotation.get("iscrowd")
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "0.0", "false", "no", "none", "null")
    return bool(value)


def add_crowd(
    annotation: dict[str, Any], labels: ImageLabels, box: Box | None
) -> Iterator[Problem]:
    """Add the region of a crowd to the ignored regions of its image, and yield any problem.

    The region is the segmentation; if that is missing or cannot be read, it is the box.
    """
    region = annotation.get("segmentation") or box
    try:
        check_region(region, (labels.width, labels.height))
        labels.regions.append(region)
    except ValueError as error:
        instead = "its box is ignored instead" if box else "left out"
        yield labels.problem(f"crowd region cannot be read, {instead}", annotation, str(error))
        labels.regions += [box] if box else []


def box_of(annotation: dict[str, Any]) -> Box | None:
    """The box of an annotation; None if it is not four numbers in pixels or has no size."""
    box = annotation.get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    x, y, width, height = map(as_number, box)
    if None in (x, y, width, height) or width <= 0 or height <= 0:
        return None
    if max(abs(x), abs(y), width, height) > LARGEST:
        return None
    return x, y, width, height


def area_of(annotation: dict[str, Any], box: Box) -> float:
    """The area that an annotation gives, or that of its box, in squared pixels."""
    area = as_number(annotation.get("area"))
    return area if area is not None and 0 < area <= LARGEST**2 else max(box[2] * box[3], 1.0)


def as_number(value: Any) -> float | None:
    """Convert a number, or a string that contains one, to a finite float; None if that fails."""
    if type(value) is float and math.isfinite(value):  # a shortcut for the most frequent case
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str | np.number):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _side(value: Any) -> int | None:
    """A width or height in pixels; None for a placeholder such as 0, -1, 10**9 or a word."""
    number = as_number(value)
    return int(number) if number is not None and 1 <= number <= LARGEST else None
