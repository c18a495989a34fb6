"""Errors that are planted in perfect results are found exactly, and fixing them restores these."""

import numpy as np
import pytest

from tagwise.evaluation.diagnosis.box_errors import sort_box_errors
from tagwise.evaluation.diagnosis.mask_errors import sort_mask_errors
from tagwise.evaluation.diagnosis.pose_errors import keypoint_similarity, sort_pose_errors
from tagwise.geometry import oks
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton

NAMES = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
FIGURE = Skeleton("figure", NAMES, ((0, 1), (0, 2), (0, 3), (0, 4)), sigmas=(0.05,) * 5)
SHAPE = np.array([[40, 0], [10, 40], [70, 40], [25, 95], [55, 95]], float)
AREA = 80.0 * 100


def people(count):
    """Perfect poses of people in a row, 150 pixels apart; scores fall from .9."""
    xy = SHAPE[None] + np.arange(count)[:, None, None] * (150, 0) + 20
    keypoints = np.concatenate([xy, np.full((count, 5, 1), 0.8)], 2)
    return Poses(keypoints, 0.9 - 0.01 * np.arange(count), None, FIGURE)


def with_keypoints(poses, changes):
    """Poses with some keypoints replaced: (instance, type) -> (x, y), or None for missing."""
    keypoints = poses.keypoints.copy()
    for (n, k), place in changes.items():
        keypoints[n, k] = (np.nan, np.nan, 0) if place is None else (*place, 0.8)
    return Poses(keypoints, poses.scores, None, FIGURE)


def sorted_poses(found, truth, ignore=None):
    return sort_pose_errors(found, truth, np.full(len(truth), AREA), ignore)


def only(errors, **expected):
    """Assert the counts of all kinds."""
    assert {k: v for k, v in errors.counts().items() if v} == expected


def assert_poses_equal(found, truth):
    """The same keypoints in any order of instances."""
    assert len(found) == len(truth)
    order = [found.keypoints[:, :, 0].mean(1).argsort(), truth.keypoints[:, :, 0].mean(1).argsort()]
    pairs = (found.keypoints[order[0], :, :2], truth.keypoints[order[1], :, :2])
    np.testing.assert_allclose(*pairs, atol=1e-4)


def test_perfect_poses_have_no_errors():
    only(sorted_poses(people(4), people(4)))
    assert sorted_poses(people(4), people(4)).right.all()


def test_nothing_found_and_nothing_there():
    only(sorted_poses(people(0), people(3)), missed=3)
    only(sorted_poses(people(2), people(0)), false=2)
    only(sorted_poses(people(0), people(0)))


JITTER = 2 * 0.05 * np.sqrt(AREA) * np.sqrt(-2 * np.log(0.7))  # the distance of similarity .7


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("jitter", lambda p: {(1, 3): p[1, 3] + (JITTER, 0)}),
        ("misplaced", lambda p: {(1, 3): None}),
        ("misplaced", lambda p: {(1, 3): p[1, 3] + (0, 500)}),
        ("inversion", lambda p: {(1, 3): p[1, 4]}),
        ("swap", lambda p: {(1, 3): p[2, 3]}),
        ("swap", lambda p: {(1, 3): p[2, 4]}),  # the other foot of the neighbour
    ],
)
def test_a_keypoint_with_one_error(kind, change):
    truth = people(4)
    found = with_keypoints(truth, change(truth.keypoints[..., :2]))
    errors = sorted_poses(found, truth)
    only(errors, **{kind: 1})
    assert_poses_equal(errors.fixed(kind, 0.5), truth)
    for other in set(errors.kinds) - {kind}:
        assert np.array_equal(errors.fixed(other, 0.5).keypoints, found.keypoints, equal_nan=True)


