"""True corners and offsets for the oracles; test_scoring.py tests the complete oracles."""

import numpy as np
import torch

from tagwise.evaluation.corner_oracles import true_corners, with_true_offsets
from tagwise.grouping.corner_peaks import CornerPeaks

W, H = 9, 7


def random_boxes(rng, N):
    low = rng.uniform(0, 4, (N, 2))
    return np.concatenate([low, low + rng.uniform(0.5, 2.9, (N, 2))], axis=1)


def test_true_corners_have_the_tags_and_offsets_of_their_cells():
    rng = np.random.default_rng(0)
    boxes, classes = random_boxes(rng, 6), rng.integers(0, 3, 6)
    boxes[0] = (-2, 0.5, W, H)  # beyond the left edge, and on the right and lower one
    shapes = {"tag": 2, "off": 2}
    outputs = {
        f"{corner}_{name}": torch.from_numpy(rng.normal(size=(1, channels, H, W)))
        for corner in ("tl", "br")
        for name, channels in shapes.items()
    }
    peaks = true_corners(boxes, classes, outputs)
    expected = []
    for number, corner in enumerate(("tl", "br")):
        for box, kind in zip(boxes, classes):
            column = min(max(int(np.floor(box[2 * number])), 0), W - 1)
            row = min(max(int(np.floor(box[2 * number + 1])), 0), H - 1)
            tag = outputs[f"{corner}_tag"][0, :, row, column].tolist()
            dx, dy = outputs[f"{corner}_off"][0, :, row, column].tolist()
            expected.append((number, row, column, column + dx, row + dy, kind, *tag))
    side = np.arange(len(peaks)) >= peaks.starts[0, 1]
    found = np.c_[side, peaks.cells[:, ::-1], peaks.xy, peaks.classes, peaks.tags]
    by_place = sorted(map(tuple, found.tolist()))
    np.testing.assert_allclose(by_place, sorted(expected), atol=1e-5)
    assert peaks.starts.tolist() == [[0, 6, 12]]
    assert (peaks.scores == 1).all()


def test_true_corners_are_sorted_by_position():
    """In the order of the objects, corners of equal tags would be paired correctly by chance."""
    boxes = np.array([[5, 5, 6, 6], [1, 1, 2, 2], [3, 1, 8, 3.0]])
    flat = torch.zeros(1, 1, H, W)
    outputs = {f"{c}_tag": flat for c in ("tl", "br")}
    outputs |= {f"{c}_off": flat.expand(1, 2, H, W) for c in ("tl", "br")}
    peaks = true_corners(boxes, np.zeros(3, np.int64), outputs)
    assert peaks.cells.tolist() == [[1, 1], [3, 1], [5, 5], [2, 2], [8, 3], [6, 6]]


def test_no_object_gives_no_corners():
    outputs = {
        f"{c}_{what}": torch.zeros(1, 2, H, W) for c in ("tl", "br") for what in ["tag", "off"]
    }
    peaks = true_corners(np.zeros((0, 4)), np.zeros(0, np.int64), outputs)
    assert len(peaks) == 0
    assert peaks.tags.shape == (0, 2)
    assert len(with_true_offsets(peaks, np.zeros((0, 4)), np.zeros(0, np.int64))) == 0


def corners(cells, classes, middle):
    cells = np.array(cells)
    N = len(cells)
    xy, tag = (cells + 0.9).astype(np.float32), np.zeros((N, 1), np.float32)
    starts = np.array([[0, middle, N]])
    return CornerPeaks(xy, cells, np.ones(N, np.float32), np.array(classes), tag, starts)


def test_corners_move_to_the_nearest_true_corner_of_their_class():
    boxes = np.array([[1.3, 1.4, 6.2, 5.1], [3.3, 3.4, 8.2, 6.1]])
    classes = np.array([0, 1])
    cells = [(1, 1), (2, 1), (3, 3), (3, 4), (6, 5), (0, 6)]
    peaks = corners(cells, [0, 0, 1, 0, 0, 1], middle=4)
    moved = with_true_offsets(peaks, boxes, classes)
    expected = peaks.xy.copy()
    expected[0] = boxes[0, :2]  # (2, 1) is farther from it and does not move
    expected[2] = boxes[1, :2]  # (3, 4) is of another class
    expected[4] = boxes[0, 2:]  # (0, 6) is too far from any
    np.testing.assert_allclose(moved.xy, expected, rtol=1e-6)
    np.testing.assert_array_equal(moved.cells, peaks.cells)
