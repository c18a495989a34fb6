"""Planted faults are found, and nothing else."""

import shutil
from collections import Counter

import numpy as np
import pytest

from labelled_sets import bees, keypoint_set, write_set
from tagwise.data.boxes import CocoBoxes
from tagwise.labels.faults import find_faults


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [bees(rng, 4) for _ in range(12)]


def found_in(folder, images, **options):
    return find_faults(keypoint_set(folder, images, **options), 8)


def kinds(faults):
    return Counter(fault.kind for fault in faults)


def test_good_labels_have_no_faults(images, tmp_path):
    assert found_in(tmp_path, images) == []


def test_swapped_sides_are_found(images, tmp_path):
    images[3][1, [3, 4]] = images[3][1, [4, 3]]
    (fault,) = found_in(tmp_path, images)
    assert fault.kind == "left and right may be swapped"
    assert (fault.file, fault.image_id, fault.annotation_id) == ("frame_004.png", 4, 14)
    assert fault.detail == "left_antenna and right_antenna"


def test_sides_are_compared_with_one_another_without_a_middle(tmp_path):
    """Shoulders and hips; there is no type without a side."""
    rng = np.random.default_rng(1)
    body = np.array([[-20, 0], [20, 0], [-15, 50], [15, 50]], float)
    images = []
    for _ in range(40):
        keypoints = np.full((1, 4, 3), 2.0)
        keypoints[0, :, :2] = body * rng.choice([-1, 1], size=1) * (1, 1) + rng.normal(0, 2, (4, 2))
        keypoints[0, :, :2] += rng.uniform(100, 300, 2)
        images.append(keypoints)
    images[7][0, [2, 3]] = images[7][0, [3, 2]]
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    (fault,) = found_in(tmp_path, images, names=names)
    assert (fault.kind, fault.image_id) == ("left and right may be swapped", 8)


def test_keypoint_far_away_is_found(images, tmp_path):
    head = images[5][2, 2, :2]
    images[5][2, 0, :2] = np.where(head > (320, 240), 5, (635, 475))  # the opposite corner
    faults = found_in(tmp_path, images)
    assert [(f.kind, f.annotation_id) for f in faults] == [("keypoint far from its instance", 23)]
    assert faults[0].detail.startswith("tail, ")


def test_instance_labelled_twice_is_found(images, tmp_path):
    shifted = images[2][:1] + np.array([1.0, 1.0, 0.0])
    images[2] = np.concatenate([images[2], shifted])
    (fault,) = found_in(tmp_path, images)
    assert (fault.kind, fault.annotation_id) == ("instance is labelled twice", 13)
    assert fault.detail == "like annotation 9"


def test_tiny_and_missing_instances_are_found(images, tmp_path):
    images[4] = images[4][:1]
    tail = images[9][3, :1, :2]
    images[9][3, :, :2] = tail + (images[9][3, :, :2] - tail) * 0.06
    found = kinds(found_in(tmp_path, images, scenes=[0] * 12))
    assert found == {
        "far fewer instances than the images before and after: are some unlabelled?": 1,
        "instance is too small for the network's input": 1,
    }


def test_empty_and_equal_images_are_found(images, tmp_path):
    images[4] = images[4][:0]
    dataset = keypoint_set(tmp_path, images)
    shutil.copy(dataset.path(0), dataset.path(11))
    faults = find_faults(dataset, 8)
    assert [(f.kind, f.file) for f in faults] == [
        ("image is the same as another one", "frame_012.png"),
        ("image without a labelled instance", "frame_005.png"),
    ]


def test_repeated_boxes_are_found(tmp_path):
    boxes = [[10, 10, 50, 40], [11, 10, 50, 40], [300, 200, 60, 60], [300, 201, 60, 60]]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1 + (n == 4), "bbox": box}
            for n, box in enumerate(boxes, 1)
        ],
        "categories": [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}],
    }
    dataset = CocoBoxes(write_set(tmp_path, content), tmp_path / "images")
    assert [(f.kind, f.annotation_id) for f in find_faults(dataset, 8)] == [
        ("object is labelled twice", 2),
        ("object has labels of two classes", 4),
    ]
