"""Comparing with stored numbers and with slow references, noting how far off each was."""

import pytest

import parity_table


@pytest.fixture
def close():
    """Asserts that values are the stored ones, and notes the difference under a name."""

    def compare(case, found, expected, *, atol, rtol=0.0):
        parity_table.compare(case, found, expected, atol, rtol, parity_table.PUBLISHED)

    return compare


@pytest.fixture
def agree():
    """The same for what a slow reference says."""

    def compare(case, found, expected, *, atol=0.0, rtol=0.0):
        parity_table.compare(case, found, expected, atol, rtol, parity_table.EVERYWHERE)

    return compare
