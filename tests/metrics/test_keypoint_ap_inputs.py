"""Labels and results of keypoint AP: missing fields, unusual values, and errors for bad input."""

import copy
import json

import pytest

from keypoint_scenes import assert_same, reference, scene
from tagwise.data.keypoint_labels import read_keypoint_labels
from tagwise.errors import UserError
from tagwise.metrics.keypoint_ap import keypoint_metrics, keypoint_truth


def test_file_is_read_and_missing_fields_are_filled_in(tmp_path):
    truth, results = scene(2)
    truth["annotations"] = [a for a in truth["annotations"] if not a["iscrowd"]]
    for annotation in truth["annotations"]:
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    sparse = copy.deepcopy(truth)
    for annotation in sparse["annotations"]:
        for key in ("area", "iscrowd", "num_keypoints"):
            del annotation[key]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(sparse))
    ours = keypoint_metrics(results, path, 0.1)
    assert_same(ours, keypoint_metrics(results, truth, 0.1))
    assert_same(ours, reference(results, truth, [0.1] * 5))


def test_missing_box_is_computed_from_the_labelled_keypoints():
    annotation = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "keypoints": [3, 4, 2, 9, 9, 0, 5, 8, 1],
    }
    category = {"id": 1, "name": "it", "keypoints": ["a", "b", "c"]}
    truth = {"images": [{"id": 1}], "annotations": [annotation], "categories": [category]}
    filled = keypoint_truth(read_keypoint_labels(truth, need_files=False))
    assert filled.boxes.tolist() == [[3, 4, 2, 4]]
    assert filled.areas.tolist() == [8]
    assert (filled.keypoints[..., 2] > 0).sum() == 2
    assert "bbox" not in annotation


def test_annotation_with_id_0_counts():
    truth, results = scene(9)
    expected = keypoint_metrics(results, truth, 0.1)
    truth["annotations"][0]["id"] = 0
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_inputs_are_not_changed():
    truth, results = scene(6)
    before = copy.deepcopy((truth, results))
    keypoint_metrics(results, truth, 0.1)
    assert (truth, results) == before


def test_only_keypoint_categories_count():
    truth, results = scene(7)
    expected = keypoint_metrics(results, truth, 0.1)
    truth["categories"].insert(0, {"id": 9, "name": "ball"})
    truth["annotations"].append(
        {"id": 999, "image_id": truth["images"][0]["id"], "category_id": 9, "bbox": [0, 0, 9, 9]}
    )
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def broken(change):
    truth, results = scene(8)
    change(truth, results)
    return truth, results


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, r: t.pop("images"), "no list of images"),
        (lambda t, r: [row.update(category_id=5) for row in r], "of category 1"),
        (lambda t, r: t["categories"][0].pop("keypoints"), '"keypoints"'),
        (lambda t, r: r[0].pop("score"), "result 0 .*score"),
        (lambda t, r: r[0].update(image_id=10**6), "image 1000000"),
        (lambda t, r: r[0].update(keypoints=[1, 2, 3]), "3 keypoint values, but 5"),
        (lambda t, r: r[1]["keypoints"].__setitem__(4, None), "result 1 has None"),
        (lambda t, r: r[1].update(score="high"), "result 1 has .*high"),
        (lambda t, r: r[0].update(keypoints=7), "result 0 .*list of keypoints"),
        (lambda t, r: r[0].update(image_id=[7]), "image .*7"),
        (lambda t, r: r[0].update(bbox=[1, 2]), "result 0 has the bbox"),
    ],
)
def test_invalid_input_is_named(change, says):
    truth, results = broken(change)
    with pytest.raises(UserError, match=says):
        keypoint_metrics(results, truth, 0.1)


@pytest.mark.parametrize(
    "change",
    [
        {"keypoints": [1, 2]},
        {"keypoints": ["here"] * 15},
        {"keypoints": {"nose": 3}},
        {"image_id": None},
        {"image_id": [7]},
        {"category_id": 99},
    ],
)
def test_invalid_annotation_is_left_out_with_a_warning(change):
    """The figures are those of the file without it."""
    truth, results = scene(8)
    without = {**truth, "annotations": truth["annotations"][1:]}
    expected = keypoint_metrics(results, without, 0.1)
    first = {**truth["annotations"][0], "bbox": None, "iscrowd": 0, **change}
    with pytest.warns(UserWarning, match="1 problem in the data"):
        found = keypoint_metrics(
            results, {**truth, "annotations": [first, *without["annotations"]]}, 0.1
        )
    assert_same(found, expected)


ODD_VALUES = {
    "iscrowd is null": ({"iscrowd": 0}, {"iscrowd": None}),
    "iscrowd is a text": ({"iscrowd": 0}, {"iscrowd": "0"}),
    "area is 0": ({"area": None}, {"area": 0}),
    "area is a text": ({"area": None}, {"area": "many"}),
    "area is negative": ({"area": None}, {"area": -4.0}),
    "area is a number as text": ({"area": 300.0}, {"area": "300"}),
    "a field that nobody needs": ({}, {"id": "x", "num_keypoints": "all", "segmentation": 7}),
}


@pytest.mark.parametrize("case", ODD_VALUES)
def test_unusual_values_do_not_change_the_figures(case):
    """The area of an annotation without a usable one is that of its box."""
    plain, odd = ODD_VALUES[case]
    truth, results = scene(8)
    truth["annotations"] = [{**a, "iscrowd": 0} for a in truth["annotations"]]
    for annotation in truth["annotations"]:
        if plain.get("area", 1) is None:
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    usual = {
        **truth,
        "annotations": [
            a | {k: v for k, v in plain.items() if v is not None} for a in truth["annotations"]
        ],
    }
    strange = {**truth, "annotations": [a | odd for a in truth["annotations"]]}
    assert_same(keypoint_metrics(results, strange, 0.1), keypoint_metrics(results, usual, 0.1))


IDS = {
    "texts": lambda number: f"photo {number}",
    "negative": lambda number: -1 - number,
    "huge": lambda number: number + 10**15,
    "uuid": lambda number: f"{number:032x}",
}


@pytest.mark.parametrize("kind", IDS)
def test_image_ids_may_be_of_any_type(kind):
    truth, results = scene(3)
    expected = keypoint_metrics(results, truth, 0.1)
    for entry in truth["images"]:
        entry["id"] = IDS[kind](entry["id"])
    for entry in (*truth["annotations"], *results):
        entry["image_id"] = IDS[kind](entry["image_id"])
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_image_ids_match_as_texts_and_as_numbers():
    truth, results = scene(3)
    expected = keypoint_metrics(results, truth, 0.1)
    for annotation in truth["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    assert_same(keypoint_metrics(results, truth, 0.1), expected)


def test_invalid_arguments_are_named(tmp_path):
    truth, results = scene(8)
    with pytest.raises(UserError, match="3 sigmas"):
        keypoint_metrics(results, truth, [0.1] * 3)
    with pytest.raises(UserError, match="above 0"):
        keypoint_metrics(results, truth, 0.0)
    with pytest.raises(UserError, match="did you mean 'coco'"):
        keypoint_metrics(results, truth, 0.1, style="cocco")
    with pytest.raises(UserError, match="no such file"):
        keypoint_metrics(results, tmp_path / "none.json", 0.1)
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        keypoint_metrics(results, tmp_path / "no.json", 0.1)
    for image in truth["images"]:
        image.pop("crowdIndex")
    with pytest.raises(UserError, match="crowdIndex"):
        keypoint_metrics(results, truth, 0.1, style="crowdpose")
