"""Comparing with stored numbers, noting how far off each was."""

import numpy as np
import pytest

from parity_table import note


@pytest.fixture
def close():
    """Asserts that values are the stored ones, and notes the difference under a name."""

    def compare(case, found, expected, *, atol, rtol=0.0):
        found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        assert found.shape == expected.shape
        difference, allowed = np.abs(found - expected), atol + rtol * np.abs(expected)
        note(case, difference, allowed)
        assert (difference <= allowed).all(), f"{case}: {difference.max()}"

    return compare
