"""Predictions read from JSON: whatever does not fit is refused, with the name of the file."""

import copy
import json

import numpy as np
import pytest

from tagwise.commands.plot import plot
from tagwise.errors import UserError
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton
from tagwise.tasks import read_result

PLACED = {"file": "a.png", "width": 6, "height": 4, "model": "fox"}
RESULTS = {
    "pose": Poses(np.ones((1, 2, 3)), [0.5], None, Skeleton("fox", ("a", "b")), **PLACED),
    "corners": Boxes([[1, 1, 2, 2]], [0.5], [0], ("fox",), **PLACED),
    "pixels": Masks(np.array([[0, 1, 1, 0, 0, 0]] * 4), [0.5], **PLACED),
}
BAD = [
    (("task",), [1]),
    (("task",), {}),
    (("task",), "x" * 9000),
    (("model",), 3),
    (("image", "file"), ["a"]),
    (("image", "width"), "6"),
    (("image", "width"), -6),
    (("image", "height"), 6.5),
    (("image",), []),
    (("image",), "a.png"),
    (("instances", 0, "score"), float("nan")),
    (("instances", 0, "score"), 7),
    (("instances", 0, "score"), None),
    (("instances", 0), 3),
    (("instances",), 3),
    (("instances", 0, "tags"), [[[float("inf")]]]),
]


def changed(task, path, value):
    record = copy.deepcopy(RESULTS[task].to_dict())
    node = record
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return record


@pytest.mark.parametrize("task", RESULTS)
@pytest.mark.parametrize(("path", "value"), BAD, ids=str)
def test_json_that_does_not_fit_is_refused(task, path, value):
    if path == ("image",) and value == [] and task != "pixels":
        pytest.skip("the size of the image is not needed")
    with pytest.raises(UserError, match=r"^x\.json: this is not JSON of pred") as caught:
        read_result(changed(task, path, value), "x.json")
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("task", "path", "value"),
    [
        ("pose", ("instances", 0, "keypoints"), [[1, 2, 3], [1, 2, 1]]),
        ("pose", ("instances", 0, "keypoints"), [[float("inf"), 2, 1], [1, 2, 1]]),
        ("pose", ("skeleton",), 3),
        ("pose", ("keypoints",), "ab"),
        ("corners", ("classes",), [3]),
        ("corners", ("classes",), "fox"),
        ("corners", ("instances", 0, "box"), [1, 1, float("nan"), 1]),
        ("corners", ("instances", 0, "class_id"), 2**70),
        ("corners", ("instances", 0, "corner_scores"), [float("nan"), 1]),
        ("pixels", ("instances", 0, "mask"), {"size": [4, 6], "counts": [2**70]}),
        ("pixels", ("image", "width"), 10**6),
        ("pixels", ("image", "width"), None),
    ],
)
def test_json_of_a_task_that_does_not_fit_is_refused(task, path, value):
    with pytest.raises(UserError, match=r"^x\.json: "):
        read_result(changed(task, path, value), "x.json")


def test_more_pixels_than_an_image_may_have_are_refused():
    record = changed("pixels", ("image",), {"file": None, "width": 10**5, "height": 10**5})
    with pytest.raises(UserError, match="megapixels"):
        read_result(record)


def test_a_result_without_photo_and_size_cannot_be_drawn(tmp_path):
    path = tmp_path / "a.predictions.json"
    path.write_text(json.dumps(changed("pose", ("image",), {})))
    with pytest.raises(UserError, match=r"a\.predictions\.json has no size, and its photo"):
        plot(path, "instances", out=tmp_path / "a.png")
