"""Tests of boxes that enclose the head of a person."""

import json

import numpy as np
import pytest

from tagwise.results import Poses
from tagwise.results.heads import enclose_heads
from tagwise.skeletons import COCO17, Skeleton

# An upright person 200 pixels tall by the averages of anthropometry (Drillis and Contini 1966): the
# eyes at .936 of the body height, the shoulders at .818, the hips at .530, the ankles at .039.
HEIGHT = {"eye": 0.936, "ear": 0.93, "nose": 0.915, "shoulder": 0.818, "elbow": 0.63}
HEIGHT |= {"wrist": 0.485, "hip": 0.53, "knee": 0.285, "ankle": 0.039}
WIDTH = {"eye": 0.018, "ear": 0.045, "nose": 0, "shoulder": 0.129, "elbow": 0.15, "wrist": 0.16}
WIDTH |= {"hip": 0.095, "knee": 0.08, "ankle": 0.06}


def person(missing=()):
    rows = []
    for name in COCO17.keypoints:
        side = {"left": 1, "right": -1}.get(name.split("_")[0], 0)
        part = name.split("_")[-1]
        found = part not in missing
        xy = (500 + 200 * side * WIDTH[part], 300 - 200 * HEIGHT[part])
        rows.append([*xy, 1] if found else [np.nan, np.nan, 0])
    return np.array([rows])


def top(keypoints):
    return float(Poses(keypoints, [0.9], None, COCO17).boxes[0, 1])


@pytest.mark.parametrize("missing", [(), ("ear",), ("shoulder",), ("hip", "knee", "ankle")])
def test_the_box_of_a_person_encloses_the_head(missing):
    crown = 100
    assert top(person(missing)) == pytest.approx(crown, abs=7)


def test_other_sides_and_people_without_a_face_stay_as_they_are():
    keypoints = person()
    x, y, w, h = Poses(keypoints, [0.9], None, COCO17).boxes[0].tolist()
    assert y + h == pytest.approx(np.nanmax(keypoints[0, :, 1]), abs=1e-3)
    assert (x, x + w) == pytest.approx((468, 532), abs=1e-3)
    faceless = person(("eye", "ear", "nose"))
    assert top(faceless) == pytest.approx(300 - 200 * HEIGHT["shoulder"])
    one_eye = person(("ear", "nose", "shoulder"))
    one_eye[0, 2] = (np.nan, np.nan, 0)
    assert top(one_eye) == pytest.approx(300 - 200 * HEIGHT["eye"])


def test_boxes_of_other_skeletons_and_of_no_one_stay_as_they_are():
    dog = Skeleton("dog", ("nose", "left_eye", "right_eye", "left_shoulder", "right_shoulder"))
    keypoints = np.ones((1, 5, 3))
    assert enclose_heads([[1, 1, 0, 0]], keypoints, dog).tolist() == [[1, 1, 0, 0]]
    none = Poses(np.full((1, 17, 3), [np.nan, np.nan, 0]), [0.1], None, COCO17)
    assert none.boxes.tolist() == [[0, 0, 0, 0]]
    assert Poses(np.zeros((0, 17, 3)), [], None, COCO17).boxes.shape == (0, 4)


def test_the_json_has_the_box_with_the_head():
    poses = Poses(person(), [0.9], None, COCO17)
    box = json.loads(json.dumps(poses.to_dict()))["instances"][0]["box"]
    np.testing.assert_allclose(box, poses.boxes[0], atol=0.006)
