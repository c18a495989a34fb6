"""Suppression: against a slow reference and the formulas, and invariants."""

import numpy as np
import pytest

from tagwise.grouping.suppression import METHODS, soft_nms


def _boxes(seed, count=60, classes=3):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 20, (count, 2))], axis=1)
    return boxes, rng.uniform(0.05, 1, count), rng.integers(classes, size=count)


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area - shared)


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_hard_suppression_keeps_boxes_that_no_better_kept_box_overlaps(overlap):
    boxes, scores, classes = _boxes(1)
    expected = []
    for n in np.argsort(-scores):
        alike = [m for m in expected if classes[m] == classes[n]]
        if all(_iou(boxes[m], boxes[n]) <= overlap for m in alike):
            expected.append(n)
    index, kept = soft_nms(boxes, scores, classes, "hard", overlap)
    assert index.tolist() == expected
    assert kept == pytest.approx(scores[expected])
    assert len(expected) < len(boxes)


def test_scores_follow_the_published_formulas():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 6], [4, 0, 14, 10], [40, 40, 50, 50]])
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    of = [1.0, np.exp(-(0.6**2) / 0.5), np.exp(-((60 / 140) ** 2) / 0.5), 1.0]
    of[1] *= np.exp(-((36 / 124) ** 2) / 0.5)  # again by the third box, which is selected earlier
    index, exp = soft_nms(boxes, scores)
    assert index.tolist() == [0, 3, 2, 1]
    assert exp == pytest.approx((scores * of)[index])
    index, linear = soft_nms(boxes, scores, method="linear")
    assert index.tolist() == [0, 2, 3, 1]
    assert linear == pytest.approx([0.9, 0.7, 0.6, 0.8 * 0.4])


@pytest.mark.parametrize("method", METHODS)
def test_classes_are_suppressed_separately(method):
    boxes, scores, classes = _boxes(2)
    index, kept = soft_nms(boxes, scores, classes, method)
    assert (np.diff(kept) <= 0).all()
    together = dict(zip(index.tolist(), kept.tolist()))
    apart = {}
    for number in range(3):
        own = np.flatnonzero(classes == number)
        index, kept = soft_nms(boxes[own], scores[own], method=method)
        apart |= zip(own[index].tolist(), kept.tolist())
    assert together == apart


def test_empty_nan_and_zero_area_input():
    index, scores = soft_nms(np.zeros((0, 4)), np.zeros(0))
    assert (len(index), len(scores)) == (0, 0)
    boxes = np.array([[0, 0, 4, 4], [1, 1, 1, 1], [0, 0, np.inf, np.nan], [0, 0, 4, 4]])
    index, scores = soft_nms(boxes, np.array([0.5, 0.4, 0.3, np.nan]), method="hard")
    assert index.tolist() == [0, 1, 2]


def test_errors_name_the_invalid_argument():
    with pytest.raises(ValueError, match="'soft', not one of hard, linear, exp"):
        soft_nms(np.zeros((1, 4)), np.zeros(1), method="soft")
    with pytest.raises(ValueError, match="2 boxes, 1 scores"):
        soft_nms(np.zeros((2, 4)), np.zeros(1))
