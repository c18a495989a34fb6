"""The keypoints of a COCO file, read once for training, validation, evaluation and results."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import name_of, pick_category, read_coco
from tagwise.data.coco_labels import (
    LARGEST,
    Box,
    Ignored,
    ImageLabels,
    add_crowd,
    area_of,
    box_of,
    collect_images,
    is_crowd,
    linked_annotations,
)
from tagwise.data.plausibility import check_corner_form, check_pixels
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.geometry import keypoint_boxes, least_side
from tagwise.skeletons import Skeleton


@dataclass(frozen=True)
class KeypointLabels:
    """The valid labels of a COCO keypoint file.

    where: the name of the file, for errors. category: the entry of the category.
    skeleton: the S keypoint types of the category. images: the labels of each image, in the order
    of the file. problems: the faults that were repaired or left out.
    """

    where: str
    category: dict[str, Any]
    skeleton: Skeleton
    images: list[ImageLabels]
    problems: list[Problem]

    def labelled_types(self) -> np.ndarray:
        """(S,) bool, True for the types that are labelled in at least one instance."""
        ever = np.zeros(len(self.skeleton), bool)
        for image in self.images:
            for keypoints in image.keypoints:
                ever |= keypoints[:, 2] > 0
        return ever


def read_keypoint_labels(
    source: str | Path | dict[str, Any], category: str | None = None, need_files: bool = True
) -> KeypointLabels:
    """Read the keypoint labels of a COCO file.

    source: the file, or its content. category: the name of the category with keypoints to read;
        None takes the first one that has annotations.
    need_files: leave out images without a file name, which cannot be opened.
    Raises UserError for a file that is not COCO keypoint JSON, and for coordinates that are not in
    pixels.
    """
    content, where = read_coco(source), name_of(source)
    entry = pick_category(content, where, category)
    try:
        skeleton = Skeleton.from_coco(entry)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    problems: list[Problem] = []
    images = collect_images(content, problems, need_files)
    others = Counter[str]()
    names = {each["id"]: str(each.get("name")) for each in content["categories"]}
    selected: list[tuple[dict[str, Any], ImageLabels]] = []
    for annotation, labels, number in linked_annotations(content, images, problems):
        if number in (None, entry["id"]):
            selected.append((annotation, labels))
        else:
            others[names[number]] += 1
    for name, count in others.items():
        kind = f"annotations of category {name!r} left out, only {skeleton.name!r} is read"
        problems.append(Problem(kind, detail=f"{count} annotations"))
    for (annotation, labels), keypoints in zip(
        selected, _keypoints(selected, len(skeleton), problems)
    ):
        _add(annotation, labels, keypoints, entry["id"], problems)
    found = KeypointLabels(where, entry, skeleton, list(images.values()), problems)
    _check_units(found)
    return found


def _add(
    annotation: dict[str, Any],
    labels: ImageLabels,
    keypoints: np.ndarray | None,
    category: Any,
    problems: list[Problem],
) -> None:
    """Add one annotation to its image, either as an instance or as something to ignore."""
    box = box_of(annotation)
    if is_crowd(annotation):
        around = box or (None if keypoints is None else _box_around(keypoints, labels))
        problems += add_crowd(annotation, labels, box)
        if around:
            area = area_of(annotation, around)
            labels.ignored.append(Ignored(keypoints, around, area, category, crowd=True))
        return
    if keypoints is None:
        if box:  # an instance without labelled keypoints is not background
            labels.regions.append(box)
            area = area_of(annotation, box)
            labels.ignored.append(Ignored(None, box, area, category, crowd=False))
        return
    if not box:
        if annotation.get("bbox") is not None:
            detail = f"bbox {annotation['bbox']}"
            problems.append(
                labels.problem("box has no size, taken from the keypoints", annotation, detail)
            )
        box = _box_around(keypoints, labels)
        if len(np.unique(keypoints[keypoints[:, 2] > 0, :2], axis=0)) == 1:
            kind = "instance of one keypoint without a box, its size is assumed"
            problems.append(labels.problem(kind, annotation, f"{box[2]:.0f} × {box[3]:.0f} pixels"))
    labels.keypoints.append(keypoints)
    labels.boxes.append(box)
    labels.areas.append(area_of(annotation, box))
    labels.ids.append(annotation.get("id"))


# ---------------------------------------------------------------------- keypoints


def _keypoints(
    selected: list[tuple[dict[str, Any], ImageLabels]], types: int, problems: list[Problem]
) -> list[np.ndarray | None]:
    """The keypoints (S, 3) float64 of each annotation; None where no keypoint is labelled."""
    arrays = _read_together([annotation for annotation, _ in selected], types)
    if arrays is None:
        arrays = []
        for annotation, labels in selected:
            values, fault = _read_one(annotation.get("keypoints"), types)
            arrays.append(values)
            if fault:
                problems.append(labels.problem(fault[0], annotation, fault[1]))
    indices = [n for n, keypoints in enumerate(arrays) if keypoints is not None]
    sizes = np.array(
        [(selected[n][1].width or LARGEST, selected[n][1].height or LARGEST) for n in indices]
    )
    every = np.array([arrays[n] for n in indices]).reshape(-1, types, 3)
    unlabelled = ~(every[..., 2] > 0) & np.isfinite(every[..., 2])
    every[unlabelled] = 0
    every[..., 2] = np.minimum(every[..., 2], 2)  # a confidence, or any other sign of a label
    broken = ~np.isfinite(every).all(2)
    every[broken] = 0
    # Some programs measure from the corner of the first pixel, so that x = width can occur.
    xy = every[..., :2]
    outside = ((xy < -1) | (xy > sizes.reshape(-1, 1, 2))).any(2) & (every[..., 2] > 0)
    for row in np.flatnonzero((broken | outside).any(1)):
        annotation, labels = selected[indices[row]]
        if broken[row].any():
            detail = f"types {np.flatnonzero(broken[row])}"
            problems.append(labels.problem("keypoint is not finite, left out", annotation, detail))
        if outside[row].any():
            detail = f"types {np.flatnonzero(outside[row])} at {xy[row, outside[row]].tolist()}"
            problems.append(
                labels.problem("keypoint outside the image, left out", annotation, detail)
            )
    every[outside] = 0
    for n, keypoints, labelled in zip(indices, every, (every[..., 2] > 0).any(1)):
        arrays[n] = keypoints if labelled else None
    return arrays


def _read_together(annotations: list[dict[str, Any]], types: int) -> list[np.ndarray | None] | None:
    """The keypoints (S, 3) of all annotations, if each has a list of 3 S numbers; None otherwise.

    This is the usual case, and many times faster than reading one annotation after the other.
    """
    values = [annotation.get("keypoints") for annotation in annotations]
    if not all(type(each) is list and len(each) == 3 * types for each in values):
        return None
    try:
        return list(np.array(values, np.float64).reshape(len(values), types, 3))
    except (TypeError, ValueError):
        return None


def _read_one(values: Any, types: int) -> tuple[np.ndarray | None, tuple[str, str] | None]:
    """The keypoints (S, 3) of one annotation and the fault, (kind, detail); either may be None."""
    if values is None or (isinstance(values, list) and not values):
        return None, None
    flat = values
    if isinstance(values, list) and all(isinstance(each, list | tuple) for each in values):
        flat = [number for each in values for number in each]
    count = len(flat) if isinstance(flat, list) else 0
    if count not in (2 * types, 3 * types):
        fault = "annotation has the wrong number of keypoints, left out"
        return None, (fault, f"{count} numbers, expected {3 * types}")
    try:
        keypoints = np.array(flat, np.float64).reshape(types, -1)
    except (TypeError, ValueError):
        return None, ("keypoints are not numbers, annotation left out", "")
    if count == 3 * types:
        return keypoints, None
    visible = np.where((np.isfinite(keypoints) & (keypoints != 0)).any(1), 2.0, 0.0)
    fault = "keypoints without visibility, treated as visible unless they are 0, 0"
    return np.column_stack([keypoints, visible]), (fault, "")


def _box_around(keypoints: np.ndarray, labels: ImageLabels) -> Box:
    """The box around labelled keypoints (S, 3); a side below one pixel becomes `least_side`."""
    tight = keypoint_boxes(keypoints[None])[0]
    grown = keypoint_boxes(keypoints[None], least_side(labels.width, labels.height))[0]
    return tuple(np.where(np.tile(tight[2:] < 1, 2), grown, tight).tolist())


def _check_units(labels: KeypointLabels) -> None:
    """Raise UserError for normalised keypoints and for boxes given as corners."""
    people = [keypoints for image in labels.images for keypoints in image.keypoints]
    if not people:
        return
    every = np.concatenate(people)
    check_pixels(every[every[:, 2] > 0, :2], "keypoints", labels.where)
    boxes = np.array([box for image in labels.images for box in image.boxes])
    sizes = np.array(
        [(image.width, image.height) for image in labels.images for _ in image.boxes], float
    )
    check_corner_form(boxes, sizes, labels.where)
