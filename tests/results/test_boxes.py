"""Tests of Boxes and their conversions."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.results import Boxes
from tagwise.tasks import read_result

NAMES = ("RBC", "WBC", "Platelets")


def some(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return Boxes(
        np.concatenate([rng.uniform(0, 50, (count, 2)), rng.uniform(1, 30, (count, 2))], 1),
        np.sort(rng.uniform(0.1, 1, count))[::-1],
        rng.integers(0, 3, count),
        NAMES,
        rng.uniform(0, 1, (count, 2)),
        rng.normal(0, 3, (count, 2, 2)),
        file="smear.jpg",
        width=100,
        height=80,
    )


def test_json_round_trip_keeps_boxes():
    boxes = some()
    record = json.loads(json.dumps(boxes.to_dict(), allow_nan=False))
    assert record["task"] == "corners"
    assert record["instances"][0]["class"] == NAMES[boxes.classes[0]]
    again = read_result(record)
    np.testing.assert_allclose(again.boxes, boxes.boxes, atol=0.006)
    np.testing.assert_allclose(again.tags, boxes.tags, atol=6e-5)
    np.testing.assert_array_equal(again.classes, boxes.classes)
    assert (again.file, again.width, again.names) == ("smear.jpg", 100, NAMES)
    assert again.to_dict() == record


def test_empty_boxes_can_be_converted_and_transformed():
    empty = Boxes([], [], [], NAMES)
    assert len(empty) == 0
    assert empty.to_coco(1, [1, 2, 3]) == []
    assert len(read_result(empty.to_dict())) == 0
    assert len(empty.transform(Affine.scaling(2).matrix, width=10, height=10)) == 0


def test_coco_results_have_the_category_ids_of_the_dataset():
    boxes = some()
    rows = boxes.to_coco(7, [30, 10, 20])
    assert [row["category_id"] for row in rows] == [(30, 10, 20)[c] for c in boxes.classes]
    assert {row["image_id"] for row in rows} == {7}
    np.testing.assert_allclose([row["bbox"] for row in rows], boxes.boxes, atol=0.006)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 4), st.floats(-20, 20), st.booleans())
def test_transform_agrees_with_affine_boxes(scale, shift, mirror):
    affine = Affine.shift(shift, -shift) @ Affine.scaling(scale)
    affine = affine @ Affine.mirror(100) if mirror else affine
    boxes = some()
    moved = boxes.transform(affine.matrix, model="m")
    np.testing.assert_allclose(moved.boxes, affine.boxes(boxes.boxes), rtol=1e-4, atol=1e-3)
    assert moved.model == "m"
    back = moved.transform(affine.inverse().matrix)
    np.testing.assert_allclose(back.boxes, boxes.boxes, rtol=1e-3, atol=1e-3)


def test_transform_clips_boxes_to_the_image():
    moved = Boxes([[-5, -5, 20, 200]], [0.5], [0], NAMES).transform(
        np.eye(2, 3), width=100, height=80
    )
    assert moved.boxes.tolist() == [[0, 0, 15, 80]]


def test_boxes_are_selected_by_score_and_index():
    boxes = some(5)
    assert len(boxes.above(float(boxes.scores[1]))) == 2
    assert boxes[[2, 0]].scores.tolist() == boxes.scores[[2, 0]].tolist()
    assert [len(one) for one in boxes] == [1] * 5
    assert "3 of RBC/WBC/Platelets in smear.jpg" in repr(some())


def test_invalid_shapes_classes_and_json_are_refused():
    with pytest.raises(ValueError, match=r"boxes must be \(2, 4\)"):
        Boxes(np.zeros((3, 4)), [0.1, 0.2], [0, 0], NAMES)
    with pytest.raises(ValueError, match="from 0 to 2"):
        Boxes(np.zeros((1, 4)), [0.1], [3], NAMES)
    with pytest.raises(UserError, match="task 'words'"):
        read_result({"task": "words"})
    with pytest.raises(UserError, match="not JSON of predicted boxes"):
        read_result({"task": "corners", "instances": [{}]})
