import json

import cv2
import numpy as np
import pytest
from foxes_labels import CATEGORY, annotation
from PIL import Image

from tagwise.data.coco import CocoKeypoints, match_types
from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.skeletons import Skeleton


def test_valid_file_gives_images_and_instances(foxes):
    data = CocoKeypoints(*foxes([annotation(1), annotation(2, image=2), annotation(3, image=2)]))
    assert len(data) == 2
    assert data.ids == [1, 2]
    assert data.report == []
    assert data.info(1) == ("2.png", 64, 48)
    assert data.size(1) == (64, 48)
    sample = data[1]
    assert sample.keypoints.shape == (2, 3, 3)
    assert sample.keypoints.dtype == sample.boxes.dtype == sample.areas.dtype == np.float32
    np.testing.assert_allclose(sample.keypoints[0], [[20, 10, 2], [30, 40, 2], [12, 40, 1]])
    np.testing.assert_allclose(sample.boxes[0], [10, 8, 24, 36])
    np.testing.assert_allclose(sample.areas, [500, 500])
    np.testing.assert_array_equal(sample.image, read_image(data.path(1)))
    assert sample.labelled.all()
    assert not sample.ignore.any()
    assert (sample.image_id, sample.file) == (2, "2.png")


def test_values_of_unlabelled_keypoints_are_not_checked(foxes):
    data = CocoKeypoints(*foxes([annotation(1, keypoints=[-7, 999, 0, 30, 40, 2, 12, 40, 1])]))
    assert data.report == []
    np.testing.assert_array_equal(data[0].keypoints[0, 0], 0)


def test_image_without_annotations_has_no_instances(foxes):
    sample = CocoKeypoints(*foxes([annotation(1)]))[1]
    assert sample.keypoints.shape == (0, 3, 3)
    assert sample.boxes.shape == (0, 4)


def test_crowds_and_unlabelled_instances_are_ignored(foxes):
    runs = {"size": [48, 64], "counts": [0, 48, 48 * 63]}
    polygon = [[40.0, 20.0, 50.0, 20.0, 50.0, 30.0, 40.0, 30.0]]
    empty = [0] * 9
    data = CocoKeypoints(
        *foxes(
            [
                annotation(1, keypoints=empty, iscrowd=1, segmentation=runs),
                annotation(2, keypoints=empty, iscrowd=1, segmentation=polygon),
                annotation(3, keypoints=empty, iscrowd=1, bbox=[60, 40, 4, 8]),
                annotation(4, keypoints=empty, num_keypoints=0, bbox=[5, 0, 3, 2]),
                annotation(5),
            ]
        )
    )
    sample = data[0]
    assert len(sample.keypoints) == 1
    assert sample.ignore[:, 0].all()
    assert sample.ignore[25, 45]
    assert sample.ignore[40:, 60:].all()
    assert sample.ignore[:2, 5:8].all()
    assert not sample.ignore[10, 20]
    assert not sample.ignore[30, 1:40].any()
    assert data.report == []


def test_names_are_mapped(foxes):
    pup = Skeleton("pup", ("Right Paw", "tail", "snout", "leftPaw"))
    data = CocoKeypoints(*foxes([annotation(1)]), skeleton=pup, mapping={"snout": "nose"})
    sample = data[0]
    np.testing.assert_allclose(sample.keypoints[0, :, 0], [12, 0, 20, 30])
    assert sample.labelled.tolist() == [True, False, True, True]
    without = CocoKeypoints(*foxes([annotation(1)]), skeleton=pup, mapping={"leftPaw": None})
    assert without[0].labelled.tolist() == [True, False, False, False]


def test_mapping_of_unknown_names_is_refused(foxes):
    files = foxes([annotation(1)])
    with pytest.raises(UserError, match="did you mean 'nose'"):
        CocoKeypoints(*files, mapping={"nosse": "nose"})
    with pytest.raises(UserError, match="did you mean 'left_paw'"):
        CocoKeypoints(*files, mapping={"nose": "left_pow"})
    with pytest.raises(UserError, match="nose, left_paw, right_paw"):
        CocoKeypoints(*files, skeleton=Skeleton("x", ("hand",)))


def types(*names):
    return Skeleton("x", names)


@pytest.mark.parametrize(
    ("target", "source", "columns"),
    [
        (types("toe+", "toe-", "toe"), types("toe", "toe+", "toe-"), (1, 2, 0)),
        (types("A", "a"), types("a", "A"), (1, 0)),
        (types("鼻", "左眼"), types("左眼", "鼻"), (1, 0)),
        (types("e\u0301paule", "tail"), types("TAIL", "\u00e9paule"), (1, 0)),
        (types("mid_hip", "nose"), types("Nose", "midhip"), (1, 0)),
        (types("toe+", "nose"), types("toe-", "nose"), (-1, 1)),
        (types("left_hip", "nose"), types("LeftHip", "left-hip", "nose"), (-1, 2)),
    ],
)
def test_keypoint_types_are_matched_by_name(target, source, columns):
    assert tuple(match_types(target, source, {}, "x.json")) == columns


