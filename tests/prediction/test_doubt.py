"""Doubt: a planted uncertainty ranks first, and choices are varied."""

import numpy as np
import pytest

from tagwise.prediction.doubt import choose_varied, doubt_of, tag_doubt, thumbnail
from tagwise.results import Boxes, Poses
from tagwise.skeletons import Skeleton

PAIR = Skeleton("pair", ("top", "foot"))


def poses(scores=(0.9, 0.9), tags=((0, 0), (5, 5)), shift=0.0):
    """People 40 pixels apart in an image of 200 × 100 pixels."""
    keypoints = [
        [[20 + 40 * n + shift, 20, score], [20 + 40 * n + shift, 60, score]]
        for n, score in enumerate(scores)
    ]
    tags = np.array(tags, float)[: len(scores), :, None]
    found = Poses(np.array(keypoints).reshape(-1, 2, 3), np.array(scores), tags, PAIR)
    return found.transform(np.eye(2, 3), width=200, height=100)


def mirrored(found):
    return found.transform(np.array([[-1.0, 0, 199], [0, 1, 0]]))


SURE = doubt_of(poses(), 0.3, mirrored(poses()))


def test_sure_results_have_little_doubt():
    assert SURE.detection == pytest.approx(0.2)  # two instances, each right with .9
    assert SURE.grouping == 0
    assert SURE.mirror == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("score", "errors"), [(0.25, 0.25), (0.3, 0.7), (0.35, 0.65)])
def test_detection_is_the_expected_number_of_errors(score, errors):
    """Below the threshold an instance may be missed; from there on it may be false."""
    assert doubt_of(poses((0.9, score)), 0.3).detection == pytest.approx(0.1 + errors)


def test_tag_between_two_instances_raises_doubt():
    unsure = tag_doubt(poses(tags=((0, 2.4), (5, 5))))
    assert unsure.tolist() == pytest.approx([1 - (2.6 - 1.2) / 2.6, 0])  # 1.2 is the own mean
    equal = tag_doubt(poses(tags=((1, 1), (1, 1))))
    assert equal.tolist() == [1, 1]
    assert doubt_of(poses(tags=((0, 2.4), (5, 5))), 0.3).total > SURE.total


def test_another_result_of_the_mirror_image_raises_doubt():
    assert doubt_of(poses(), 0.3, mirrored(poses((0.9,)))).mirror == pytest.approx(1 / 2)
    assert doubt_of(poses(), 0.3, mirrored(poses(shift=300))).mirror == pytest.approx(2)


def test_empty_results_and_missing_tags_have_no_doubt():
    none = poses(())
    assert doubt_of(none, 0.3, mirrored(none)).total == 0
    boxes = Boxes(np.ones((2, 4)), np.ones(2), np.zeros(2), ("a",))
    assert doubt_of(boxes, 0.3).total == 0  # their scores are 1
    lost = poses(tags=((np.nan, np.nan), (5, 5)))
    assert tag_doubt(lost).tolist() == [0, 0]


# ---------------------------------------------------------------------- a varied choice


def views(count, seed=0):
    rng = np.random.default_rng(seed)
    return [thumbnail(rng.integers(0, 256, (20, 30, 3), np.uint8)) for _ in range(count)]


def test_most_doubtful_comes_first():
    places = [(name, 0) for name in "abcd"]
    assert choose_varied([0.1, 0.9, 0.5, 0.7], places, views(4), 3) == [1, 3, 2]


def test_neighbours_of_one_video_are_skipped():
    """The 20 most doubtful frames follow each other; only one of them is chosen."""
    doubts = [0.9 if 40 <= n < 60 else 0.5 - n / 1000 for n in range(200)]
    chosen = choose_varied(doubts, [("clip.mp4", n) for n in range(200)], views(200), 4)
    assert len(chosen) == 4
    assert sum(40 <= n < 60 for n in chosen) == 1
    gaps = np.diff(sorted(chosen))
    assert gaps.min() >= 200 / 8


def test_similar_views_are_skipped():
    first, second = views(2)
    chosen = choose_varied([0.9, 0.8, 0.1], [(n, 0) for n in "abc"], [first, first + 1, second], 3)
    assert chosen == [0, 2]
