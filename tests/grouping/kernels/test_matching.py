"""Optimal assignment against scipy's solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tagwise.grouping.kernels import matching as _matching


def _price(cost, column, leave):
    used = column >= 0
    assert len(set(column[used])) == used.sum()
    return cost[np.flatnonzero(used), column[used]].sum() + leave * (~used).sum()


@given(
    rows=st.integers(0, 8),
    columns=st.integers(0, 8),
    leave=st.sampled_from([-1.0, 0.0, 0.5, 3.0, 1e4]),
    whole=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=300)
def test_assignment_is_optimal(rows, columns, leave, whole, seed):
    cost = np.random.default_rng(seed).normal(0, 2, (rows, columns))
    cost = np.round(cost) if whole else cost
    exits = np.where(np.eye(rows) > 0, leave, 1e6)
    padded = np.concatenate([cost, exits], axis=1)
    best = padded[linear_sum_assignment(padded)].sum()
    assert _price(cost, _matching.assign(cost, leave), leave) == pytest.approx(best, abs=1e-6)


def test_assignment_costs_of_the_published_decoder(golden):
    for name, cost, row in golden.assignment_cases():
        cost = cost.astype(np.float64)
        rows, columns = cost.shape
        leave = 1e7
        price = _price(cost, _matching.assign(cost, leave), leave) - leave * max(rows - columns, 0)
        assert price == pytest.approx(row["total_cost"], abs=1e-3), name


def _match(tags, scores, starts, **changes):
    options = {"threshold": 1.0, "rms": False, "round_tags": True, "use_score": True}
    options |= {"limit": 1000, "stop_when_full": False} | changes
    return _matching.match_by_type(
        np.array(tags, np.float32)[:, None],
        np.array(scores, np.float32),
        np.array(starts),
        np.arange(len(starts) - 1),
        *options.values(),
    )


def test_equal_costs_are_told_apart_by_the_unrounded_distance():
    # Both pairings round to 0 + 0; straight costs .1 + .1, crossed .3 + .3.
    group, count = _match([0.0, 0.2, 0.3, -0.1], [0.9, 0.9, 0.5, 0.5], [0, 2, 4])
    assert count == 2
    assert group.tolist() == [0, 1, 1, 0]


def test_along_a_line_one_near_pair_is_better_than_two_between():
    # Sums of distances are equal however the pairs cross: .3 + .3 or .4 + .2.
    for swap in (False, True):
        group, _ = _match([0.0, 0.1, *((0.4, 0.3) if swap else (0.3, 0.4))], [0.9] * 4, [0, 2, 4])
        assert group.tolist() == [0, 1, *((0, 1) if swap else (1, 0))]


def test_the_last_digit_of_a_tag_decides_nothing():
    rng = np.random.default_rng(0)
    tags, scores = rng.uniform(0, 0.45, 60), rng.uniform(0.1, 1, 60)
    wanted, _ = _match(tags, scores, [0, 20, 40, 60])
    for _ in range(20):
        noisy = tags * (1 + 1e-6 * rng.normal(size=60))
        assert np.array_equal(_match(noisy, scores, [0, 20, 40, 60])[0], wanted)


def test_a_stranger_does_not_move_everyone_on_by_one():
    # The third peak is 3.1 from the first group: a 3 for it and 0 for the others costs as much as
    # three times 1.
    group, count = _match([0.0, 1.02, 2.04, 1.0, 2.0, 3.1], [0.9] * 6, [0, 3, 6])
    assert count == 4
    assert group.tolist() == [0, 1, 2, 1, 2, 3]


def test_two_people_with_equal_first_tags_stay_two():
    group, count = _match([1.0, 1.0], [0.9, 0.8], [0, 2])
    assert count == 2
    assert group.tolist() == [0, 1]


def test_limit_and_stop():
    tags, scores, starts = [0.0, 5.0, 0.0, 5.0], [0.9, 0.8, 0.7, 0.6], [0, 2, 4]
    assert _match(tags, scores, starts)[0].tolist() == [0, 1, 0, 1]
    assert _match(tags, scores, starts, limit=1)[0].tolist() == [0, 1, 0, 2]
    assert _match(tags, scores, starts, limit=2, stop_when_full=True)[0].tolist() == [0, 1, -1, -1]
