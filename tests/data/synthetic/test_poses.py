import numpy as np
import pytest

from tagwise.data.coco import CocoKeypoints
from tagwise.data.synthetic.poses import SyntheticPoses
from tagwise.data.synthetic.scenes import background
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton

ODD = Skeleton("odd", tuple("abcdef"), ((0, 1), (1, 2), (2, 3), (2, 4)))  # f is not connected
ROBOT = Skeleton(
    "robot",
    ("head", "trunk", "right_hand", "left_hand", "right_foot", "left_foot"),
    ((0, 1), (1, 2), (1, 3), (1, 4), (1, 5)),
)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14, ROBOT, ODD])
def test_scenes_can_have_any_skeleton(skeleton):
    scenes = SyntheticPoses(skeleton, length=6, size=(160, 120), people=(2, 5))
    assert len(scenes) == 6
    for index in range(6):
        sample = scenes[index]
        count = len(sample.keypoints)
        assert sample.image.shape == (120, 160, 3)
        assert sample.keypoints.shape == (count, len(skeleton), 3)
        assert count <= 5
        assert set(np.unique(sample.keypoints[..., 2])) <= {0, 1, 2}
        assert (sample.keypoints[..., 2] > 0).any(1).all()
        assert (sample.areas >= 1).all()
        assert (sample.areas <= sample.boxes[:, 2:].prod(1) + 1e-3).all()
        assert sample.labelled.all()


def test_scenes_are_reproducible():
    first, second = (SyntheticPoses(length=4, size=(96, 96), seed=7) for _ in range(2))
    np.testing.assert_array_equal(first[3].image, second[3].image)
    np.testing.assert_array_equal(first[3].keypoints, second[3].keypoints)
    assert (first[3].image != first[2].image).any()
    assert (first[3].image != SyntheticPoses(length=4, size=(96, 96), seed=8)[3].image).any()


def test_indices_out_of_range_raise_index_error():
    scenes = SyntheticPoses(length=2, size=(32, 32))
    assert len(list(scenes)) == 2  # iteration through __getitem__ ends at IndexError
    with pytest.raises(IndexError):
        scenes[-1]


def test_keypoints_are_on_their_figure():
    """The keypoints of a single figure are where the image differs from its background."""
    scenes = SyntheticPoses(COCO17, length=20, size=(200, 200), people=(1, 1), seed=2)
    for index in range(20):
        sample = scenes[index]
        rng = np.random.default_rng((2, index))
        changed = (sample.image != background(rng, (200, 200))).any(2)
        for instance, box in zip(sample.keypoints, sample.boxes):
            assert (instance[:, 2] != 1).all()  # no other figure hides it
            x, y = np.rint(instance[instance[:, 2] > 0, :2]).astype(int).T
            assert changed[y, x].mean() > 0.9
            assert (x >= box[0] - 1).all()
            assert (x <= box[0] + box[2]).all()


def test_figures_in_front_hide_keypoints():
    crowd = SyntheticPoses(COCO17, length=8, size=(160, 160), people=(8, 8), tallness=(0.6, 0.9))
    visibility = np.concatenate([crowd[i].keypoints[..., 2].ravel() for i in range(8)])
    assert (visibility == 1).mean() > 0.1
    assert (visibility == 2).mean() > 0.1


def test_saved_scenes_load_as_a_coco_dataset(tmp_path):
    scenes = SyntheticPoses(ROBOT, length=3, size=(96, 64), seed=1)
    path = scenes.save(tmp_path / "made")
    data = CocoKeypoints(path, tmp_path / "made/images")
    assert data.report == []
    assert data.skeleton == ROBOT
    assert data.ids == scenes.ids
    for index in range(3):
        assert data.info(index) == scenes.info(index)
        made, read = scenes[index], data[index]
        np.testing.assert_array_equal(read.image, made.image)
        np.testing.assert_allclose(read.keypoints, made.keypoints, atol=0.006)
        np.testing.assert_allclose(read.boxes, made.boxes)
        np.testing.assert_allclose(read.areas, made.areas)


def test_reduced_scenes_keep_keypoint_positions():
    scenes = SyntheticPoses(length=1, size=(100, 60), people=(3, 3))
    whole, small = scenes[0], scenes.load(0, 4)
    assert small.image.shape == (15, 25, 3)
    has = whole.keypoints[..., 2] > 0
    expected = (whole.keypoints[has, :2] + 0.5) / 4 - 0.5
    np.testing.assert_allclose(small.keypoints[has, :2], expected, atol=1e-4)
