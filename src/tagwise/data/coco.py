"""Any keypoint dataset in COCO's format, as samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import (
    ImageLabels,
    add_crowd,
    area_of,
    box_of,
    collect_labels,
    pick_category,
    read_coco,
)
from tagwise.data.instances import keep_instances
from tagwise.data.photos import Photos
from tagwise.data.regions import paint_region
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.seen import Seen
from tagwise.data.transforms import reduced
from tagwise.errors import UserError, unknown_name
from tagwise.geometry import keypoint_boxes
from tagwise.skeletons import Skeleton, name_words


class CocoKeypoints(Photos):
    """The images and instances of a COCO keypoint file.

    annotations: the JSON file. images: the folder that its file names start from.
    skeleton: the keypoint types that samples shall have; None takes those of the file.
    mapping: {type of the skeleton: type of the file, or None for none}, for names that differ;
        names that are equal but for case and joining need no entry. Types that the file has not,
        or never labels, are False in Sample.labelled and give no loss.
    category: its name where several have keypoints; None takes the first.
    ignore_results: COCO results of another model for these images, in types of `skeleton`; what
        it saw beyond the labelled instances is somebody without labels, and ignored.
    fill_results: the least score at which those results also lend the labelled instances the
        types that the file never labels; None lends none.

    Crowd regions and instances without any labelled keypoint are True in Sample.ignore.
    `report` lists every fault that was found; what is faulty is left out, and only a file that
    is no COCO keypoint JSON, or leaves no image, raises UserError.

    >>> data = CocoKeypoints("robots/val.json", "robots/images")  # doctest: +SKIP
    >>> data[0].keypoints.shape  # doctest: +SKIP
    (2, 6, 3)
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        skeleton: Skeleton | None = None,
        mapping: Mapping[str, str | None] | None = None,
        *,
        category: str | None = None,
        ignore_results: str | Path | None = None,
        fill_results: float | None = None,
    ) -> None:
        self.annotations, self.images = Path(annotations), Path(images)
        content = read_coco(self.annotations)
        entry = pick_category(content, self.annotations, category)
        self.source = Skeleton.from_coco(entry)
        self.skeleton = skeleton or self.source
        self.category_id = entry["id"]
        self.columns = match_types(self.skeleton, self.source, mapping or {}, self.annotations)
        labels, self.report = collect_labels(content, partial(_add_annotation, category=entry))
        self._labels = self._existing(labels)
        self.labelled = self._labelled_types()
        self._seen = Seen(ignore_results, self.skeleton, fill_results) if ignore_results else None

    def _labelled_types(self) -> np.ndarray:
        """Which of the K types this set labels anywhere; bool (K,)."""
        ever = np.zeros(len(self.source), bool)
        for image in self._labels:
            for keypoints in image.keypoints:
                ever |= keypoints[:, 2] > 0
        return np.array([column >= 0 and bool(ever[column]) for column in self.columns])

    @property
    def flip(self) -> tuple[int, ...]:
        """The type that each keypoint type becomes in a mirror."""
        return self.skeleton.flip

    def labels_of_task(self) -> dict[str, Any]:
        """The options of a task that the labels settle."""
        return {"skeleton": self.skeleton.to_dict()}

    def instances(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, K, 3), boxes (N, 4) and areas (N,) of an image, float32, unread."""
        image = self._labels[index]
        count = len(image.keypoints)
        keypoints = np.zeros((count, len(self.skeleton), 3), np.float32)
        has = self.columns >= 0
        if count:
            keypoints[:, has] = np.stack(image.keypoints)[:, self.columns[has]]
        boxes = np.array(image.boxes, np.float32).reshape(count, 4)
        return keypoints, boxes, np.array(image.areas, np.float32)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see Photos.load."""
        labels = self._labels[index]
        image = self._read(index, reduce)
        keypoints, boxes, areas = self.instances(index)
        width, height = labels.width, labels.height
        if width is None or height is None:
            height, width = (side * reduce for side in image.shape[:2])
        ignore = np.zeros((height, width), bool)
        for region in labels.regions:
            paint_region(ignore, region)
        sample = Sample(
            image=image,
            keypoints=keypoints,
            boxes=boxes,
            areas=areas,
            ignore=ignore,
            labelled=self.labelled.copy(),
            image_id=labels.image_id,
            file=labels.file,
        )
        sample = _without_unmapped(sample)
        if self._seen is not None:
            sample = self._seen.apply(sample)
        return reduced(sample, reduce)


