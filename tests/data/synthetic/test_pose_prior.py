import numpy as np
import pytest

from tagwise.data.synthetic.pose_prior import GeneratedPoses, RealPoses
from tagwise.errors import UserError
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton


def write(path, pixels, size, **content):
    """Save keypoints (N, 17, 3) normalised by the size and rounded to six decimals."""
    normal = pixels.copy()
    normal[..., :2] = np.round(normal[..., :2] / size, 6)
    np.savez(path, keypoints=normal.astype(np.float32), **content)
    return path


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    return np.concatenate(
        [rng.integers(20, 420, (5, 17, 2)), rng.integers(1, 3, (5, 17, 1))], 2
    ).astype(float)


@pytest.mark.parametrize("size", [(640, 427), (480, 640), (500, 487), (320, 240)])
def test_unknown_image_sizes_are_recovered(tmp_path, pixels, size):
    poses = RealPoses(write(tmp_path / "a.npz", pixels, size), COCO17, np.random.default_rng(0))
    np.testing.assert_allclose(poses.poses, pixels, atol=1e-3)


def test_only_training_poses_with_enough_keypoints_are_used(tmp_path, pixels):
    pixels[0, 9:] = 0
    path = write(tmp_path / "a.npz", pixels, (640, 480), split=np.array([0, 0, 1, 0, 1]))
    poses = RealPoses(path, COCO17, np.random.default_rng(0))
    np.testing.assert_allclose(poses.poses, pixels[[1, 3]], atol=1e-3)
    assert len(RealPoses(path, COCO17, np.random.default_rng(0), count=1).poses) == 1


def test_types_that_coco_lacks_stay_unlabelled(tmp_path, pixels):
    path = write(tmp_path / "a.npz", pixels, (640, 480))
    poses = RealPoses(path, CROWDPOSE14, np.random.default_rng(0))
    assert poses.labelled.tolist() == [True] * 12 + [False] * 2
    assert (poses.poses[:, 12:] == 0).all()
    np.testing.assert_allclose(poses.poses[:, 0], pixels[:, 5], atol=1e-3)


def test_changing_a_drawn_pose_does_not_change_the_stored_poses(tmp_path, pixels):
    poses = RealPoses(
        write(tmp_path / "a.npz", pixels, (640, 480)), COCO17, np.random.default_rng(0)
    )
    poses.draw(np.random.default_rng(1))[:] = -1
    assert (poses.poses >= 0).all()


@pytest.mark.parametrize("content", [{}, {"keypoints": np.zeros((3, 5, 3))}])
def test_files_with_other_contents_are_refused(tmp_path, content):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(UserError, match=r"a\.npz"):
        RealPoses(tmp_path / "a.npz", COCO17, np.random.default_rng(0))


def test_files_without_usable_poses_and_missing_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=np.zeros((3, 17, 3)))
    with pytest.raises(UserError, match="contains no person"):
        RealPoses(tmp_path / "a.npz", COCO17, np.random.default_rng(0))
    with pytest.raises(UserError, match=r"absent\.npz"):
        RealPoses(tmp_path / "absent.npz", COCO17, np.random.default_rng(0))


def test_generated_poses_are_connected_and_upright():
    prior, rng = GeneratedPoses(COCO17), np.random.default_rng(0)
    for _ in range(50):
        pose = prior.draw(rng)
        assert pose.shape == (17, 3)
        assert (pose[:, 2] == 2).all()
        forearm = np.hypot(*(pose[9] - pose[7])[:2])
        assert 0.1 < forearm < 0.5
    heads = [prior.draw(rng)[0, 1] < prior.draw(rng)[15, 1] for _ in range(50)]
    assert np.mean(heads) > 0.9


def test_left_and_right_mirror_each_other():
    rest = GeneratedPoses(COCO17).rest
    left = [k for k, name in enumerate(COCO17.keypoints) if "left" in name]
    np.testing.assert_allclose(rest[left, 0], -rest[[COCO17.flip[k] for k in left], 0])
    assert (rest[left, 0] > 0).all()


@pytest.mark.parametrize(
    "skeleton",
    [
        Skeleton("worm", tuple("abcde"), ((0, 1), (1, 2), (2, 3), (3, 4))),
        Skeleton("star", tuple("abcde"), ((0, 1), (0, 2), (0, 3), (0, 4))),
        Skeleton("ring", tuple("abc"), ((0, 1), (1, 2), (2, 0))),
        Skeleton("two", tuple("abcd"), ((0, 1), (2, 3))),
        Skeleton("one", ("a",)),
    ],
)
def test_unknown_skeletons_have_limbs_of_unit_length(skeleton):
    prior = GeneratedPoses(skeleton)
    assert sorted(child for child, _ in prior.parents) == list(range(len(skeleton)))
    for child, parent in prior.parents:
        if parent >= 0:
            assert np.hypot(*(prior.rest[child] - prior.rest[parent])) == pytest.approx(1)
    assert np.isfinite(prior.draw(np.random.default_rng(0))).all()
