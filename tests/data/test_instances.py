from dataclasses import replace

import numpy as np
import pytest
from discs import discs, without_map
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.data.instances import (
    MIN_VISIBLE,
    clip_boxes,
    inside,
    keep_instances,
    keep_visible,
    uncovered_boxes,
)
from tagwise.data.sample import Sample
from tagwise.label_maps import label_map_instances

rectangles = st.tuples(
    st.integers(0, 11), st.integers(0, 11), st.integers(1, 12), st.integers(1, 12)
)


def test_inside_includes_half_a_pixel_around_the_centres():
    xs = np.array([-0.6, -0.5, 9.4, 9.5])
    points = np.stack([xs, np.zeros(4), np.full(4, 2)], 1)
    assert inside(points, (10, 5)).tolist() == [False, True, True, False]


def test_boxes_are_clipped_to_the_canvas():
    boxes = np.float32([[-5, 2, 10, 20], [50, 50, 5, 5]])
    np.testing.assert_allclose(clip_boxes(boxes, (10, 10)), [[0, 2, 5, 8], [10, 10, 0, 0]])


@settings(deadline=None)  # the first call compiles
@given(st.lists(rectangles, max_size=6), rectangles)
def test_uncovered_boxes_surround_the_remaining_pixels(boxes, patch):
    left = uncovered_boxes(np.float32(boxes).reshape(-1, 4), patch)
    for box, found in zip(boxes, left):
        pixels = np.zeros((24, 24), np.int32)
        for value, (x, y, w, h) in ((1, box), (0, patch)):
            pixels[y : y + h, x : x + w] = value
        expected, area = label_map_instances(pixels, 1)
        if area[0]:
            np.testing.assert_array_equal(found, expected[0])
        else:
            assert found[2:].prod() == 0


def test_mostly_hidden_box_is_removed_and_ignored():
    whole = np.float32([[0, 0, 20, 10], [10, 30, 10, 10], [40, 0, 10, 10]])
    sample = without_map(discs([(20, 20, 5)] * 3))
    left = whole * np.float32([1, 1, MIN_VISIBLE + 0.01, 1])
    left[1, 2] = 10 * (MIN_VISIBLE - 0.01)
    sample = replace(sample, boxes=left, areas=np.float32([100, 100, 100]))
    kept = keep_visible(sample, whole)
    np.testing.assert_array_equal(kept.boxes, left[[0, 2]])
    np.testing.assert_array_equal(kept.classes, [0, 2])
    np.testing.assert_allclose(kept.areas, 100 * (MIN_VISIBLE + 0.01), rtol=1e-5)
    assert kept.ignore[30:40, 10:13].all()
    assert kept.ignore.sum() == 30


def test_masks_are_kept_while_a_pixel_is_visible():
    sample = discs([(20, 20, 8), (40, 20, 8), (50, 40, 3)])
    sample.labels[:, :40] = 0
    sample.labels[sample.labels == 3] = 0
    sample.labels[47, 0] = 1
    kept = keep_visible(sample, sample.boxes)
    assert np.unique(kept.labels).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(kept.boxes, [[0, 47, 1, 1], [40, 12, 9, 17]])
    np.testing.assert_array_equal(kept.areas, [1, (sample.labels == 2).sum()])
    np.testing.assert_array_equal(kept.classes, [0, 1])
    assert not kept.ignore.any()


def test_kept_instances_are_renumbered():
    sample = discs([(10, 10, 5), (30, 10, 5), (50, 10, 5)])
    kept = keep_instances(sample, np.array([True, False, True]))
    assert np.unique(kept.labels).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(kept.labels == 2, sample.labels == 3)
    np.testing.assert_array_equal(kept.boxes, sample.boxes[[0, 2]])
    np.testing.assert_array_equal(kept.classes, [0, 2])
    assert kept.labels.dtype == np.int32
    assert len(keep_instances(sample, np.zeros(3, bool)).boxes) == 0


@pytest.mark.parametrize("count", [0, 4])
def test_classes_are_zeros_by_default(count):
    sample = Sample(
        image=np.zeros((2, 2, 3), np.uint8),
        keypoints=np.zeros((count, 0, 3), np.float32),
        boxes=np.zeros((count, 4), np.float32),
        areas=np.zeros(count, np.float32),
        ignore=np.zeros((2, 2), bool),
        labelled=np.zeros(0, bool),
    )
    np.testing.assert_array_equal(sample.classes, np.zeros(count))
    assert sample.classes.dtype == np.int64
