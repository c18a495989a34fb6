"""Tests of reading COCO labels in the variants that labelling programs write."""

import json

import numpy as np
import pytest
from foxes_labels import CATEGORY, annotation

from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.coco_json import Ids, object_categories, pick_category
from tagwise.errors import UserError

GOOD = [20, 10, 2, 30, 40, 2, 12, 40, 1]


def changed(files, change):
    """Change the content of a JSON file with a function; return the same paths."""
    path, folder = files
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path, folder


def test_ids_match_as_numbers_and_as_strings():
    ids = Ids([7, "8", "photo 9", -3, 10**30])
    assert [ids.find(value) for value in (7, "7", 7.0, 8, "8", "photo 9", "-3")] == [
        *(7, 7, 7, "8", "8", "photo 9", -3)
    ]
    assert [ids.find(value) for value in (None, [7], {}, True, 5, float("nan"), 7.5)] == [None] * 7
    both = Ids([1, "1"])
    assert (both.find(1), both.find("1"), both.find(1.0)) == (1, "1", None)


@pytest.mark.parametrize(
    "values",
    [
        [[20, 10, 2], [30, 40, 2], [12, 40, 1]],
        ["20", "10", "2", "30", "40", "2", "12", "40", "1"],
        [20.0, 10.0, 2.0, 30.0, 40.0, 2.0, 12.0, 40.0, 1.0],
    ],
)
def test_keypoints_may_be_nested_lists_strings_or_floats(foxes, values):
    data = CocoKeypoints(*foxes([annotation(1, keypoints=values)]))
    np.testing.assert_allclose(data[0].keypoints[0].ravel(), GOOD)
    assert data.report == []


@pytest.mark.parametrize("values", [[20, 10, 0, 0, 12, 40], [[20, 10], [0, 0], [12, 40]]])
def test_keypoints_without_visibility_are_visible_unless_zero(foxes, values):
    data = CocoKeypoints(*foxes([annotation(1, keypoints=values)]))
    np.testing.assert_allclose(data[0].keypoints[0], [[20, 10, 2], [0, 0, 0], [12, 40, 2]])
    assert [problem.kind[:31] for problem in data.report] == ["keypoints without visibility, t"]


@pytest.mark.parametrize("crowd", [None, "0", 0, False, "", "false", 0.0])
def test_false_values_of_iscrowd_mark_an_instance(foxes, crowd):
    assert len(CocoKeypoints(*foxes([annotation(1, iscrowd=crowd)]))[0].keypoints) == 1


@pytest.mark.parametrize("crowd", ["1", 1, True, "true", 1.0])
def test_true_values_of_iscrowd_mark_a_crowd(foxes, crowd):
    files = foxes([annotation(1, iscrowd=crowd, segmentation=[]), annotation(2)])
    assert len(CocoKeypoints(*files)[0].keypoints) == 1


@pytest.mark.parametrize("area", [0, -5, None, "many", float("nan"), [4]])
def test_invalid_area_is_replaced_by_the_area_of_the_box(foxes, area):
    data = CocoKeypoints(*foxes([annotation(1, area=area, bbox=[10, 8, 20, 30])]))
    assert data[0].areas.tolist() == [600]


@pytest.mark.parametrize("side", [-1, 0, "unknown", None, float("inf")])
def test_invalid_image_size_is_unknown(foxes, side):
    files = changed(foxes([annotation(1)]), lambda c: c["images"][0].update(width=side))
    data = CocoKeypoints(*files)
    assert data.size(0) is None
    assert data[0].image.shape == (48, 64, 3)


def test_annotations_may_write_image_ids_as_another_type(foxes):
    data = CocoKeypoints(*foxes([annotation(1, image_id="1"), annotation(2, image_id=2.0)]))
    assert [len(data[n].keypoints) for n in (0, 1)] == [1, 1]


def test_annotations_need_no_ids(foxes):
    def without(content):
        for entry in content["annotations"]:
            del entry["id"]

    data = CocoKeypoints(*changed(foxes([annotation(1), annotation(2, image=2)]), without))
    assert [len(data[n].keypoints) for n in (0, 1)] == [1, 1]


def test_file_names_may_have_windows_separators(foxes):
    path, folder = foxes([annotation(1)])
    files = (path, folder.parent)
    changed(files, lambda c: c["images"][0].update(file_name=f"{folder.name}\\1.png"))
    data = CocoKeypoints(*files)
    assert data.path(0) == folder / "1.png"
    assert len(data[0].keypoints) == 1


def test_first_category_with_annotations_is_read(foxes):
    group = {**CATEGORY, "id": 0, "name": "animals"}
    data = CocoKeypoints(*foxes([annotation(1)], categories=[group, CATEGORY]))
    assert data.category_id == CATEGORY["id"]
    assert len(data[0].keypoints) == 1


