"""The compiled search for missing keypoints against slow references."""

import numpy as np
import pytest

from tagwise.grouping.kernels import fill as kernels
from tagwise.grouping.kernels.peaks import block_maxima
from tagwise.grouping.kernels.whole_maps import best_cells_anywhere


def _best_by_hand(heatmap, tags, mean, box, least):
    """Argmax of heatmap - round(distance), over the whole box, first in reading order."""
    distance = np.sqrt(np.square(tags - mean[:, None, None]).sum(axis=0, dtype=np.float64))
    value = heatmap.astype(np.float64) - np.round(distance)
    outside = np.ones(heatmap.shape, bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    value[outside | np.isnan(value)] = -np.inf
    return int(value.argmax()) if value.max() > least else -1


@pytest.mark.parametrize("least", [-np.inf, 0.03, 0.7])
@pytest.mark.parametrize("spread", [0.3, 5.0])
@pytest.mark.parametrize("nan", [False, True])
def test_best_cells_equal_those_of_a_full_search(least, spread, nan):
    rng = np.random.default_rng(3)
    heatmaps = rng.random((4, 40, 70), np.float32) ** 8
    tags = rng.normal(0, spread, (4, 2, 40, 70)).astype(np.float32)
    if nan:
        tags[1, 0, ::3] = np.nan
        tags[2] = np.nan
    types = np.repeat(np.arange(4), 6)
    means = rng.normal(0, spread, (24, 2))
    first = rng.integers(0, 30, (24, 2))
    boxes = np.concatenate([first, first + rng.integers(1, 10, (24, 2))], axis=1)
    boxes[::2] = (0, 0, 70, 40)
    maps = kernels.SearchMaps(heatmaps, tags, block_maxima(heatmaps))
    got = kernels.best_cells(maps, kernels.Queries(types, means, boxes), least)
    expected = [
        _best_by_hand(heatmaps[k], tags[k], mean, box, least)
        for k, mean, box in zip(types, means, boxes)
    ]
    assert got.tolist() == expected


@pytest.mark.parametrize("scale", [1, 1 / 128])
@pytest.mark.parametrize("least", [-np.inf, 0.03])
@pytest.mark.parametrize("spread", [0.3, 5.0])
@pytest.mark.parametrize("size", [(40, 70), (32, 16), (3, 5)])
def test_best_cells_anywhere_equal_those_of_a_full_search(size, spread, least, scale):
    rng = np.random.default_rng(4)
    heatmaps = rng.random((4, *size), np.float32) ** 8
    heatmaps[3] = np.round(heatmaps[3] * 4) / 4  # many equal values
    tags = rng.normal(0, spread, (4, 2, *size)).astype(np.float32)
    tags[1, 0, ::3] = np.nan
    tags[2] = np.nan
    tags[3] = np.round(tags[3])
    types, means = rng.integers(0, 4, 200), rng.normal(0, spread, (200, 2))
    means[::5] *= 10
    means[::7] = np.round(means[::7])
    maps = kernels.SearchMaps(heatmaps, tags, block_maxima(heatmaps))
    box = (0, 0, size[1], size[0])
    expected = [
        _best_by_hand(heatmaps[k] * np.float32(scale), tags[k], mean, box, least)
        for k, mean in zip(types, means)
    ]
    assert best_cells_anywhere(maps, types, means, least, scale).tolist() == expected
