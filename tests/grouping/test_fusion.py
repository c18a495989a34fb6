"""Merging the boxes of several passes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.grouping.fusion import fuse_boxes


def test_box_found_in_one_pass_has_reduced_score():
    boxes = [[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]]
    groups, fused, scores = fuse_boxes(boxes, [0.8, 0.4, 0.6], [0, 0, 0], [0, 1, 0])
    assert [group.tolist() for group in groups] == [[0, 1], [2]]
    np.testing.assert_allclose(fused[0], [0, 0, 10, (0.8 * 10 + 0.4 * 11) / 1.2], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.6, 0.3])


def test_boxes_of_different_classes_or_the_same_pass_are_not_fused():
    boxes = [[0, 0, 10, 10]] * 3
    assert len(fuse_boxes(boxes, [0.9, 0.8, 0.7], [0, 1, 0], [0, 1, 0])[0]) == 3


def test_empty_input_gives_empty_result():
    groups, fused, scores = fuse_boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0))
    assert (groups, fused.shape, scores.shape) == ([], (0, 4), (0,))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 12), st.randoms(use_true_random=False))
def test_identical_passes_give_unchanged_boxes(passes, count, random):
    """Separate objects that all passes find in the same way are returned once, unchanged."""
    rng = np.random.default_rng(random.randrange(2**32))
    low = np.arange(count)[:, None] * 20 + rng.uniform(0, 5, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 12, (count, 2))], 1)
    scores = rng.permutation(np.linspace(0.2, 0.9, count))
    every = np.tile(boxes, (passes, 1))
    number = np.repeat(np.arange(passes), count)
    groups, fused, found = fuse_boxes(every, np.tile(scores, passes), np.zeros(len(every)), number)
    order = np.argsort(-scores)
    np.testing.assert_allclose(fused, boxes[order], rtol=1e-5)
    np.testing.assert_allclose(found, scores[order], rtol=1e-5)
    assert sorted(np.concatenate([*groups, []]).astype(int)) == list(range(len(every)))
