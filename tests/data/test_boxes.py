import json

import numpy as np
import pytest
from foxes_labels import CATEGORY

from tagwise.data.augment import Augment
from tagwise.data.boxes import CocoBoxes
from tagwise.data.training_set import TrainingSet
from tagwise.errors import UserError

FOX, HARE = {"id": 4, "name": "fox"}, {"id": 2, "name": "hare"}


def box(number, image=1, bbox=(10, 8, 24, 36), **fields):
    plain = {"category_id": 4, "iscrowd": 0, "bbox": list(bbox), "area": 500.0}
    return {"id": number, "image_id": image} | plain | fields


@pytest.fixture
def animals(foxes):
    def write(annotations, **content):
        return foxes(annotations, **({"categories": [FOX, HARE]} | content))

    return write


def test_valid_file_gives_boxes_and_classes(animals):
    data = CocoBoxes(*animals([box(1), box(2, category_id=2, bbox=(0, 0, 5.5, 6)), box(3, 2)]))
    assert data.classes == ("fox", "hare")
    assert data.category_ids == [4, 2]
    assert data.labels_of_task() == {"classes": ["fox", "hare"]}
    assert data.flip == ()
    assert data.ids == [1, 2]
    assert data.report == []
    sample = data[0]
    np.testing.assert_allclose(sample.boxes, [[10, 8, 24, 36], [0, 0, 5.5, 6]])
    np.testing.assert_array_equal(sample.classes, [0, 1])
    np.testing.assert_allclose(sample.areas, [500, 500])
    assert sample.boxes.dtype == sample.areas.dtype == np.float32
    assert sample.classes.dtype == np.int64
    assert sample.keypoints.shape == (2, 0, 3)
    assert sample.labelled.shape == (0,)
    assert sample.labels is None
    assert not sample.ignore.any()


def test_image_without_annotations_has_no_boxes(animals):
    sample = CocoBoxes(*animals([box(1)]))[1]
    assert sample.boxes.shape == (0, 4)
    assert sample.classes.shape == (0,)


def test_classes_are_chosen_by_name_in_the_given_order(animals):
    files = animals([box(1), box(2, category_id=2, bbox=(0, 0, 5, 6))])
    data = CocoBoxes(*files, classes=("hare", "fox"))
    assert data.category_ids == [2, 4]
    np.testing.assert_array_equal(data[0].classes, [1, 0])
    hares = CocoBoxes(*files, classes=("hare",))
    np.testing.assert_allclose(hares[0].boxes, [[0, 0, 5, 6]])
    assert [problem.kind[:30] for problem in hares.report] == ["objects of category 'fox' left"]
    with pytest.raises(UserError, match="no category cow; it has fox, hare"):
        CocoBoxes(*files, classes=("cow",))
    assert CocoBoxes(*files, classes=("cow", "fox")).category_ids == [None, 4]


def test_file_without_categories_is_refused(animals):
    with pytest.raises(UserError, match=r"foxes\.json has no categories"):
        CocoBoxes(*animals([box(1)], categories=[]))


FAULTS = [
    ({"bbox": [3, 4, 0, 5]}, "box has no size"),
    ({"bbox": [3, 4, 5, -1]}, "box has no size"),
    ({"bbox": [3, 4, float("inf"), 5]}, "box is not finite"),
    ({"bbox": [3, float("nan"), 5, 5]}, "box is not finite"),
    ({"bbox": [3, 4, 5]}, "annotation without a box"),
    ({"bbox": None}, "annotation without a box"),
    ({"bbox": ["a", 4, 5, 6]}, "box is not finite"),
    ({"bbox": [64, 4, 5, 5]}, "box outside the image"),
    ({"bbox": [3, -9, 5, 9]}, "box outside the image"),
    ({"category_id": 77}, "unknown category"),
    ({"category_id": [1]}, "unknown category"),
    ({"category_id": None}, "without a category"),
    ({"image_id": 9}, "unknown image"),
    ({"bbox": [10, 8, 24, 36]}, "duplicate box"),
    ({"iscrowd": 1, "bbox": None}, "crowd region cannot be read"),
]


