"""The compiled median against numpy's."""

import numpy as np
import pytest

from tagwise.grouping.kernels.median import median


@pytest.mark.parametrize("count", [1, 2, 3, 8, 31])
def test_median_equals_that_of_numpy(count):
    values = np.random.default_rng(count).normal(size=count).round(1)
    assert median(values.copy()) == np.median(values)
