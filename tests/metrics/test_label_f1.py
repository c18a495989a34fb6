"""Figures of label maps against masks compared one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.metrics import label_map_counts, pooled_figures
from tagwise.metrics.label_f1 import IOU_THRESHOLDS


def one_by_one(found, truth, thresholds):
    """Every found mask against every true one, matched once each, best first."""
    counts = []
    ours = [found == label for label in np.unique(found) if label > 0]
    theirs = [truth == label for label in np.unique(truth) if label > 0]
    for threshold in thresholds:
        pairs = []
        for i, a in enumerate(ours):
            for j, b in enumerate(theirs):
                iou = (a & b).sum() / (a | b).sum()
                if iou > threshold:
                    pairs.append((iou, i, j))
        used_ours, used_theirs = set(), set()
        for _, i, j in sorted(pairs, reverse=True):
            if i not in used_ours and j not in used_theirs:
                used_ours.add(i)
                used_theirs.add(j)
        right = len(used_ours)
        counts.append([right, len(ours) - right, len(theirs) - right])
    return counts


def scene(seed, size=24, N=6, noise=0.1):
    """Discs that touch, and the same with some pixels given to others."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((size, size + 3), np.int64)
    y, x = np.mgrid[:size, : size + 3]
    for n in range(rng.integers(0, N + 1)):
        cx, cy, r = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(1, 9)
        truth[np.hypot(x - cx, y - cy) < r] = n + 1
    found = np.roll(truth, rng.integers(-1, 2, 2), (0, 1))
    changed = rng.uniform(size=truth.shape) < noise * rng.uniform()
    found[changed] = rng.integers(0, N + 1, changed.sum())
    return found, truth


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
    far=st.booleans(),
)
def test_equals_masks_one_by_one(seed, dtype, far):
    found, truth = scene(seed)
    expected = one_by_one(found, truth, IOU_THRESHOLDS)
    if far and dtype == np.int64:  # labels too large for a table of all
        found, truth = found * 10**12, truth * 10**9
    assert label_map_counts(found.astype(dtype), truth.astype(dtype)).tolist() == expected


def test_scenes_contain_hard_cases():
    """The comparison above needs scenes that are partly right and partly wrong."""
    counts = sum(label_map_counts(*scene(seed)) for seed in range(50))
    shares = counts[:, 0] / counts.sum(1)
    assert 0.3 < shares[0] < 0.95
    assert 0.02 < shares[-1] < shares[0] - 0.2


@given(seed=st.integers(0, 2**32 - 1))
def test_label_numbers_do_not_matter(seed):
    found, truth = scene(seed)
    rng = np.random.default_rng(seed)
    names = np.concatenate([[0], rng.permutation(1000)[:20] + 1])
    np.testing.assert_array_equal(
        label_map_counts(names[found], truth), label_map_counts(found, truth)
    )
    np.testing.assert_array_equal(
        label_map_counts(truth, found), label_map_counts(found, truth)[:, [0, 2, 1]]
    )


def test_iou_equal_to_the_threshold_does_not_match():
    """Two true instances may each share half with a found one: neither is it."""
    found, truth = np.array([[1, 1]]), np.array([[1, 2]])
    assert label_map_counts(found, truth, [0.5]).tolist() == [[0, 1, 2]]


def test_negative_labels_are_background():
    found, truth = scene(3)
    expected = label_map_counts(found, truth)
    found[found == 0] = -1
    truth[0, truth[0] == 0] = -5
    np.testing.assert_array_equal(label_map_counts(found, truth), expected)


def test_empty_label_maps():
    empty, full = np.zeros((4, 5), np.int32), np.ones((4, 5), np.int32)
    assert label_map_counts(empty, empty).tolist() == [[0, 0, 0]] * 5
    assert label_map_counts(empty, full).tolist() == [[0, 0, 1]] * 5
    assert label_map_counts(full, empty).tolist() == [[0, 1, 0]] * 5
    assert label_map_counts(full, full).tolist() == [[1, 0, 0]] * 5
    assert set(pooled_figures(label_map_counts(empty, empty)).values()) == {-1.0}


def test_figures_are_pooled_over_images():
    scenes = [scene(seed) for seed in range(20)]
    counts = sum(label_map_counts(*maps) for maps in scenes)
    figures = pooled_figures(counts)
    for n, at in enumerate(("@.5", "@.6", "@.7", "@.8", "@.9")):
        tp, fp, fn = (int(v) for v in counts[n])
        precision, recall = tp / (tp + fp), tp / (tp + fn)
        expected = 2 * precision * recall / (precision + recall)
        assert figures[f"F1{at}"] == pytest.approx(expected)
        assert figures[f"pooledAP{at}"] == pytest.approx(expected / (2 - expected))
    assert len(figures) == 10


def test_figures_equal_those_of_a_published_pair():
    """A watershed on the fluorescence part of the Bowl: F1 .794 and AP .658 are one count."""
    f1 = 0.794
    counts = np.array([[f1 * 1000, (1 - f1) * 1000, (1 - f1) * 1000]])
    figures = pooled_figures(counts, [0.5])
    assert figures["F1@.5"] == pytest.approx(0.794)
    assert figures["pooledAP@.5"] == pytest.approx(0.658, abs=5e-4)


def test_invalid_input_is_named():
    maps = np.zeros((4, 5), int)
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(5, 4\)"):
        label_map_counts(maps, maps.T)
    with pytest.raises(ValueError, match=r"\.5 or more"):
        label_map_counts(maps, maps, [0.3, 0.5])