@pytest.mark.parametrize(("fields", "words"), FAULTS)
def test_faults_are_reported_and_left_out(animals, fields, words):
    data = CocoBoxes(*animals([box(7), box(8, bbox=(40, 0, 9, 9)) | fields, box(9, image=2)]))
    assert [problem.annotation_id for problem in data.report] == [8]
    assert words in data.report[0].kind
    np.testing.assert_allclose(data[0].boxes, [[10, 8, 24, 36]])
    assert len(data[1].boxes) == 1
    training = TrainingSet([data], augment=Augment(mosaic=0.5, paste=0.5), input_size=(32, 32))
    assert all(np.isfinite(training[number].boxes).all() for number in range(10))


def test_equal_boxes_of_different_classes_are_both_kept(animals):
    data = CocoBoxes(*animals([box(1), box(2, category_id=2), box(3, image=2)]))
    assert data.report == []
    assert len(data[0].boxes) == 2


def test_category_id_is_optional_with_a_single_category(animals):
    data = CocoBoxes(*animals([box(1) | {"category_id": None}], categories=[FOX]))
    assert data.report == []
    assert len(data[0].boxes) == 1


def test_boxes_are_clipped_to_the_image(animals):
    sample = CocoBoxes(*animals([box(1, bbox=(-5, 40, 20, 30)), box(2, bbox=(50, 0, 99, 5))]))[0]
    np.testing.assert_allclose(sample.boxes, [[0, 40, 15, 8], [50, 0, 14, 5]])


def test_crowds_are_ignored(animals):
    polygon = [[40.0, 20.0, 50.0, 20.0, 50.0, 30.0, 40.0, 30.0]]
    crowds = [
        box(1, iscrowd=1, segmentation=polygon),
        box(2, iscrowd=1, bbox=(60, 40, 4, 8)),
        box(3, iscrowd=1, bbox=(0, 0, 9, 9), category_id=2),
        box(4),
    ]
    sample = CocoBoxes(*animals(crowds), classes=("fox",))[0]
    assert len(sample.boxes) == 1
    assert sample.ignore[25, 45]
    assert sample.ignore[40:, 60:].all()
    assert not sample.ignore[:9, :9].any()  # its class is background


def test_five_hundred_objects_are_read(animals):
    corners = np.stack(np.meshgrid(np.arange(25) * 2.5, np.arange(20) * 2.4), -1).reshape(-1, 2)
    boxes = [
        box(n, bbox=(*corner, 2.0, 2.2), category_id=4 - n % 2 * 2)
        for n, corner in enumerate(corners.tolist())
    ]
    data = CocoBoxes(*animals(boxes))
    assert data.report == []
    sample = TrainingSet([data], augment=Augment.none(), input_size=(128, 96), weights=[1.0])[1]
    assert len(data[0].boxes) == 500
    np.testing.assert_array_equal(data[0].classes, np.arange(500) % 2)
    assert len(sample.boxes) in (0, 500)


@pytest.mark.parametrize("factor", [2, 4])
def test_reduced_samples_keep_positions(animals, factor):
    data = CocoBoxes(*animals([box(1), box(2, iscrowd=1, bbox=(40, 0, 24, 48))]))
    small = data.load(0, factor)
    assert small.image.shape == (48 // factor, 64 // factor, 3)
    np.testing.assert_allclose(small.boxes, data[0].boxes / factor)
    np.testing.assert_allclose(small.areas, data[0].areas / factor**2)
    assert small.ignore[:, 40 // factor :].all()


def test_image_sizes_are_optional(animals):
    path, folder = animals([box(1, bbox=(60, 40, 20, 20)), box(2, bbox=(70, 0, 5, 5))])
    content = json.loads(path.read_text())
    content["images"] = [{"id": 1, "file_name": "1.png"}]
    path.write_text(json.dumps(content))
    data = CocoBoxes(path, folder)
    assert data.size(0) is None
    np.testing.assert_allclose(data[0].boxes, [[60, 40, 4, 8]])


def test_keypoint_files_load_as_boxes(foxes):
    data = CocoBoxes(*foxes([box(1, category_id=1)], category=CATEGORY))
    assert data.classes == ("fox",)
    assert len(data[0].boxes) == 1
