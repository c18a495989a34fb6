"""Labels without faults are evaluated as they are, all others only after they have been read."""

import copy

import numpy as np
import pytest

from tagwise.data.keypoint_labels import read_keypoint_labels
from tagwise.metrics.keypoint_ap import keypoint_truth
from tagwise.metrics.plain_truth import plain_truth


def labels():
    rng = np.random.default_rng(2)
    annotations = []
    for number in range(6):
        keypoints = np.c_[rng.uniform(0, 90, (4, 2)), rng.choice([0, 1, 2], 4)].round(2)
        keypoints[0, 2], keypoints[keypoints[:, 2] == 0] = 2, 0
        annotations.append(
            {
                "id": number + 1,
                "image_id": number % 2,
                "category_id": 3,
                "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                "bbox": [5.0, 5, 40, 50],
                "area": 900.0,
                "iscrowd": 0,
            }
        )
    pin = {"id": 3, "name": "pin", "keypoints": ["a", "b", "c", "d"]}
    images = [{"id": number, "width": 100, "height": 100} for number in range(2)]
    return {"images": images, "annotations": annotations, "categories": [pin]}


@pytest.mark.parametrize("extra", [{}, {"segmentation": "none"}])
def test_labels_without_faults_are_those_that_reading_gives(extra):
    content = labels()
    content["annotations"][1] |= extra
    truth, category = plain_truth(content)
    expected = keypoint_truth(read_keypoint_labels(content, need_files=False))
    order = np.argsort(truth.images, kind="stable")
    for name in ("images", "keypoints", "boxes", "areas", "crowds"):
        assert (getattr(truth, name)[order] == getattr(expected, name)).all(), name
    assert truth.image_ids == expected.image_ids == [0, 1]
    assert truth.category == expected.category == 3
    assert category["name"] == "pin"


FAULTS = {
    "image_id": [7, "0", 0.0, None, [], True],
    "category_id": [4, "3", None],
    "keypoints": [None, [], [1, 2, 2], (1,) * 12, ["1", 2, 2] * 4, [np.nan, 2, 2] * 4],
    "num_keypoints": [None, 0, 17],
    "bbox": [None, [1, 2, 3], [1, 2, 0, 4], [1, 2, 3, np.inf], [1, 2, 3, "4"], (1, 2, 3, 4)],
    "area": [None, 0, -1, "9", np.inf],
    "iscrowd": [None, "0", 2, True],
}


@pytest.mark.parametrize("name", FAULTS)
def test_labels_with_a_fault_have_to_be_read(name):
    content = labels()
    for value in FAULTS[name]:
        changed = copy.deepcopy(content)
        changed["annotations"][0][name] = value
        assert plain_truth(changed) is None, value
    del content["annotations"][0][name]
    assert plain_truth(content) is None


def test_keypoints_outside_the_image_have_to_be_read():
    content = labels()
    content["images"][0]["width"] = 3
    assert plain_truth(content) is None
    content["images"][0] = {"id": 0}  # of unknown size
    assert plain_truth(content) is not None
    content["annotations"][0]["keypoints"][0] = 1e9
    assert plain_truth(content) is None


def test_labels_in_wrong_units_have_to_be_read():
    content = labels()
    for annotation in content["annotations"]:
        values = np.array(annotation["keypoints"]).reshape(-1, 3)
        values[:, :2] /= 100
        annotation["keypoints"] = values.ravel().tolist()
    assert plain_truth(content) is None


@pytest.mark.parametrize("content", [{}, {"images": [], "annotations": [], "categories": []}])
def test_other_files_have_to_be_read(content):
    assert plain_truth(content) is None
    assert plain_truth({**labels(), "annotations": []}) is None
    assert plain_truth({**labels(), "images": [{"id": 0}, {"id": 0}, {"id": 1}]}) is None
