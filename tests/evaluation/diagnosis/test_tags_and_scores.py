"""The separation of tags and the reliability of scores, against slow and obvious references."""

from itertools import combinations

import numpy as np
import pytest

from tagwise.evaluation.diagnosis.reliability import f1_at, f1_curve, reliability
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags, tag_separation


def random_tags(seed, count, points=4, groups=None, **options):
    """Instances in a row, some of whose points are missing."""
    rng = np.random.default_rng(seed)
    tags = rng.normal(0, 0.4, (count, points, 2)) + rng.normal(0, 2, (count, 1, 2))
    tags[rng.random((count, points)) < 0.2] = np.nan
    x = np.sort(rng.uniform(0, 60 * count, count))
    size = rng.uniform(10, 90, (2, count))
    boxes = np.stack([x, 0 * x, x + size[0], size[1]], 1)
    return InstanceTags(tags.astype(np.float32), boxes, 1.2, groups=groups, **options)


@pytest.mark.parametrize("root_mean", [False, True])
def test_pairs_of_points_are_counted_as_in_a_plain_loop(root_mean):
    images = [random_tags(seed, 5, root_mean=root_mean) for seed in range(3)]
    found = tag_separation(images)
    own, other, gaps, margins, spreads = [], [], [], [], []
    for image in images:
        scale = np.sqrt(2) if root_mean else 1
        points = [[t for t in tags if np.isfinite(t).all()] for tags in image.tags]
        for m, first in enumerate(points):
            own += [np.linalg.norm(a - b) / scale for a, b in combinations(first, 2)]
            mean = np.mean(first, axis=0)
            away = [np.linalg.norm(t - mean) / scale for t in first]
            if len(first) > 1:
                spreads.append(np.sqrt(np.mean(np.square(away))))
            others = [second for n, second in enumerate(points) if n != m]
            means = [np.linalg.norm(np.mean(second, 0) - mean) / scale for second in others]
            gaps.append(min(means))
            near = min(np.linalg.norm(t - mean) / scale for second in others for t in second)
            margins.append(near - max(away))
            other += [np.linalg.norm(s - t) / scale for o in others for t in o for s in first]
    assert found["same"]["pairs"] == len(own)
    assert found["same"]["wrong"] == pytest.approx(np.mean(np.array(own) > 1.2))
    assert found["other"]["pairs"] == len(other)
    assert found["other"]["wrong"] == pytest.approx(np.mean(np.array(other) <= 1.2))
    assert found["spread"] == pytest.approx(np.median(spreads), rel=1e-5)
    assert found["gap"] == pytest.approx(np.median(gaps), rel=1e-5)
    assert found["margin"] == pytest.approx(np.median(margins), rel=1e-5)
    assert found["below_margin"] == np.mean(np.array(margins) < 0)
    for name in ("distance", "overlap", "size"):
        rows = found["other"]["by"][name]
        assert sum(row["pairs"] for row in rows) == len(other)
        wrong = sum(row["pairs"] * (row["wrong"] or 0) for row in rows) / len(other)
        assert wrong == pytest.approx(found["other"]["wrong"])


def test_corners_are_compared_within_their_class_and_where_they_make_a_box():
    tags = np.array([[[0.0], [0.2]], [[5.0], [0.1]], [[9.0], [9.0]]], np.float32)
    boxes = np.array([[0, 0, 10, 10], [100, 0, 110, 10], [50, 0, 60, 10]], float)
    image = InstanceTags(tags, boxes, 1.0, groups=np.array([0, 0, 1]))
    found = tag_separation([image])
    assert found["same"]["pairs"] == 3
    assert found["same"]["wrong"] == pytest.approx(1 / 3)  # 5 and .1
    # The first corner of box 0 with the second of box 1: .1 apart. The other way round is no box.
    assert found["other"]["pairs"] == 1
    assert found["other"]["wrong"] == 1
    grown = InstanceTags(tags, boxes, 1.0, groups=np.array([0, 0, 1]), growth=0.5)
    assert tag_separation([grown])["same"]["wrong"] == 0  # 4.9 / (1 + .5 · 10)


def test_sizes_are_binned_by_the_smaller_instance():
    tags = np.zeros((2, 1, 1), np.float32)
    boxes = np.array([[0, 0, 20, 20], [30, 0, 130, 100]], float)
    rows = tag_separation([InstanceTags(tags, boxes, 1.0)])["other"]["by"]["size"]
    assert [row["pairs"] for row in rows if row["from"] == 16] == [2]


def test_no_instances():
    none = tag_separation([InstanceTags(np.zeros((0, 3, 2), np.float32), np.zeros((0, 4)), 1.0)])
    assert none["instances"] == 0
    assert none["spread"] is none["gap"] is none["same"]["wrong"] is None


def test_expected_calibration_error_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    scores = rng.random(500)
    right = rng.random(500) < scores**2
    found = reliability(scores, right)
    total = 0.0
    for n in range(10):
        part = [(s, r) for s, r in zip(scores, right) if n / 10 <= s < (n + 1) / 10]
        s, r = np.array(part).T
        total += len(part) * abs(s.mean() - r.mean()) / 500
        assert found["bins"][n]["count"] == len(part)
    assert found["ece"] == pytest.approx(total)
    assert reliability(np.zeros(0), np.zeros(0, bool))["ece"] is None


def test_f1_is_that_of_a_plain_count():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 12, 60) / 12
    right = rng.random(60) < scores
    curve = f1_curve(scores, right, 50)
    for n, threshold in enumerate(curve["threshold"]):
        kept = scores >= threshold
        hits = (right & kept).sum()
        assert curve["precision"][n] == pytest.approx(hits / kept.sum())
        assert curve["recall"][n] == pytest.approx(hits / 50)
        assert curve["f1"][n] == pytest.approx(2 * hits / (kept.sum() + 50))
        assert f1_at(scores, right, 50, threshold) == pytest.approx(curve["f1"][n])
    assert sorted(curve["threshold"], reverse=True) == sorted(set(scores), reverse=True)