def test_annotations_of_other_categories_are_reported(foxes):
    hare = {**CATEGORY, "id": 9, "name": "hare"}
    others = [annotation(n, category_id=9) for n in (2, 3)]
    data = CocoKeypoints(*foxes([annotation(1), *others], categories=[CATEGORY, hare]))
    assert len(data.report) == 1
    assert "'hare'" in data.report[0].kind
    assert "2 annotations" in str(data.report[0])


def test_group_category_of_roboflow_is_not_a_class():
    names = ("cells", "red", "white")
    categories = [
        {"id": n, "name": name, "supercategory": "cells" if n else "none"}
        for n, name in enumerate(names)
    ]
    content = {"images": [], "categories": categories, "annotations": [{"category_id": 1}]}
    assert [entry["name"] for entry in object_categories(content)] == ["red", "white"]
    content["annotations"].append({"category_id": 0})
    assert len(object_categories(content)) == 3
    with pytest.raises(UserError, match='"keypoints"'):
        pick_category(content, "x.json", None)


@pytest.mark.parametrize("dataset", [CocoKeypoints, CocoBoxes])
def test_normalised_coordinates_are_refused(foxes, dataset):
    def normalise(content):
        for entry in content["annotations"]:
            k = entry["keypoints"]
            entry["keypoints"] = [v / (64, 48, 1)[i % 3] for i, v in enumerate(k)]
            entry["bbox"] = [v / (64, 48)[i % 2] for i, v in enumerate(entry["bbox"])]

    files = changed(foxes([annotation(1), annotation(2, image=2)]), normalise)
    with pytest.raises(UserError, match="between 0 and 1: they look normalised"):
        dataset(*files)


@pytest.mark.parametrize("dataset", [CocoKeypoints, CocoBoxes])
def test_boxes_as_corners_are_refused(foxes, dataset):
    boxes = [[30, 8, 62, 44], [40, 8, 60, 40], [2, 2, 20, 30]]
    files = foxes([annotation(n, bbox=box) for n, box in enumerate(boxes)])
    with pytest.raises(UserError, match="look like corners x1, y1, x2, y2: 2 of 3"):
        dataset(*files)


def test_error_for_missing_instances_names_the_problems(foxes):
    data = CocoKeypoints(*foxes([annotation(1, image_id=50), annotation(2, image_id=60)]))
    with pytest.raises(UserError, match=r"no labelled instance that can.*2 × annotation of an unk"):
        data.require_instances()


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("sigmas", ["a", 1, 1], "'a'"),
        ("sigmas", "abc", "'sigmas' must be a list of numbers"),
        ("sigmas", [float("nan")] * 3, "3 sigmas above 0"),
        ("sigmas", [0.1], "3 sigmas above 0"),
        ("keypoints", [{"a": 1}, "b", "c"], "name it with at most"),
        ("keypoints", ["a" * 5000, "b", "c"], "name it with at most"),
        ("keypoints", ["a"] * 20_000, "has 20000 keypoints; use at most 1000"),
        ("skeleton", {"a": [1]}, "'skeleton' must be a list of pairs"),
    ],
)
def test_a_skeleton_that_cannot_be_read_names_the_file(foxes, key, value, says):
    files = foxes([annotation(1)])
    changed(files, lambda content: content["categories"][0].update({key: value}))
    with pytest.raises(UserError) as caught:
        CocoKeypoints(*files)
    assert str(files[0]) in str(caught.value)
    assert says in str(caught.value)


def test_numbers_that_no_image_has_are_treated_as_missing(foxes):
    def change(content):
        content["images"][0].update(width=1e308, height=10**30)
        content["annotations"][0].update(area=1e308, bbox=[1e308, 1, 1e308, 1])
        content["annotations"][0]["keypoints"][:6] = [1e300, 10, 2, 30, 40, 1e308]

    data = CocoKeypoints(*changed(foxes([annotation(1)]), change))
    sample = data[0]
    assert data.size(0) is None
    assert sample.keypoints[0].tolist() == [[0, 0, 0], [30, 40, 2], [12, 40, 1]]
    assert np.isfinite(sample.boxes).all()
    assert np.isfinite(sample.areas).all()
    kinds = [problem.kind for problem in data.report]
    assert "keypoint outside the image, left out" in kinds


def test_a_box_that_no_image_has_is_left_out(foxes):
    def change(content):
        content["annotations"][0]["bbox"] = [1e308, 1, 1e308, 1]

    files = changed(foxes([annotation(1), annotation(2)]), change)
    data = CocoBoxes(*files)
    assert [problem.kind for problem in data.report] == ["box is not finite, left out"]
