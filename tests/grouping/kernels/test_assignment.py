"""Optimal assignment against scipy's solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from tagwise.grouping.kernels.assignment import assign


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
    assert _price(cost, assign(cost, leave), leave) == pytest.approx(best, abs=1e-6)


def test_assignment_costs_of_the_published_decoder(golden):
    for name, cost, row in golden.assignment_cases():
        cost = cost.astype(np.float64)
        rows, columns = cost.shape
        leave = 1e7
        price = _price(cost, assign(cost, leave), leave) - leave * max(rows - columns, 0)
        assert price == pytest.approx(row["total_cost"], abs=1e-3), name
