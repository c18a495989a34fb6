"""Results of another model as weak labels, for photos in which some instances are unlabelled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import Ids, is_id
from tagwise.data.coco_labels import LARGEST
from tagwise.data.regions import paint_region
from tagwise.data.sample import Sample
from tagwise.errors import UserError, brief
from tagwise.files import read_json
from tagwise.geometry import iou, keypoint_boxes, oks, to_xyxy
from tagwise.skeletons import Skeleton

_SAME_OKS = 0.3  # OKS from which a result is the same instance as a labelled one
_FILL_OKS = 0.5  # OKS from which a result may add keypoints to a labelled instance
_SAME_IOU = 0.5
_CONFIDENT = 0.1  # keypoints with a lower score do not locate the instance
_GROW = 0.15  # margin of boxes: keypoints end at ankles and eyes, bodies at soles and hair
_KEEP = 0.08  # radius around labelled keypoints that is not ignored, relative to the instance


class WeakLabels:
    """Results of another model, used as weak labels.

    path: COCO results (a list of image_id, keypoints, score). skeleton: its K keypoint types.
    fill: the minimum score of keypoints to add to the labelled instance that the result matches.
        Only types that the dataset never labels are added. None adds no keypoints.

    A result that matches no labelled instance is treated as an unlabelled instance: its box is
    ignored, except close to labelled keypoints.
    """

    def __init__(self, path: str | Path, skeleton: Skeleton, fill: float | None = None) -> None:
        self.path, self.fill = path, fill
        self.sigmas = np.array(skeleton.sigmas, np.float32)
        results = read_json(path)
        if not isinstance(results, list):
            raise UserError(f"{path} is not a COCO results file: it does not contain a list")
        self._by_image: dict[Any, np.ndarray] = {}
        found: dict[Any, list] = defaultdict(list)
        for entry in results:
            entry = entry if isinstance(entry, dict) else {}
            values = _numbers(entry.get("keypoints"), 3 * len(skeleton))
            if values is None:
                raise UserError(
                    f"{path}: a result without {len(skeleton)} keypoints; it must come from a "
                    f"model of the same skeleton ({', '.join(skeleton.keypoints)})"
                )
            number = entry.get("image_id")
            if not is_id(number):
                raise UserError(f"{path}: a result has the image_id {brief(number)}; give a number")
            found[number].append(values)
        for image_id, people in found.items():
            keypoints = np.array(people, np.float64).reshape(-1, len(skeleton), 3)
            usable = (np.abs(keypoints) <= LARGEST).all(2, keepdims=True)  # False for NaN
            self._by_image[image_id] = np.where(usable, keypoints, 0).astype(np.float32)
        self._ids = Ids(self._by_image)

    def require_one_of(self, image_ids: Iterable[Any]) -> None:
        """Raise UserError if there are results, but none of these images."""
        if self._by_image and all(self._ids.find(number) is None for number in image_ids):
            raise UserError(
                f"{self.path} has results of {len(self._by_image)} images, and none is an image of "
                "this set; give results of the same images, with their ids"
            )

    def apply(self, sample: Sample) -> Sample:
        """Add the weak labels of its image to a sample, which is in pixels of the annotations."""
        results = self._by_image.get(self._ids.find(sample.image_id))
        if results is None:
            return sample
        similarity = oks(results, sample.keypoints, np.maximum(sample.areas, 1), self.sigmas)
        same = (similarity >= _SAME_OKS).any(1)
        for result, known in zip(results, same):
            box = _box(result)
            if known or box is None:
                continue
            if iou(to_xyxy(box), to_xyxy(sample.boxes)).max(initial=0) < _SAME_IOU:
                _ignore(sample, box)
        return self._filled(sample, results, similarity) if self.fill is not None else sample

    def _filled(self, sample: Sample, results: np.ndarray, similarity: np.ndarray) -> Sample:
        """Add keypoints of types that the dataset never labels.

        A type counts as labelled in this image if every instance either has it with a score of at
        least `fill`, or has it with less than a third of that score. Otherwise the type
        contributes no loss.
        """
        keypoints, missing = sample.keypoints.copy(), ~sample.labelled
        known = missing.copy()
        for person, column in enumerate(similarity.T):
            best = results[column.argmax()]
            if column.max() < _FILL_OKS:
                known[:] = False
                break
            found = missing & (best[:, 2] >= self.fill)
            known &= found | (best[:, 2] < self.fill / 3)
            keypoints[person, found, :2] = best[found, :2]
            keypoints[person, found, 2] = 2
        keypoints[:, missing & ~known] = 0
        return replace(sample, keypoints=keypoints, labelled=sample.labelled | known)


def _numbers(values: Any, count: int) -> list[float] | None:
    """Convert `count` numbers, some of which may be NaN, to floats; None for anything else."""
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(isinstance(value, int | float) for value in values):
        return None
    try:
        return [float(value) for value in values]
    except OverflowError:
        return None


def _box(result: np.ndarray) -> tuple[float, ...] | None:
    """The box (x, y, width, height) around a result (K, 3), with a margin; None if uncertain."""
    confident = result[result[:, 2] >= _CONFIDENT]
    if len(confident) < 2:
        return None
    x, y, width, height = keypoint_boxes(confident[None])[0].tolist()
    margin = _GROW * max(width, height)
    return x - margin, y - margin, width + 2 * margin, height + 2 * margin


def _ignore(sample: Sample, box: tuple[float, ...]) -> None:
    """Ignore a box, in place, except close to labelled keypoints."""
    region = np.zeros_like(sample.ignore)
    paint_region(region, box)
    for keypoints, size in zip(sample.keypoints, sample.boxes[:, 2:].max(1)):
        radius = max(4.0, _KEEP * float(size))
        for x, y, _ in keypoints[keypoints[:, 2] > 0]:
            low = [max(0, round(float(v) - radius)) for v in (y, x)]
            high = [max(0, round(float(v) + radius) + 1) for v in (y, x)]
            region[low[0] : high[0], low[1] : high[1]] = False
    sample.ignore |= region
