"""The shares of pairs against an enumeration of all pairings."""

from itertools import combinations

import numpy as np
import pytest

from tagwise.grouping.kernels import corners as kernels


def _shares_by_hand(pairs, weights):
    """Sum over all sets of pairs in which no corner is used twice, weighted by their product."""
    total, share = 0.0, np.zeros(len(pairs))
    for size in range(len(pairs) + 1):
        for chosen in combinations(range(len(pairs)), size):
            corners = pairs[list(chosen)].ravel()
            if len(set(corners.tolist())) == 2 * size:
                weight = weights[list(chosen)].prod()
                total += weight
                share[list(chosen)] += weight
    return share / total


def _shares(pairs, odds, squares=None, sides=None, size_weight=0.0):
    count = len(pairs)
    squares = np.full(count, 0.04) if squares is None else squares
    sides = np.ones((count, 2), np.float32) if sides is None else sides
    classes = np.zeros(count, np.int64)
    evidence = kernels.PairEvidence(pairs, squares, sides, classes, odds)
    return kernels.shares(evidence, kernels.PairRules(1, 1.0, 0.2, size_weight))


def _weights(odds, squares):
    """With spread .2 and threshold 1: normal over uniform density, times the prior odds e^-2."""
    density = np.exp(-squares / 0.08) / (0.2 * np.sqrt(2 * np.pi))
    return np.exp(odds - 2) * density / 0.5


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_exact_if_pairs_form_no_cycle(seed):
    pairs = np.array([[0, 10], [0, 11], [1, 11], [2, 11], [2, 12], [3, 13]])
    odds = np.random.default_rng(seed).normal(1, 1.5, len(pairs))
    # If every distance equals the prior spread, so does the fitted spread.
    expected = _shares_by_hand(pairs, _weights(odds, np.full(len(pairs), 0.04)))
    assert _shares(pairs, odds) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_close_if_every_corner_can_pair_with_every_other(seed):
    pairs = np.array([[i, 3 + j] for i in range(3) for j in range(3)])
    odds = np.random.default_rng(seed).normal(1, 1.5, len(pairs))
    expected = _shares_by_hand(pairs, _weights(odds, np.full(len(pairs), 0.04)))
    assert _shares(pairs, odds) == pytest.approx(expected, abs=0.1)


def test_spread_of_tags_is_fitted():
    """Thirty confident pairs with nearly equal tags make a distance of .3 unlikely."""
    pairs = np.stack([np.arange(31), np.arange(31) + 31], axis=1)
    squares = np.full(31, 0.03**2)
    squares[-1] = 0.09
    few = _shares(pairs[-2:], np.full(2, 2.0), squares[-2:])
    many = _shares(pairs, np.full(31, 2.0), squares)
    assert many[-1] < 0.5 * few[-1]
    assert many[0] > few[0]


def test_pairs_of_unlikely_size_have_lower_shares():
    """Twenty confident boxes of 10 x 20, and a corner whose tag fits two others equally well."""
    pairs = np.stack([np.arange(22), np.arange(22) + 22], axis=1)
    pairs[21, 0] = 20
    sides = np.tile(np.float32([10, 20]), (22, 1))
    sides += np.random.default_rng(0).normal(0, 1, sides.shape).astype(np.float32)
    sides[20:] = [(10.5, 20.5), (40, 8)]
    odds = np.full(22, 6.0)
    blind = _shares(pairs, odds, sides=sides)
    assert blind[20] == pytest.approx(blind[21])
    seeing = _shares(pairs, odds, sides=sides, size_weight=1.0)
    assert seeing[20] > 0.99
    assert seeing[21] < 0.01


def test_strong_evidence_stays_finite():
    pairs = np.array([[i, 4 + j] for i in range(4) for j in range(4)])
    share = _shares(pairs, np.full(16, 1e3), np.zeros(16), size_weight=1.0)
    assert np.isfinite(share).all()
    assert share == pytest.approx(0.25, abs=0.01)


def test_centre_score_is_the_largest_value_in_the_central_part():
    random = np.random.default_rng(0)
    heat = random.random((2, 12, 15)).astype(np.float32)
    low = random.uniform(-3, 12, (60, 2))
    boxes = np.hstack([low, low + random.uniform(0.2, 12, (60, 2))]).astype(np.float32)
    classes = random.integers(0, 2, 60)
    for part in (0.0, 0.33, 1.0):
        found = kernels.centre_scores(heat, boxes, classes, part)
        for (x0, y0, x1, y1), label, score in zip(boxes, classes, found):
            (x, y), right, down = (
                ((x0 + x1) / 2, (y0 + y1) / 2),
                part * (x1 - x0) / 2,
                part * (y1 - y0) / 2,
            )
            inside = [
                heat[label, row, column]
                for row in range(12)
                for column in range(15)
                if row + 1 > y - down
                and row <= y + down
                and column + 1 > x - right
                and column <= x + right
            ]
            assert score == pytest.approx(max(inside, default=0.0))