def test_many_errors_of_every_keypoint_kind_are_counted():
    truth = people(12)
    p, changes = truth.keypoints[..., :2], {}
    for n in range(3):
        changes[n, 1], changes[n, 2] = p[n, 2], p[n, 1]  # both hands inverted
    for n in range(3, 7):
        changes[n, 3] = p[n + 1, 3]
    for n in range(7, 12):
        changes[n, 0] = p[n, 0] + (0, JITTER)
    changes[11, 4] = None
    errors = sorted_poses(with_keypoints(truth, changes), truth)
    only(errors, inversion=6, swap=4, jitter=5, misplaced=1)


def test_missed_false_and_split_instances():
    truth = people(5)
    keypoints = truth.keypoints.copy()
    keypoints[0, 3:] = (np.nan, np.nan, 0)  # instance 0 is found as two
    piece = truth.keypoints[0].copy()
    piece[:3] = (np.nan, np.nan, 0)
    ghost = truth.keypoints[0] + (0, 700, 0)
    every = np.stack([keypoints[0], keypoints[1], keypoints[2], keypoints[3], piece, ghost])
    found = Poses(every, np.linspace(0.9, 0.4, 6), None, FIGURE)
    errors = sorted_poses(found, truth)
    only(errors, missed=1, split=1, false=1, misplaced=2)
    assert errors.found_kinds.tolist() == ["right"] * 4 + ["split", "false"]
    assert errors.truth_kinds.tolist() == ["right"] * 4 + ["missed"]
    assert len(errors.fixed("false", 0.5)) == 5
    assert_poses_equal(errors.fixed("split", 0.5)[:1], truth[:1])
    added = errors.fixed("missed", 0.5)
    assert added.scores[-1] == 0.5
    np.testing.assert_allclose(added.keypoints[-1, :, :2], truth.keypoints[4, :, :2])


def test_two_people_in_one_detection_are_merged():
    truth = people(3)
    p = truth.keypoints[..., :2]
    mixed = with_keypoints(truth, {(0, 3): p[1, 3], (0, 4): p[1, 4]})
    errors = sorted_poses(mixed[[0, 2]], truth)
    only(errors, merged=1)
    assert errors.holders.tolist() == [-1, 0, -1]
    assert_poses_equal(errors.fixed("merged", 0.5), truth)


def test_a_false_detection_in_an_ignored_region_does_not_count():
    truth = people(2)
    below = truth.keypoints[:1] + np.array([0, 300, 0])
    found = Poses(np.concatenate([truth.keypoints, below]), [0.9, 0.8, 0.7], None, FIGURE)
    ignore = np.zeros((600, 600), bool)
    only(sorted_poses(found, truth, ignore), false=1)
    ignore[300:] = True
    only(sorted_poses(found, truth, ignore))


def test_similarity_of_keypoints_is_the_term_of_the_oks():
    rng = np.random.default_rng(0)
    found, truth = people(3), people(2)
    found.keypoints[..., :2] += rng.normal(0, 15, (3, 5, 2))
    areas, sigmas = np.array([5e3, 9e3]), np.array([0.03, 0.05, 0.06, 0.08, 0.1])
    terms = keypoint_similarity(found.keypoints, truth.keypoints, areas, sigmas)
    same = np.einsum("nkmk->nm", terms) / 5
    np.testing.assert_allclose(
        same, oks(found.keypoints, truth.keypoints, areas, sigmas), atol=1e-12
    )


# ---------------------------------------------------------------------- boxes


def boxes(rows, classes=None, scores=None):
    count = len(rows)
    scores = 0.9 - 0.01 * np.arange(count) if scores is None else scores
    classes = np.zeros(count) if classes is None else classes
    return Boxes(np.array(rows, float).reshape(-1, 4), scores, classes, ("cell", "clump"))


TRUTH = boxes([(100 * n, 10, 50, 50) for n in range(6)], [0, 0, 1, 0, 1, 0])