def test_mapped_names_may_be_typed_in_another_form():
    target, source = types("nose", "\u00e9paule"), types("e\u0301paule", "museau")
    mapping = {"e\u0301paule": None, "nose": "museau"}
    assert tuple(match_types(target, source, mapping, "x.json")) == (1, -1)


def test_instances_without_wanted_types_are_ignored(foxes):
    paws = Skeleton("paws", ("left_paw", "right_paw"))
    nose = annotation(1, keypoints=[20, 10, 2, 0, 0, 0, 0, 0, 0])
    sample = CocoKeypoints(*foxes([nose, annotation(2, image=2)]), skeleton=paws)[0]
    assert len(sample.keypoints) == len(sample.boxes) == 0
    assert sample.ignore[8:44, 10:34].all()


def test_types_that_are_never_labelled_contribute_no_loss(foxes):
    noseless = annotation(1, keypoints=[0, 0, 0, 30, 40, 2, 12, 40, 1])
    assert CocoKeypoints(*foxes([noseless]))[0].labelled.tolist() == [False, True, True]


FAULTS = [
    ({"image_id": 77}, "unknown image", 0),
    ({"image_id": [1]}, "unknown image", 0),
    ({"category_id": 5}, "unknown category", 0),
    ({"keypoints": [1, 2, 2]}, "wrong number of keypoints", 0),
    ({"keypoints": "many"}, "wrong number of keypoints", 0),
    ({"keypoints": [None] * 9}, "not numbers|not finite", 0),
    ({"keypoints": ["a"] * 9}, "not numbers", 0),
    ({"keypoints": [float("nan"), 10, 2, 30, 40, 2, 12, 40, 1]}, "not finite", 2),
    ({"keypoints": [20, 10, 2, 30, 480, 2, -12, 40, 1]}, "outside the image", 1),
    ({"bbox": [3, 4, 0, 5]}, "box has no size", 3),
    ({"bbox": [3, 4, float("inf"), 5]}, "box has no size", 3),
    ({"iscrowd": 1, "segmentation": {"size": [9, 9], "counts": [81]}}, "region cannot be read", 0),
    ({"iscrowd": 1, "segmentation": [], "bbox": None}, "region cannot be read", 0),
]


@pytest.mark.parametrize(("fields", "words", "left"), FAULTS)
def test_faults_are_reported_and_left_out(foxes, fields, words, left):
    """The fault is reported with the id of its annotation, and the rest of the file is kept."""
    data = CocoKeypoints(*foxes([annotation(8) | fields, annotation(9, image=2)]))
    assert len(data.report) == 1
    problem = data.report[0]
    assert problem.annotation_id == 8
    assert any(word in problem.kind for word in words.split("|"))
    assert len(data[1].keypoints) == 1
    assert (data[0].keypoints[..., 2] > 0).sum() == left
    assert np.isfinite(data[0].keypoints).all()
    assert np.isfinite(data[0].boxes).all()
    assert (data[0].boxes[:, 2:] > 0).all()


def test_missing_box_is_around_the_keypoints_and_has_a_least_size(foxes):
    """3 % of the diagonal of these images of 64 × 48 pixels are 2.4 pixels."""
    line = annotation(1, keypoints=[20, 10, 2, 30, 10, 2, 0, 0, 0], bbox=[])
    point = annotation(2, image=2, keypoints=[20, 10, 2, 0, 0, 0, 0, 0, 0], bbox=[])
    data = CocoKeypoints(*foxes([line, point]))
    np.testing.assert_allclose(data[0].boxes, [[20, 8.8, 10, 2.4]])
    np.testing.assert_allclose(data[1].boxes, [[18.8, 8.8, 2.4, 2.4]])
    assert [str(problem) for problem in data.report if "its size" in problem.kind] == [
        "2.png, image 2, annotation 2: 2 × 2 pixels"
    ]


def test_broken_crowd_region_is_replaced_by_its_box(foxes):
    broken = {"size": [48, 64], "counts": "~"}
    crowd = annotation(1, keypoints=[0] * 9, iscrowd=1, segmentation=broken, bbox=[0, 0, 9, 7])
    data = CocoKeypoints(*foxes([crowd]))
    assert "its box is ignored instead" in data.report[0].kind
    assert data[0].ignore[:7, :9].all()
    assert data[0].ignore.sum() == 63