def match_types(
    target: Skeleton, source: Skeleton, mapping: Mapping[str, str | None], where: Path
) -> np.ndarray:
    """For each type of the target its column in the source, -1 for none; int64 (K,)."""
    by_words = {name_words(name): k for k, name in enumerate(source.keypoints)}
    for name, other in mapping.items():
        if name not in target.keypoints:
            raise unknown_name(f"keypoint in the mapping for {where}:", name, target.keypoints)
        if other is not None and other not in source.keypoints:
            raise unknown_name(f"keypoint of {where}:", other, source.keypoints)
    columns = []
    for name in target.keypoints:
        other = mapping.get(name, name)
        columns.append(-1 if other is None else by_words.get(name_words(other), -1))
    if max(columns) < 0:
        raise UserError(
            f"{where} has none of the keypoints {', '.join(target.keypoints)}; "
            f"map them to its own: {', '.join(source.keypoints)}"
        )
    return np.array(columns)


def _without_unmapped(sample: Sample) -> Sample:
    """Ignore the boxes of instances that have keypoints, but none of the wanted types."""
    empty = ~(sample.keypoints[..., 2] > 0).any(1)
    for box in sample.boxes[empty]:
        paint_region(sample.ignore, tuple(box))
    return keep_instances(sample, ~empty)


def _add_annotation(annotation: dict, labels: ImageLabels, category: dict) -> Iterator[Problem]:
    """Add one annotation to its image: as an instance, or as a region to ignore."""
    if annotation.get("category_id", category["id"]) != category["id"]:
        return
    if annotation.get("iscrowd"):
        yield from add_crowd(annotation, labels)
        return
    where = (labels.file, labels.image_id, annotation["id"])
    box = box_of(annotation)
    keypoints, faults = _keypoints(annotation, len(category["keypoints"]), labels)
    yield from (Problem(kind, *where, detail) for kind, detail in faults)
    if keypoints is None or not keypoints[:, 2].any():
        if box:  # something is there, but nobody said what: no place to learn background
            labels.regions.append(box)
        return
    if not box:
        if "bbox" in annotation:
            detail = f"bbox {annotation['bbox']}"
            yield Problem("box has no size, taken from the keypoints", *where, detail)
        box = _box_around(keypoints)
    labels.keypoints.append(keypoints)
    labels.boxes.append(box)
    labels.areas.append(area_of(annotation, box))
    labels.ids.append(annotation["id"])


def _keypoints(
    annotation: dict, types: int, labels: ImageLabels
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """The keypoints (S, 3) of an annotation, None if it has none to use, and its faults."""
    values = annotation.get("keypoints")
    if values is None:
        return None, []
    if not isinstance(values, list) or len(values) != 3 * types:
        count = len(values) if isinstance(values, list) else 0
        fault = "annotation has a wrong number of keypoints, left out"
        return None, [(fault, f"{count} numbers, not {3 * types}")]
    try:
        keypoints = np.array(values, np.float32).reshape(types, 3)
    except (TypeError, ValueError):
        return None, [("keypoints are no numbers, annotation left out", "")]
    faults = []
    broken = ~np.isfinite(keypoints).all(1)
    if broken.any():
        faults.append(("keypoint is not finite, left out", f"types {np.flatnonzero(broken)}"))
        keypoints[broken] = 0
    size = np.array([labels.width or math.inf, labels.height or math.inf])
    # a label on the very edge counts from the pixel's corner and may say x = width
    far = ((keypoints[:, :2] < -1) | (keypoints[:, :2] > size)).any(1) & (keypoints[:, 2] > 0)
    if far.any():
        detail = f"types {np.flatnonzero(far)} at {keypoints[far, :2].tolist()}"
        faults.append(("keypoint outside the image, left out", detail))
        keypoints[far] = 0
    keypoints[keypoints[:, 2] <= 0] = 0
    return keypoints, faults


def _box_around(keypoints: np.ndarray) -> tuple[float, ...]:
    """The box around labelled keypoints (S, 3), at least one pixel wide and high."""
    return tuple(keypoint_boxes(keypoints[None], least=1.0)[0].tolist())
