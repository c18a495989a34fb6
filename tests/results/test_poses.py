import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tagwise.errors import UserError
from tagwise.results import Poses
from tagwise.skeletons import COCO17, Skeleton

PIN = Skeleton("pin", ("top", "foot"), ((0, 1),))
NAN = np.nan


def two_pins(**fields):
    keypoints = [[[1, 2, 0.9], [5, 10, 0.7]], [[3.456, 4, 0.5], [NAN, NAN, 0]]]
    tags = [[[0.5, 1.0], [0.25, 1.0]], [[2.0, -1.0], [NAN, NAN]]]
    return Poses(np.array(keypoints), np.array([0.8, 0.25]), np.array(tags), PIN, **fields)


def test_json_has_the_documented_layout():
    poses = two_pins(file="photo.jpg", width=640, height=480, model="pins")
    assert json.loads(json.dumps(poses.to_dict(), allow_nan=False)) == {
        "image": {"file": "photo.jpg", "width": 640, "height": 480},
        "model": "pins",
        "task": "pose",
        "keypoints": ["top", "foot"],
        "skeleton": [[0, 1]],
        "instances": [
            {
                "score": 0.8,
                "box": [1.0, 2.0, 4.0, 8.0],
                "keypoints": [[1.0, 2.0, 0.9], [5.0, 10.0, 0.7]],
                "tags": [[0.5, 1.0], [0.25, 1.0]],
            },
            {
                "score": 0.25,
                "box": [3.46, 4.0, 0.0, 0.0],
                "keypoints": [[3.46, 4.0, 0.5], [None, None, 0]],
                "tags": [[2.0, -1.0], [None, None]],
            },
        ],
    }


def test_coco_results_have_zeros_for_missing_keypoints():
    assert two_pins().to_coco(7, category_id=3) == [
        {
            "image_id": 7,
            "category_id": 3,
            "keypoints": [1.0, 2.0, 0.9, 5.0, 10.0, 0.7],
            "score": 0.8,
        },
        {"image_id": 7, "category_id": 3, "keypoints": [3.46, 4.0, 0.5, 0, 0, 0], "score": 0.25},
    ]


