"""Tests of the learned score of poses."""

import numpy as np
import pytest

from tagwise.errors import UserError
from tagwise.evaluation.pose_score import PoseScore, fit_pose_score, pose_features
from tagwise.grouping import KeypointGroups

FLIP = (0, 2, 1)  # head, left hand, right hand


def figures(count, seed=0, upright=True):
    """Poses (N, 3, 3): a head above two hands, or below them; hands may be missing."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(8, 30, (count, 1))
    y = np.stack([np.full(count, 0.0 if upright else 1.0), *np.full((2, count), 0.6)], axis=1)
    x = np.tile([0.5, 0.2, 0.8], (count, 1))
    place = np.stack([x, y], -1) + rng.normal(0, 0.03, (count, 3, 2))
    xy = place * side[..., None] + rng.uniform(0, 90, (count, 1, 2))
    scores = rng.uniform(0.2, 1, (count, 3))
    scores[:, 1:][rng.random((count, 2)) < 0.1] = 0
    poses = np.concatenate([xy, scores[..., None]], -1)
    poses[scores == 0, :2] = np.nan
    return poses


def by_definition(score, poses):
    """The formula of the docstring, keypoint by keypoint."""
    out = []
    for pose in poses:
        there = [k for k in range(len(pose)) if pose[k, 2] > 0]
        low, high = pose[there, :2].min(0), pose[there, :2].max(0)
        side, centre = max(max(high - low), 1.0), (low + high) / 2
        z = score.bias + score.size * np.log(side)
        for k in there:
            u, v = (pose[k, :2] - centre) / side
            z += score.scores[k] * pose[k, 2] + score.x[k] * u + score.y[k] * v
        out.append(1 / (1 + np.exp(-z)))
    return np.array(out)


def test_the_score_is_that_of_its_formula():
    score = PoseScore(-1, 0.3, (1, 2, 0.5), (0.1, -2, 1), (0.2, 3, -1))
    poses = figures(20)
    np.testing.assert_allclose(score(poses), by_definition(score, poses), rtol=1e-9)
    assert score(poses[:0]).shape == (0,)


def test_size_and_place_count_only_as_they_should():
    poses = figures(10)
    moved = poses + np.array([7, -3, 0])
    larger = poses * np.array([2, 2, 1])
    np.testing.assert_allclose(pose_features(moved), pose_features(poses), atol=1e-9)
    difference = pose_features(larger) - pose_features(poses)
    np.testing.assert_allclose(difference[:, :-1], 0, atol=1e-9)
    np.testing.assert_allclose(difference[:, -1], np.log(2), atol=1e-9)


def test_a_fit_tells_poses_from_scattered_keypoints():
    """Upside-down figures are wrong, but their keypoints are as confident as those of others."""
    poses = np.concatenate([figures(300), figures(300, 1, upright=False)])
    truth = np.repeat([0.9, 0.0], 300)
    score = fit_pose_score(poses, truth, FLIP)
    right, wrong = score(figures(100, 2)), score(figures(100, 3, upright=False))
    assert (right[:, None] > wrong).mean() > 0.99
    keypoints = [poses[:, :, 2].mean(1)[part] for part in (slice(300), slice(300, 600))]
    assert 0.4 < (keypoints[0][:, None] > keypoints[1]).mean() < 0.6  # the mean score cannot


def test_a_pose_and_its_mirror_image_have_the_same_score():
    poses = np.concatenate([figures(200), figures(200, 1, upright=False)])
    score = fit_pose_score(poses, np.repeat([1.0, 0.0], 200), FLIP)
    mirrored = poses[:, FLIP] * np.array([-1, 1, 1])
    np.testing.assert_allclose(score(mirrored), score(poses), atol=1e-3)


def test_a_fit_equals_scikit_learns_logistic_regression():
    """With whole targets, it is a logistic regression with an L2 penalty."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    poses = np.concatenate([figures(150), figures(150, 1, upright=False)])
    poses += np.random.default_rng(5).normal(0, 6, poses.shape) * [1, 1, 0]
    target = np.repeat([1, 0], 150)
    score = fit_pose_score(poses, target, FLIP)
    mirrored = poses[:, FLIP] * np.array([-1.0, 1, 1])
    features = np.concatenate([pose_features(poses), pose_features(mirrored)])
    inputs = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = linear_model.LogisticRegression(C=0.5, tol=1e-8, max_iter=10_000)
    expected = model.fit(inputs, np.tile(target, 2)).predict_proba(inputs[:300])[:, 1]
    np.testing.assert_allclose(score(poses), expected, atol=2e-3)


def test_groups_are_ranked_by_the_score():
    poses = np.concatenate([figures(3, upright=False), figures(3)]).astype(np.float32)
    tags, peaks = np.arange(18.0).reshape(6, 3, 1), np.arange(18).reshape(6, 3)
    groups = KeypointGroups(poses, np.linspace(0.9, 0.1, 6), tags, peaks)
    ranked = PoseScore(0, 0, (0, 0, 0), (0, 0, 0), (-5, 2, 2)).rank(groups)
    assert (np.diff(ranked.scores) <= 0).all()
    assert set(ranked.peaks[:3].min(1)) == {9, 12, 15}  # upright ones first
    for keypoints, tag, peak in zip(ranked.keypoints, ranked.tags, ranked.peaks):
        np.testing.assert_array_equal(keypoints, poses[peak[0] // 3])
        assert tag[0, 0] == peak[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": (0.0,)}, "give one per keypoint type"),
        ({"bias": float("nan")}, "bias"),
        ({"y": ("a", 0, 0)}, "y"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, message):
    good = {"bias": 0.0, "size": 0.0, "scores": (0, 0, 0), "x": (0, 0, 0), "y": (0, 0, 0)}
    assert PoseScore.from_dict(good).to_dict() == PoseScore(**good).to_dict()
    with pytest.raises(UserError, match=message):
        PoseScore.from_dict({**good, **values})


def test_too_few_poses_are_refused():
    with pytest.raises(UserError, match=r"40 poses are right and 60 are wrong.*more labelled"):
        fit_pose_score(figures(100), np.repeat([1.0, 0.0], [40, 60]), FLIP)
