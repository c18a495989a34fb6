"""Comparing with slow references, noting how far off each was."""

import pytest

import parity_table


@pytest.fixture
def agree():
    """Asserts that values are those of a slow reference, and notes the difference under a name."""

    def compare(case, found, expected, *, atol=0.0, rtol=0.0):
        parity_table.compare(case, found, expected, atol, rtol, parity_table.EVERYWHERE)

    return compare
