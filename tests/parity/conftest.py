"""Comparison with slow references; the differences are recorded."""

import pytest

import parity_table


@pytest.fixture
def agree():
    """A function that asserts the values of a slow reference, and records the difference."""

    def compare(case, found, expected, *, atol=0.0, rtol=0.0):
        parity_table.compare(case, found, expected, atol, rtol, parity_table.EVERYWHERE)

    return compare
