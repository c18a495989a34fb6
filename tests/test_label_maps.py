import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from tagwise.label_maps import label_map_instances


@settings(deadline=None)  # the first call compiles
@given(
    arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 9))
)
def test_boxes_and_areas_equal_scipy(labels):
    boxes, areas = label_map_instances(labels)
    assert boxes.dtype == areas.dtype == np.float32
    assert boxes.shape == (labels.max(), 4)
    np.testing.assert_array_equal(areas, np.bincount(labels.ravel())[1:])
    for box, place in zip(boxes, ndimage.find_objects(labels)):
        if place is None:
            np.testing.assert_array_equal(box, 0)
        else:
            rows, columns = place
            sides = columns.stop - columns.start, rows.stop - rows.start
            np.testing.assert_array_equal(box, [columns.start, rows.start, *sides])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_any_integer_type_is_accepted(dtype):
    boxes, areas = label_map_instances(np.array([[0, 200], [200, 0]], dtype))
    assert boxes.shape == (200, 4)
    np.testing.assert_array_equal(boxes[199], [0, 0, 2, 2])
    assert areas[199] == areas.sum() == 2


def test_the_number_of_instances_may_be_given():
    labels = np.array([[1, 1, 5], [-3, 0, 0]], np.int32)
    boxes, areas = label_map_instances(labels, 3)
    np.testing.assert_array_equal(boxes, [[0, 0, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(areas, [2, 0, 0])


@pytest.mark.parametrize("labels", [np.zeros((4, 5), np.int32), np.zeros((0, 5), np.int32)])
def test_empty_label_map(labels):
    boxes, areas = label_map_instances(labels)
    assert boxes.shape == (0, 4)
    assert areas.shape == (0,)