def test_pycocotools_reads_the_results_as_detections(tmp_path):
    """The reference implementation gives a perfect result an AP of 1."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(0, 200, (3, 17, 2)), np.ones((3, 17, 1))], axis=2)
    poses = Poses(keypoints, [0.9, 0.8, 0.7], None, COCO17)
    annotations = [
        {
            **row,
            "id": number + 1,
            "keypoints": [2 if n % 3 == 2 else value for n, value in enumerate(row["keypoints"])],
            "num_keypoints": 17,
            "iscrowd": 0,
            "area": 10000,
            "bbox": [0, 0, 200, 200],
        }
        for number, row in enumerate(poses.to_coco(5))
    ]
    truth = {"images": [{"id": 5}], "annotations": annotations, "categories": [COCO17.to_coco()]}
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
        evaluation = COCOeval(coco, coco.loadRes(poses.to_coco(5)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@st.composite
def any_poses(draw):
    N, K, D = draw(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 3)))
    scores = st.floats(0.015625, 1, width=32)
    keypoints = draw(hnp.arrays(np.float32, (N, K, 3), elements=st.floats(-999, 999, width=32)))
    keypoints[..., 2] = draw(hnp.arrays(np.float32, (N, K), elements=scores))
    missing = draw(hnp.arrays(bool, (N, K)))
    keypoints[missing] = (NAN, NAN, 0)
    tags = draw(hnp.arrays(np.float32, (N, K, D), elements=st.floats(-99, 99, width=32)))
    tags[missing] = NAN
    skeleton = Skeleton("thing", tuple(f"part {k}" for k in range(K)))
    return Poses(keypoints, draw(hnp.arrays(np.float32, N, elements=scores)), tags, skeleton)


@settings(deadline=None, max_examples=50)
@given(any_poses())
def test_json_round_trip_keeps_poses_up_to_rounding(poses):
    again = Poses.from_dict(json.loads(json.dumps(poses.to_dict(), allow_nan=False)))
    np.testing.assert_allclose(again.keypoints[..., :2], poses.keypoints[..., :2], atol=0.006)
    np.testing.assert_allclose(again.keypoints[..., 2], poses.keypoints[..., 2], atol=6e-5)
    np.testing.assert_allclose(again.scores, poses.scores, atol=1e-6)
    np.testing.assert_array_equal(again.present, poses.present)
    if len(poses):
        np.testing.assert_allclose(again.tags, poses.tags, atol=6e-5)


@settings(deadline=None, max_examples=50)
@given(any_poses())
def test_boxes_agree_with_a_loop_over_keypoints(poses):
    for box, keypoints in zip(poses.boxes, poses.keypoints, strict=True):
        found = [(x, y) for x, y, score in keypoints if score > 0]
        xs, ys = [x for x, _ in found] or [0], [y for _, y in found] or [0]
        expected = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        np.testing.assert_allclose(box, expected, rtol=1e-5, atol=1e-4)


def test_transform_changes_only_coordinates():
    poses = two_pins()
    moved = poses.transform(np.array([[0, 2, 1], [3, 0, -1]]), width=9)
    np.testing.assert_allclose(moved.keypoints[0, :, :2], [[5, 2], [21, 14]])
    assert np.isnan(moved.keypoints[1, 1, :2]).all()
    np.testing.assert_array_equal(moved.keypoints[..., 2], poses.keypoints[..., 2])
    assert moved.width == 9
    np.testing.assert_allclose(poses.keypoints[0, 0], [1, 2, 0.9])  # the original is unchanged


def test_indexing_selects_poses():
    poses = two_pins()
    assert [len(poses[key]) for key in (0, -1, slice(None), [1, 0], np.array([False, True]))] == [
        *(1, 1, 2, 2, 1)
    ]
    assert poses[1].scores.tolist() == [0.25]
    assert [one.scores[0] for one in poses] == poses.scores.tolist()
    with pytest.raises(IndexError):
        poses[2]


@pytest.mark.parametrize(("threshold", "count"), [(0, 2), (0.25, 2), (0.3, 1), (0.9, 0)])
def test_above_keeps_scores_of_at_least_the_threshold(threshold, count):
    assert len(two_pins().above(threshold)) == count


def test_empty_poses_support_every_method():
    none = Poses(np.empty((0, 2, 3)), np.empty(0), None, PIN, width=4, height=3)
    assert len(none) == 0
    assert none.boxes.shape == (0, 4)
    assert none.to_coco(1) == []
    assert none.to_dict()["instances"] == []
    assert none.plot().size == (4, 3)
    assert len(none.to_supervision()) == 0
    assert len(none.transform(np.eye(2, 3)).above(0.5)) == 0


def test_to_supervision_keeps_scores_and_tags():
    poses = two_pins()
    found = poses.to_supervision()
    np.testing.assert_allclose(found.xy, np.nan_to_num(poses.keypoints[..., :2]))
    np.testing.assert_allclose(found.keypoint_confidence, poses.keypoints[..., 2])
    np.testing.assert_allclose(found.detection_confidence, poses.scores)
    np.testing.assert_allclose(found.data["tags"], poses.tags)
    assert len(found[0]) == 1


def test_plot_reads_the_file_if_no_image_is_kept(tmp_path):
    from PIL import Image

    Image.new("RGB", (40, 30), (9, 80, 200)).save(tmp_path / "blue.png")
    picture = two_pins(file=str(tmp_path / "blue.png"), width=40, height=30).plot()
    assert picture.getpixel((39, 29)) == (9, 80, 200)


def test_plot_without_image_or_size_is_refused():
    with pytest.raises(ValueError, match="give plot"):
        two_pins().plot()


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        {"keypoints": ["a"], "instances": [{}]},
        {"keypoints": ["a"], "instances": [{"score": 1, "keypoints": [[1, 2]], "tags": [[1]]}]},
        {"keypoints": ["a"], "instances": [{"score": "x", "keypoints": [[1, 2, 3]]}]},
    ],
)
def test_other_json_is_refused_in_one_line(record):
    with pytest.raises(UserError, match="not JSON of predicted poses") as caught:
        Poses.from_dict(record)
    assert "\n" not in str(caught.value)


def test_inconsistent_shapes_are_refused():
    with pytest.raises(ValueError, match=r"keypoints must be \(N, 2, 3\)"):
        Poses(np.zeros((1, 3, 3)), [1], None, PIN)
    with pytest.raises(ValueError, match="scores"):
        Poses(np.zeros((1, 2, 3)), [1, 2], None, PIN)


def test_keypoints_without_finite_position_are_missing():
    """They are missing whatever their score is, so that JSON contains no NaN."""
    keypoints = np.array([[[1, 2, 0.9], [NAN, 5, 0.8]], [[np.inf, 2, 0.9], [4, NAN, 0.8]]])
    poses = Poses(keypoints, np.array([0.8, 0.25]), None, PIN)
    assert poses.present.tolist() == [[True, False], [False, False]]
    assert poses.boxes.tolist() == [[1, 2, 0, 0], [0, 0, 0, 0]]
    json.dumps(poses.to_dict(), allow_nan=False)
