"""The boxes of a COCO file, read once for training, validation, evaluation and results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import match_classes, name_of, object_categories, read_coco
from tagwise.data.coco_labels import (
    LARGEST,
    Box,
    Ignored,
    ImageLabels,
    add_crowd,
    area_of,
    as_number,
    box_of,
    collect_images,
    is_crowd,
    linked_annotations,
)
from tagwise.data.plausibility import check_corner_form, check_pixels
from tagwise.data.report import Problem
from tagwise.errors import UserError


@dataclass(frozen=True)
class BoxLabels:
    """The valid labels of a COCO detection file.

    where: the name of the file, for errors. categories: the entries of the object categories.
    classes: C names. category_ids: the category id of each class, None if the file has none.
    images: the labels of each image, in the order of the file. problems: the faults that were
    repaired or left out. left_out: the number of objects of each category that is not a class.
    """

    where: str
    categories: list[dict[str, Any]]
    classes: tuple[str, ...]
    category_ids: list[Any]
    images: list[ImageLabels]
    problems: list[Problem]
    left_out: Counter[str]


def read_box_labels(
    source: str | Path | dict[str, Any],
    classes: Sequence[str] | None = None,
    need_files: bool = True,
) -> BoxLabels:
    """Read the box labels of a COCO file.

    source: the file, or its content. classes: the names of the classes to read, in this order;
        None takes the categories of the file, in its order. Other objects are left out.
    need_files: leave out images without a file name, which cannot be opened.
    Raises UserError for a file that is not COCO JSON, has none of the classes, or contains boxes
    that are not x, y, width, height in pixels.
    """
    content, where = read_coco(source), name_of(source)
    categories = object_categories(content)
    if not categories:
        raise UserError(f"{where} has no categories; list at least one")
    if classes is None:
        classes = tuple(str(entry.get("name", entry["id"])) for entry in categories)
        category_ids = [entry["id"] for entry in categories]
    else:
        category_ids = match_classes(classes, categories, where)
    problems: list[Problem] = []
    images = collect_images(content, problems, need_files)
    reader = _Reader(categories, category_ids, problems)
    for annotation, labels, number in linked_annotations(content, images, problems):
        reader.add(annotation, labels, number)
    for name, count in reader.left_out.items():
        kind = f"objects of category {name!r} left out, the classes are {', '.join(classes)}"
        problems.append(Problem(kind, detail=f"{count} objects"))
    found = list(images.values())
    labels = BoxLabels(
        where, categories, tuple(classes), category_ids, found, problems, reader.left_out
    )
    _check_units(labels)
    return labels


class _Reader:
    """Adds annotations to the labels of their images."""

    def __init__(
        self, categories: list[dict[str, Any]], category_ids: list[Any], problems: list[Problem]
    ) -> None:
        self._names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in categories}
        self._class_of = {number: n for n, number in enumerate(category_ids) if number is not None}
        self._problems = problems
        self._known: set[tuple[Any, Any, Box]] = set()
        self.left_out: Counter[str] = Counter()

    def add(self, annotation: dict[str, Any], labels: ImageLabels, category: Any) -> None:
        """Add one annotation to its image, either as an instance or as something to ignore."""
        if category is None and len(self._names) == 1:
            category = next(iter(self._names))
        if category is None:
            kind = "annotation without a category, left out"
            self._problems.append(labels.problem(kind, annotation))
            return
        if category not in self._class_of:
            self.left_out[self._names.get(category, str(category))] += not is_crowd(annotation)
            return
        if is_crowd(annotation):
            box = box_of(annotation)
            self._problems += add_crowd(annotation, labels, box)
            if box:
                area = area_of(annotation, box)
                labels.ignored.append(Ignored(None, box, area, category, crowd=True))
            return
        box = box_of(annotation)
        kind = _fault(annotation, box, labels)
        if kind is None and (labels.image_id, category, box) in self._known:
            kind = "duplicate box, left out"
        if kind is not None:
            detail = f"bbox {annotation.get('bbox')}"
            self._problems.append(labels.problem(kind, annotation, detail))
            return
        self._known.add((labels.image_id, category, box))
        labels.boxes.append(box)
        labels.areas.append(area_of(annotation, box))
        labels.classes.append(self._class_of[category])
        labels.ids.append(annotation.get("id"))


def _fault(annotation: dict[str, Any], box: Box | None, labels: ImageLabels) -> str | None:
    """The fault of an annotation's box, or None."""
    if box is None:
        numbers = annotation.get("bbox")
        if not isinstance(numbers, list | tuple) or len(numbers) != 4:
            return "annotation without a box, left out"
        if any(abs(as_number(value) or np.inf) > LARGEST for value in numbers if value != 0):
            return "box is not finite, left out"
        return "box has no size, left out"
    x, y, width, height = box
    right, bottom = labels.width or np.inf, labels.height or np.inf
    if x >= right or y >= bottom or x + width <= 0 or y + height <= 0:
        return "box outside the image, left out"
    return None


def _check_units(labels: BoxLabels) -> None:
    """Raise UserError for normalised boxes and for boxes given as corners."""
    boxes = np.array([box for image in labels.images for box in image.boxes]).reshape(-1, 4)
    sizes = np.array(
        [(image.width, image.height) for image in labels.images for _ in image.boxes], float
    ).reshape(-1, 2)
    check_pixels(np.concatenate([boxes[:, :2], boxes[:, 2:]]), "boxes", labels.where)
    check_corner_form(boxes, sizes, labels.where)
