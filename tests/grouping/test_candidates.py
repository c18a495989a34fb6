"""Candidates, which become part of exported graphs, equal the peaks that compiled loops find."""

from itertools import product

import numpy as np
import pytest
import torch

from tagwise.grouping import CornerSettings, GroupingSettings
from tagwise.grouping.candidates import (
    corner_candidates,
    corners_of,
    keypoint_candidates,
    peaks_of,
)
from tagwise.grouping.corner_peaks import find_corners
from tagwise.grouping.peaks import find_peaks


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def arrays(found):
    return {name: values.numpy() for name, values in found.items()}


def assert_equal(found, expected):
    for name, values in vars(expected).items():
        if name != "block_maxima":
            np.testing.assert_allclose(getattr(found, name), values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("subcell", ["none", "parabola", "offset"])
@pytest.mark.parametrize(("window", "top_k"), [(3, 9), (5, 30), (9, 2000)])
def test_peaks_equal_those_of_the_maps(subcell, window, top_k):
    maps = random(2, 3, 21, 34), random(2, 6, 21, 34, seed=1)
    offsets = random(2, 6, 21, 34, seed=2) - 0.5
    chosen = GroupingSettings(subcell=subcell, nms_window=window, top_k=top_k, peak_threshold=0.6)
    found = keypoint_candidates(*maps, chosen, offsets)
    assert found["peak_scores"].shape == (2, 3, top_k)
    expected = find_peaks(*maps, chosen, offsets)
    assert len(expected) > 50
    assert_equal(peaks_of(arrays(found), chosen), expected)


def test_a_plateau_has_one_peak():
    """The first cell in reading order, as in the compiled loops; plateaus of different values."""
    rng = np.random.default_rng(0)
    heat = np.zeros((1, 1, 40, 40), np.float32)
    for n, (y, x) in enumerate(product(range(1, 36, 6), range(1, 36, 6))):
        shape = rng.random((3, 3)) < 0.6
        heat[0, 0, y : y + 3, x : x + 3][shape] = 0.3 + n / 100
    tags = random(1, 1, 40, 40)
    chosen = GroupingSettings(top_k=100, subcell="none")
    expected = find_peaks(torch.from_numpy(heat), tags, chosen)
    assert len(expected) >= 36
    found = arrays(keypoint_candidates(torch.from_numpy(heat), tags, chosen))
    assert set(map(tuple, peaks_of(found, chosen).cells)) == set(map(tuple, expected.cells))


def test_missing_peaks_have_the_score_minus_one():
    found = arrays(keypoint_candidates(torch.zeros(2, 3, 4, 4), random(2, 3, 4, 4), NONE_ABOVE))
    assert (found["peak_scores"][:, :, 1:] == -1).all()
    assert len(peaks_of(found, NONE_ABOVE)) == 0
    assert peaks_of(found, NONE_ABOVE).starts.tolist() == [[0, 0, 0, 0]] * 2


NONE_ABOVE = GroupingSettings(top_k=20)


def test_peaks_without_a_finite_tag_are_left_out():
    heat, tags = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    heat[0, :, 2, 2], heat[0, 0, 6, 6], tags[0, 0, 2, 2] = 0.9, 0.5, np.nan
    peaks = peaks_of(arrays(keypoint_candidates(heat, tags, NONE_ABOVE)), NONE_ABOVE)
    assert peaks.cells.tolist() == [[6, 6], [2, 2]]
    assert peaks.starts.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("window", "top_k"), [(3, 12), (5, 3000)])
def test_corners_equal_those_of_the_maps(window, top_k):
    chosen = CornerSettings(nms_window=window, top_k=top_k, corner_threshold=0.4)
    maps = [random(2, d, 19, 30, seed=n) for n, d in enumerate((4, 4, 3, 3, 2, 2))]
    maps[2][0, 0, 3:9, 4:20] = np.inf
    found = {}
    for n, corner in enumerate(("tl", "br")):
        found |= corner_candidates(corner, *maps[n::2], chosen)
    assert found["tl_scores"].shape == (2, top_k)
    expected = find_corners(*maps, chosen)
    assert len(expected) > 40
    assert_equal(corners_of(arrays(found), chosen), expected)
