"""Results of another model as weak labels, for photos in which some instances are unlabelled."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from tagwise.data.regions import paint_region
from tagwise.data.sample import Sample
from tagwise.errors import UserError
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
        self.sigmas, self.fill = np.array(skeleton.sigmas, np.float32), fill
        results = read_json(path)
        if not isinstance(results, list):
            raise UserError(f"{path} is not a COCO results file: it does not contain a list")
        self._by_image: dict[int, np.ndarray] = {}
        found: dict[int, list] = defaultdict(list)
        for entry in results:
            values = entry.get("keypoints") if isinstance(entry, dict) else None
            if not _are_numbers(values) or len(values) != 3 * len(skeleton):
                raise UserError(
                    f"{path}: a result without {len(skeleton)} keypoints; it must come from a "
                    f"model of the same skeleton ({', '.join(skeleton.keypoints)})"
                )
            found[entry.get("image_id")].append(values)
        for image_id, people in found.items():
            keypoints = np.array(people, np.float32).reshape(-1, len(skeleton), 3)
            self._by_image[image_id] = np.nan_to_num(keypoints, posinf=0.0, neginf=0.0)

    def apply(self, sample: Sample) -> Sample:
        """Add the weak labels of its image to a sample, which is in pixels of the annotations."""
        results = self._by_image.get(sample.image_id)
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


def _are_numbers(values) -> bool:
    return isinstance(values, list) and all(isinstance(v, int | float) for v in values)


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
