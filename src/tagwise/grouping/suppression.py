"""Suppression of boxes that overlap a better box of their class, or reduction of their scores."""

from __future__ import annotations

import numpy as np

from tagwise.geometry import pair_iou
from tagwise.runtime import compiled

METHODS = ("hard", "linear", "exp")


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray | None = None,
    method: str = "exp",
    overlap: float = 0.5,
    sigma: float = 0.5,
    least: float = 0.001,
    inclusive: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Soft non-maximum suppression within each class: Bodla et al. 2017, section 3.

    The best box is selected, and the scores of the others are multiplied by a function of their
    intersection over union with it. This is repeated with the remaining boxes:

        exp     exp(-IoU^2 / sigma)
        linear  1 - IoU where IoU > overlap, else 1
        hard    0 where IoU > overlap, else 1: the ordinary suppression

    boxes: (N, 4), x1, y1, x2, y2; scores: (N,); classes: (N,), or None if all have the same class.
    least: overlapping boxes whose score falls below this are dropped.
    inclusive: x2 and y2 are the last pixel, so that a side is x2 - x1 + 1. With sigma and overlap
        .5, the results are those of the published code of CornerNet.

    Returns the indices (M,) int64 of the boxes that are kept, best first, and their scores (M,)
    float32. Boxes whose score is NaN are left out.

    >>> index, scores = soft_nms(np.array([[0, 0, 4, 4], [0, 0, 4, 4]]), np.array([0.5, 0.9]))
    >>> index.tolist(), scores.round(2).tolist()
    ([1, 0], [0.8999999761581421, 0.07000000029802322])
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, not one of {', '.join(METHODS)}")
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores = np.array(scores, np.float64)
    classes = np.zeros(len(boxes), np.int64) if classes is None else np.asarray(classes, np.int64)
    if not len(boxes) == len(scores) == len(classes):
        raise ValueError(f"{len(boxes)} boxes, {len(scores)} scores, {len(classes)} classes")
    sides = float(inclusive)
    index = _soften(boxes, scores, classes, METHODS.index(method), overlap, sigma, least, sides)
    return index, scores[index].astype(np.float32)


@compiled()
def _soften(boxes, scores, classes, method, overlap, sigma, least, extra):
    """The indices of the kept boxes in the order of selection; changes the scores in place."""
    count = len(boxes)
    remaining, selected = np.ones(count, np.bool_), np.empty(count, np.int64)
    for number in range(count):
        best, highest = -1, -np.inf
        for n in range(count):
            if remaining[n] and scores[n] > highest:
                best, highest = n, scores[n]
        if best < 0:
            return selected[:number]
        remaining[best], selected[number] = False, best
        for n in range(count):
            if remaining[n] and classes[n] == classes[best]:
                shared = pair_iou(boxes[best], boxes[n], extra)
                if shared > 0:
                    scores[n] *= _weight(shared, method, overlap, sigma)
                    remaining[n] = scores[n] >= least
    return selected


@compiled(inline="always")
def _weight(shared, method, overlap, sigma):
    if method == 2:
        return np.exp(-shared * shared / sigma)
    if shared <= overlap:
        return 1.0
    return 1.0 - shared if method == 1 else 0.0
