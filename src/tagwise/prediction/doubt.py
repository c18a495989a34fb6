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

_WORST = 3  # the instances of an image whose mean counts: more would hide a few unsure ones
_THUMBNAIL = 16  # pixels of a side
_SAME = 4.0  # mean difference of two thumbnails of the same view, of 255


@dataclass(frozen=True)
class Doubt:
    """How unsure a model is about an image; each value is from 0, sure, to 1.

    detection: how near scores are to the threshold. grouping: how near tags are to those of another
    instance. mirror: how much the result of the mirrored image differs.
    """

    detection: float
    grouping: float
    mirror: float

    @property
    def total(self) -> float:
        """The mean of the three, by which images are ranked."""
        return (self.detection + self.grouping + self.mirror) / 3


def doubt_of(result: Result, threshold: float, mirrored: Result | None = None) -> Doubt:
    """Measure how unsure a model is about an image.

    result: also with instances below the threshold, since these might be missed ones.
    threshold: the score from which an instance counts as found.
    mirrored: the result of the mirrored image, in its pixels; None leaves `mirror` at 0.
    """
    likely = result.above(threshold / 2)
    return Doubt(
        _worst(_near(result.scores.astype(float), threshold)),
        _worst(tag_doubt(likely)),
        0.0 if mirrored is None else _mirror_doubt(likely, mirrored, threshold),
    )


def _near(scores: np.ndarray, threshold: float) -> np.ndarray:
    """How near scores are to the threshold: 1 at it, falling to 0 at the scores 0 and 1."""
    below = scores / max(threshold, 1e-6)
    above = (1 - scores) / max(1 - threshold, 1e-6)
    return np.clip(np.minimum(below, above), 0, 1)


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
    """How much the instances of an image and of its mirror image differ, from 0 to 1."""
    if not len(result) and not len(mirrored):
        return 0.0
    back = mirrored.transform(Affine.mirror(mirrored.width).matrix)
    overlap = iou(_grown(result), _grown(back))
    lost = [1 - overlap.max(1, initial=0)[result.scores >= threshold]]
    lost.append(1 - overlap.max(0, initial=0)[back.scores >= threshold])
    return _worst(np.concatenate(lost))


def _grown(result: Result) -> np.ndarray:
    """Boxes (N, 4) as x1, y1, x2, y2 with a margin, so that a line of keypoints has an area."""
    boxes = to_xyxy(result.boxes.astype(float))
    margin = np.maximum(2.0, 0.1 * result.boxes[:, 2:].max(1, initial=0, keepdims=True))
    return boxes + np.concatenate([-margin, -margin, margin, margin], 1)


def _worst(values: np.ndarray) -> float:
    """The mean of the largest values; 0 without any."""
    return float(np.sort(values)[-_WORST:].mean()) if len(values) else 0.0


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