def test_every_kind_of_box_error_is_found():
    found = boxes(
        [
            (0, 10, 50, 50),  # right
            (104, 10, 50, 50),  # IoU .85: inexact
            (200, 10, 50, 50),  # of the other class
            (325, 10, 50, 50),  # IoU 1/3
            (1, 10, 50, 50),  # a second one of the first
            (0, 500, 50, 50),  # nothing there
            (425, 10, 50, 50),  # IoU 1/3, of the other class
        ],
        [0, 0, 0, 0, 0, 1, 0],
    )
    errors = sort_box_errors(found, TRUTH)
    only(
        errors,
        missed=2, inexact=1, classification=1, localisation=1, duplicate=1, background=1, both=1,
    )  # fmt: skip
    assert errors.found_kinds.tolist() == [
        *("right", "inexact", "classification", "localisation"),
        *("duplicate", "background", "both"),
    ]
    assert errors.truth_kinds.tolist() == [
        *("right", "right", "classification", "localisation", "missed", "missed"),
    ]
    result = found
    for kind in errors.kinds:  # one after the other
        errors = sort_box_errors(result, TRUTH)
        result = errors.fixed(kind, 0.5)
    assert sorted(map(tuple, result.boxes.tolist())) == sorted(map(tuple, TRUTH.boxes.tolist()))
    only(sort_box_errors(result, TRUTH))


def test_only_the_best_of_several_wrong_boxes_is_corrected():
    found = boxes([(25, 10, 50, 50), (20, 10, 60, 50)], scores=[0.4, 0.6])
    errors = sort_box_errors(found, TRUTH)
    fixed = errors.fixed("localisation", 0.5)
    assert fixed.boxes.tolist() == [[0, 10, 50, 50]]
    assert fixed.scores.tolist() == pytest.approx([0.6])


def test_boxes_in_ignored_regions_do_not_count():
    ignore = np.zeros((600, 700), bool)
    ignore[450:] = True
    only(sort_box_errors(boxes([(0, 500, 50, 50)]), TRUTH[:0], ignore))


# ---------------------------------------------------------------------- masks


def painted(*rectangles, shape=(60, 200)):
    """A label map of rectangles x, y, width, height; scores fall from .9."""
    labels = np.zeros(shape, np.int32)
    for number, (x, y, width, height) in enumerate(rectangles, 1):
        labels[y : y + height, x : x + width] = number
    return Masks(labels, 0.9 - 0.01 * np.arange(len(rectangles)))


def test_every_kind_of_mask_error_is_found():
    truth = painted(
        *((0, 0, 20, 20), (30, 0, 20, 20), (50, 0, 20, 20), (80, 0, 20, 20)),
        *((110, 0, 20, 20), (140, 0, 20, 20), (170, 0, 20, 20)),
    )
    found = painted(
        (0, 0, 20, 20),  # right
        (30, 0, 40, 20),  # instances 1 and 2 in one
        (80, 0, 20, 9),  # two parts of instance 3
        (80, 10, 20, 9),
        (110, 0, 20, 16),  # IoU .8
        (140, 0, 20, 6),  # IoU .3
        (0, 40, 20, 20),  # nothing there
    )
    errors = sort_mask_errors(found, truth)
    assert errors.found_kinds.tolist() == [
        *("right", "merged", "split", "split", "inexact", "shape", "false"),
    ]
    assert errors.truth_kinds.tolist() == [
        *("right", "merged", "merged", "split", "right", "shape", "missed"),
    ]
    only(errors, missed=1, false=1, merged=2, split=2, shape=1, inexact=1)
    result = found
    for kind in errors.kinds:
        result = sort_mask_errors(result, truth).fixed(kind, 0.5)
    only(sort_mask_errors(result, truth))
    assert len(result) == 7
    assert ((result.labels > 0) == (truth.labels > 0)).all()


def test_no_masks():
    none = painted()
    only(sort_mask_errors(none, none))
    only(sort_mask_errors(none, painted((0, 0, 9, 9))), missed=1)
    only(sort_mask_errors(painted((0, 0, 9, 9)), none), false=1)
