"""COCO JSON, also with nested or normalised keypoints, or without visibility."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import check_coco
from tagwise.data.coco_labels import (
    ImageLabels,
    as_number,
    box_of,
    collect_images,
    is_crowd,
    linked_annotations,
)
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_json
from tagwise.labels.find import finder_of
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet
from tagwise.skeletons import Skeleton
from tagwise.skeletons.stated import FLIP_KEYS

_OWN = {"id", "name", "keypoints", "skeleton"}  # values of a category that Category has itself


def read_coco_labels(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a COCO annotation file with keypoints, boxes or masks.

    Keypoints may be nested [[x, y, v], ...], without visibility [x, y, ...], or from 0 to 1.
    Raises UserError if the file is not a COCO annotation file.
    """
    content = read_json(path, "annotation file")
    check_coco(content, path)
    found = LabelSet(path, "a COCO file")
    names, types = {}, {}
    for entry in content["categories"]:
        category = _category(entry, path, found)
        found.categories.append(category)
        names[entry["id"]], types[category.name] = category.name, len(category.keypoints)
    entries = collect_images(content, found.problems)
    finder = finder_of(path, images, "images")
    every = {number: _image(labels, finder.find(labels.file)) for number, labels in entries.items()}
    only = found.categories[0].name if len(found.categories) == 1 else None
    for annotation, labels, number in linked_annotations(content, entries, found.problems):
        name = names.get(number, only)
        if name is None:
            kind = "annotation without a category, left out"
            found.problems.append(labels.problem(kind, annotation))
            continue
        instance = _instance(annotation, labels, name, types[name], found.problems)
        if instance is not None:
            every[labels.image_id].instances.append(instance)
    found.images = list(every.values())
    _undo_normalised(found)
    return found


def _image(labels: ImageLabels, path: Path | None) -> LabelledImage:
    group = labels.file.replace("\\", "/").rpartition("/")[0]
    return LabelledImage(labels.file, path, None, labels.width, labels.height, group)


def _category(entry: dict[str, Any], path: Path, found: LabelSet) -> Category:
    name = wanted = str(entry.get("name") or f"category {entry['id']}")
    while any(name == other.name for other in found.categories):
        name = f"{wanted} {entry['id']}"
        wanted = name
    extra = {key: value for key, value in entry.items() if key not in {*_OWN, *FLIP_KEYS}}
    if not entry.get("keypoints"):
        return Category(name, extra=extra)
    try:
        skeleton = Skeleton.from_coco(entry)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    stated = any(entry.get(key) for key in FLIP_KEYS)
    pairs = tuple((a, b) for a, b in enumerate(skeleton.flip) if a < b) if stated else ()
    return Category(name, tuple(map(str, entry["keypoints"])), skeleton.edges, pairs, extra)


def _instance(
    annotation: dict[str, Any], labels: ImageLabels, name: str, types: int, problems: list[Problem]
) -> Instance | None:
    keypoints, fault = read_keypoints(annotation.get("keypoints"), types)
    if fault:
        problems.append(labels.problem(fault, annotation))
    box, mask = box_of(annotation), annotation.get("segmentation") or None
    if keypoints is None and box is None and mask is None:
        if not fault:
            kind = "annotation without keypoints, box and mask, left out"
            problems.append(labels.problem(kind, annotation))
        return None
    return Instance(
        name,
        keypoints,
        box,
        mask,
        score=as_number(annotation.get("score")),
        track=annotation.get("track_id"),
        crowd=is_crowd(annotation),
    )


def read_keypoints(values: Any, types: int) -> tuple[np.ndarray | None, str | None]:
    """Keypoints (types, 3) of a COCO annotation, and what is wrong with them; either may be None.

    values: a flat or nested list of x, y, v or x, y. Without v, keypoints at 0, 0 are missing.
    """
    if not values or not types:
        return None, None
    try:
        flat = np.array(values, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None, "keypoints are not numbers, left out"
    if len(flat) == 2 * types:
        xy = flat.reshape(types, 2)
        keypoints = np.column_stack([xy, np.where((xy != 0).any(1), 2.0, 0.0)])
    elif len(flat) == 3 * types:
        keypoints = flat.reshape(types, 3)
    else:
        return None, f"annotation has the wrong number of keypoints (not {types}), left out"
    keypoints[~np.isfinite(keypoints).all(1) | (keypoints[:, 2] <= 0)] = 0
    return (keypoints if keypoints.any() else None), None


def _undo_normalised(found: LabelSet) -> None:
    """Multiply keypoints that are all from 0 to 1 by the size of their image."""
    pairs = [
        (image, each)
        for image in found.images
        for each in image.instances
        if each.keypoints is not None
    ]
    points = [each.keypoints[each.keypoints[:, 2] > 0, :2] for _, each in pairs]
    every = np.concatenate(points) if points else np.zeros((0, 2))
    known = all(image.width and image.height for image, _ in pairs)
    if len(every) < 2 or every.min() < 0 or every.max() > 1 or len(np.unique(every)) < 3:
        return
    if not known:
        raise UserError(
            f"the keypoints of {found.where} are all between 0 and 1, and its images have no width "
            "and height; add them to the file"
        )
    for image, each in pairs:
        each.keypoints[:, :2] *= (image.width, image.height)
    found.notes.append("keypoints were from 0 to 1; multiplied by the size of their image")
