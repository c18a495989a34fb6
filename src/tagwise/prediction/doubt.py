"""How unsure a model is about an image, from its results alone, and a varied choice of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tagwise.data.transforms import Affine
from tagwise.geometry import iou, to_xyxy
from tagwise.results import Result

_THUMBNAIL = 16  # pixels of a side
_SAME = 4.0  # mean difference of two thumbnails of the same view, of 255


@dataclass(frozen=True)
class Doubt:
    """How unsure a model is about an image; each value is about a number of errors, from 0.

    detection: the expected number of instances that are false or missed, by their scores.
    grouping: sum of how near the tags of each instance are to those of another one, 0 to 1 each.
    mirror: sum of how badly each instance is found in the mirrored image, 0 to 1 each; half of it,
        since an instance at another place counts in both images.
    """

    detection: float
    grouping: float
    mirror: float

    @property
    def total(self) -> float:
        """The sum, by which images are ranked; grouping and mirror count half.

        `benchmarks/suggestions.py` measures how well it ranks labelled images by their errors.
        """
        return self.detection + (self.grouping + self.mirror) / 2


def doubt_of(result: Result, threshold: float, mirrored: Result | None = None) -> Doubt:
    """Measure how unsure a model is about an image.

    result: also with instances below the threshold, since these might be missed ones.
    threshold: the score from which an instance counts as found.
    mirrored: the result of the mirrored image, in its pixels; None leaves `mirror` at 0.
    """
    likely = result.above(threshold / 2)
    return Doubt(
        float(_expected_errors(result.scores.astype(float), threshold).sum()),
        float(tag_doubt(likely).sum()),
        0.0 if mirrored is None else _mirror_doubt(likely, mirrored, threshold),
    )


def _expected_errors(scores: np.ndarray, threshold: float) -> np.ndarray:
    """The probability that an instance is false if it is shown, and missed if it is not.

    A calibrated score is the probability that the instance is right.
    """
    return np.where(scores >= threshold, 1 - scores, scores)


def tag_doubt(result: Result) -> np.ndarray:
    """How unsure the grouping of each instance is, (N,) from 0 to 1.

    With the distance a of a tag from the mean tag of its own instance, and b from the nearest other
    one, the margin (b - a) / max(a, b) is 1 for a clear case and at most 0 for one that could as
    well be grouped otherwise. The doubt is 1 minus the least margin of the instance's tags.
    """
    _, _, tags = result.tag_rows()
    count = len(tags)
    present = np.isfinite(tags).all(2) if tags.shape[2] else np.zeros(tags.shape[:2], bool)
    doubt = np.zeros(count)
    usable = np.flatnonzero(present.any(1))
    if len(usable) < 2:
        return doubt
    values = np.where(present[..., None], tags, 0).astype(float)
    means = values.sum(1) / np.maximum(present.sum(1), 1)[:, None]
    for n in usable:
        distances = np.linalg.norm(values[n, present[n], None] - means[usable], axis=-1)
        own = distances[:, usable == n][:, 0]
        other = distances[:, usable != n].min(1)
        margin = (other - own) / np.maximum(np.maximum(own, other), 1e-9)
        doubt[n] = 1 - np.clip(margin, 0, 1).min()
    return doubt


def _mirror_doubt(result: Result, mirrored: Result, threshold: float) -> float:
    """How much the instances of an image and of its mirror image differ, see `Doubt`."""
    if not len(result) and not len(mirrored):
        return 0.0
    back = mirrored.transform(Affine.mirror(mirrored.width).matrix)
    overlap = iou(_grown(result), _grown(back))
    lost = 1 - overlap.max(1, initial=0)[result.scores >= threshold]
    extra = 1 - overlap.max(0, initial=0)[back.scores >= threshold]
    return float(lost.sum() + extra.sum()) / 2


def _grown(result: Result) -> np.ndarray:
    """Boxes (N, 4) as x1, y1, x2, y2 with a margin, so that a line of keypoints has an area."""
    boxes = to_xyxy(result.boxes.astype(float))
    margin = np.maximum(2.0, 0.1 * result.boxes[:, 2:].max(1, initial=0, keepdims=True))
    return boxes + np.concatenate([-margin, -margin, margin, margin], 1)


# ---------------------------------------------------------------------- a varied choice


def thumbnail(image: np.ndarray) -> np.ndarray:
    """A very small version of an image (H, W, 3) uint8, by which similar views are recognised."""
    side = (_THUMBNAIL, _THUMBNAIL)
    return cv2.resize(image, side, interpolation=cv2.INTER_AREA).astype(np.float32)


def choose_varied(
    doubts: Sequence[float],
    places: Sequence[tuple[str, int]],
    thumbnails: Sequence[np.ndarray],
    count: int,
) -> list[int]:
    """Choose the most doubtful images, without neighbours in time and without repeated views.

    places: for each image its sequence, such as a video, and its number in that. A sequence of n
        images, of which all `count` might come, has choices at least n / (2 count) apart.
    thumbnails: see `thumbnail`; nearly equal ones are the same view.

    Returns at most `count` indices, the most doubtful first.
    """
    lengths: dict[str, list[int]] = defaultdict(list)
    for sequence, number in places:
        lengths[sequence].append(number)
    chosen: list[int] = []
    for index in np.argsort(-np.asarray(doubts, float), kind="stable"):
        sequence, number = places[index]
        spread = max(lengths[sequence]) - min(lengths[sequence]) + 1
        apart = spread / (2 * count)
        near = any(
            (places[k][0] == sequence and abs(places[k][1] - number) < apart)
            or np.abs(thumbnails[k] - thumbnails[index]).mean() < _SAME
            for k in chosen
        )
        if not near:
            chosen.append(int(index))
        if len(chosen) == count:
            break
    return chosen