def test_duplicate_annotations_and_images_are_left_out(foxes):
    """Different annotations may share an id; only an exact copy is left out."""
    data = CocoKeypoints(*foxes([annotation(1), annotation(1, image=2)]))
    assert data.report == []
    assert [len(data[n].keypoints) for n in (0, 1)] == [1, 1]
    data = CocoKeypoints(*foxes([annotation(2), annotation(2)]))
    assert [problem.kind for problem in data.report] == ["duplicate annotation, left out"]
    assert len(data[0].keypoints) == 1
    json_path, folder = foxes([annotation(1)])
    content = json.loads(json_path.read_text())
    content["images"].append(content["images"][0] | {"file_name": "2.png"})
    content["images"].append({"id": 50})
    json_path.write_text(json.dumps(content))
    data = CocoKeypoints(json_path, folder)
    assert data.ids == [1, 2]
    assert data.info(0).file == "1.png"
    assert [problem.image_id for problem in data.report] == [1, 50]


def test_missing_images_are_reported_and_left_out(foxes):
    path, folder = foxes([annotation(1), annotation(2, image=2)])
    (folder / "1.png").unlink()
    data = CocoKeypoints(path, folder)
    assert data.ids == [2]
    assert [str(problem) for problem in data.report] == ["1.png, image 1"]
    (folder / "2.png").unlink()
    with pytest.raises(UserError, match="none of the 2 images"):
        CocoKeypoints(path, folder)


def test_check_images_removes_broken_images(foxes):
    path, folder = foxes([annotation(1)], images=3)
    (folder / "2.png").write_bytes(b"")
    cv2.imwrite(str(folder / "3.png"), np.zeros((9, 9, 3), np.uint8))
    data = CocoKeypoints(path, folder)
    for index, words in ((1, "empty"), (2, "9×9.*gives 64×48")):
        with pytest.raises(UserError, match=words):
            data[index]
    found = data.check_images()
    assert [problem.image_id for problem in found] == [2, 3]
    assert data.report == found
    assert data.ids == [1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{not json", "not JSON: .* line 1"),
        ("[1, 2]", "contains a list"),
        ('{"images": []}', "annotations or categories"),
        ('{"images": [{}], "annotations": [], "categories": []}', 'no "id"'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "no category"),
    ],
)
def test_files_that_are_not_coco_are_refused(tmp_path, text, words):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        CocoKeypoints(path, tmp_path)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_empty_dataset_are_refused(tmp_path, foxes):
    with pytest.raises(UserError, match="no such file"):
        CocoKeypoints(tmp_path / "none.json", tmp_path)
    with pytest.raises(UserError, match="lists no image"):
        CocoKeypoints(*foxes([], images=0))


def test_category_is_chosen_by_name(foxes):
    hare = CATEGORY | {"id": 2, "name": "hare"}
    files = foxes([annotation(1), annotation(2, category_id=2)], categories=[CATEGORY, hare])
    assert CocoKeypoints(*files).skeleton.name == "fox"
    data = CocoKeypoints(*files, category="hare")
    assert data.skeleton.name == "hare"
    assert data.category_id == 2
    assert len(data[0].keypoints) == 1
    assert [problem.kind[:40] for problem in data.report] == [
        "annotations of category 'fox' left out, "
    ]
    with pytest.raises(UserError, match="'cow'"):
        CocoKeypoints(*files, category="cow")


def test_image_sizes_are_optional(foxes):
    path, folder = foxes([annotation(1, keypoints=[0] * 9, bbox=[60, 40, 4, 8])])
    content = json.loads(path.read_text())
    content["images"] = [{"id": 1, "file_name": "1.png"}]
    path.write_text(json.dumps(content))
    data = CocoKeypoints(path, folder)
    assert data.size(0) is None
    assert data[0].ignore.shape == (48, 64)
    assert data[0].ignore[40:, 60:].all()


def test_labels_may_ignore_the_exif_orientation(foxes):
    """Some tools label a photo without applying its orientation; the image size reveals this."""
    path, folder = foxes([annotation(1)])
    stored = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(folder / "1.png", exif=exif)
    np.testing.assert_array_equal(CocoKeypoints(path, folder)[0].image, stored)


@pytest.mark.parametrize("factor", [2, 4])
def test_reduced_samples_keep_positions(foxes, factor):
    crowd = annotation(2, keypoints=[0] * 9, iscrowd=1, bbox=[40, 0, 24, 48])
    data = CocoKeypoints(*foxes([annotation(1), crowd]))
    whole, small = data[0], data.load(0, factor)
    assert small.image.shape == (48 // factor, 64 // factor, 3)
    assert small.ignore.shape == small.image.shape[:2]
    assert small.ignore[:, 40 // factor :].all()
    assert not small.ignore[:, : 40 // factor].any()
    expected = (whole.keypoints[..., :2] + 0.5) / factor - 0.5
    np.testing.assert_allclose(small.keypoints[..., :2], expected)
    np.testing.assert_allclose(small.boxes, whole.boxes / factor)
    np.testing.assert_allclose(small.areas, whole.areas / factor**2)
