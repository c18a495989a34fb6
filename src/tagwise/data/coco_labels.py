"""The labels of a COCO file, image by image: what is sound is kept, what is not is reported.

Every part of the program that reads COCO annotations reads them here, so that training,
validation and evaluation see the same labels. Ids of annotations are not needed and not used.
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


class Ignored(NamedTuple):
    """A crowd, or an instance about which too little is known: neither a hit nor a miss.

    keypoints: (S, 3), x, y, v. box: x, y, width, height. area: in squared pixels. category: its id.
    """

    keypoints: np.ndarray | None
    box: Box
    area: float
    category: Any
    crowd: bool


@dataclass
class ImageLabels:
    """What a file says of one image, keypoint types still those of the file (S of them).

    image_id: as the file has it. width, height: None where the file does not say.
    keypoints: (N, S, 3) float64, x, y, v, where the file has any. boxes: (N, 4), x, y, width,
    height. areas: (N,). classes: (N,), where there are several. ids: the annotations' ids.
    ignored: what counts neither as found nor as missed.
    regions: where nothing is to be learned (see regions.paint_region).
    crowd_index: how crowded the image is, by which CrowdPose divides its images.
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
        """A fault of one of the image's annotations."""
        return Problem(kind, self.file, self.image_id, annotation.get("id"), detail)


def collect_images(
    content: dict[str, Any], problems: list[Problem], need_files: bool = True
) -> dict[Any, ImageLabels]:
    """The images of a file by id, without labels yet.

    need_files: leave out images without a file name.
    """
    images: dict[Any, ImageLabels] = {}
    for entry in content["images"]:
        name, number = str(entry.get("file_name") or ""), entry["id"]
        if number in images:
            kind = "image id is used twice, the second image left out"
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
    """Every annotation with the labels of its image and the id of its category.

    The category is None where the annotation names none. An annotation of an image or a category
    that the file does not have, and the second of two equal ones, are reported and left out.
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
            problems.append(image.problem("annotation is there twice, left out once", annotation))
            continue
        yield annotation, image, category


def is_crowd(annotation: dict[str, Any]) -> bool:
    """Whether an annotation is a crowd region: "iscrowd" as a number, a text, a bool or nothing."""
    value = annotation.get("iscrowd")
    if isinstance(value, str):
        return value.strip().lower() not in ("", "0", "0.0", "false", "no", "none", "null")
    return bool(value)


def add_crowd(
    annotation: dict[str, Any], labels: ImageLabels, box: Box | None
) -> Iterator[Problem]:
    """Add the region of a crowd to those that its image ignores: its segmentation, else its box."""
    region = annotation.get("segmentation") or box
    try:
        check_region(region, (labels.width, labels.height))
        labels.regions.append(region)
    except ValueError as error:
        instead = "its box ignored instead" if box else "left out"
        yield labels.problem(f"crowd region cannot be read, {instead}", annotation, str(error))
        labels.regions += [box] if box else []


def box_of(annotation: dict[str, Any]) -> Box | None:
    """The box of an annotation, if it is one of any size."""
    box = annotation.get("bbox")
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    x, y, width, height = map(as_number, box)
    if None in (x, y, width, height) or width <= 0 or height <= 0:
        return None
    return x, y, width, height


def area_of(annotation: dict[str, Any], box: Box) -> float:
    """The area that an annotation gives, else that of its box, in squared pixels."""
    area = as_number(annotation.get("area"))
    return area if area is not None and area > 0 else max(box[2] * box[3], 1.0)


def as_number(value: Any) -> float | None:
    """A finite number, also from its text; None for anything else."""
    if type(value) is float and math.isfinite(value):  # the usual case first: there are many
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str | np.number):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _side(value: Any) -> int | None:
    """A width or height in pixels; None where the file does not know it (0, -1, a word)."""
    number = as_number(value)
    return int(number) if number is not None and number >= 1 else None
