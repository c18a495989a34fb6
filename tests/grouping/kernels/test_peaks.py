"""The compiled loops over maps against slow references."""

import numpy as np
import pytest

from tagwise import runtime
from tagwise.grouping.kernels import peaks as _kernels
from tagwise.grouping.kernels.published import quarter_shift, scan_plateaus


def _maps(seed, shape=(3, 37, 50), levels=None):
    rng = np.random.default_rng(seed)
    maps = rng.random(shape, np.float32)
    return maps if levels is None else np.floor(maps * levels) / np.float32(levels)


def _peaks_by_hand(heatmap, threshold, radius, plateaus=False):
    """Cells above the threshold that are first in their window by value, then reading order.

    plateaus: by value alone.
    """
    height, width = heatmap.shape
    found = []
    for y in range(height):
        for x in range(width):
            window = [
                (-heatmap[v, u], v, u)
                for v in range(max(y - radius, 0), min(y + radius + 1, height))
                for u in range(max(x - radius, 0), min(x + radius + 1, width))
            ]
            least = min(window)
            if plateaus:
                least = least[0], y, x
            if heatmap[y, x] > threshold and least == (-heatmap[y, x], y, x):
                found.append((-heatmap[y, x], y * width + x))
    return [cell for _, cell in sorted(found)]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 16, 16), (3, 37, 50), (1, 5, 100)])
def test_block_maxima_equal_a_slow_search(shape):
    maps = _maps(0, shape)
    got = _kernels.block_maxima(maps)
    assert got.shape == (shape[0], -(-shape[1] // 16), -(-shape[2] // 16))
    for c, row, column in np.ndindex(got.shape):
        block = maps[c, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        assert got[c, row, column] == block.max()


@pytest.mark.parametrize("radius", [1, 2, 4])
@pytest.mark.parametrize("threshold", [0.0, 0.6, 2.0])
def test_scan_finds_the_peaks_of_each_map(radius, threshold):
    maps = _maps(radius)
    cells, counts = _kernels.scan_peaks(maps, _kernels.block_maxima(maps), threshold, radius, 1000)
    for c, heatmap in enumerate(maps):
        expected = _peaks_by_hand(heatmap, threshold, radius)
        assert cells[c, : counts[c]].tolist() == expected


def test_scan_keeps_the_best():
    maps = _maps(5)
    cells, counts = _kernels.scan_peaks(maps, _kernels.block_maxima(maps), 0.1, 1, 7)
    for c, heatmap in enumerate(maps):
        assert counts[c] == 7
        assert cells[c].tolist() == _peaks_by_hand(heatmap, 0.1, 1)[:7]


@pytest.mark.parametrize("plateaus", [False, True])
@pytest.mark.parametrize("radius", [1, 2])
def test_scan_gives_one_peak_per_plateau_or_all(plateaus, radius):
    maps = _maps(6, levels=4)
    scan = scan_plateaus if plateaus else _kernels.scan_peaks
    cells, counts = scan(maps, _kernels.block_maxima(maps), 0.3, radius, 2000)
    for c, heatmap in enumerate(maps):
        expected = _peaks_by_hand(heatmap, 0.3, radius, plateaus)
        assert sorted(cells[c, : counts[c]]) == sorted(expected)


def test_scan_of_plateaus_keeps_the_best():
    maps = _maps(5)  # without equal values both scans agree
    maxima = _kernels.block_maxima(maps)
    cells, counts = scan_plateaus(maps, maxima, 0.1, 1, 7)
    expected, _ = _kernels.scan_peaks(maps, maxima, 0.1, 1, 7)
    assert counts.tolist() == [7, 7, 7]
    assert cells.tolist() == expected.tolist()


def test_scan_tolerates_nan():
    maps = np.zeros((1, 40, 40), np.float32)
    maps[0, 5, 5] = np.nan
    maps[0, 30, 30] = 0.9
    cells, counts = _kernels.scan_peaks(maps, _kernels.block_maxima(maps), 0.1, 2, 5)
    assert cells[0, : counts[0]].tolist() == [30 * 40 + 30]


def test_neighbours_stop_at_the_edges():
    shape = (2, 5, 7)
    c, y, x = np.indices(shape).reshape(3, -1)
    expected = [
        (c, y, x),
        (c, y, np.maximum(x - 1, 0)),
        (c, np.maximum(y - 1, 0), x),
        (c, y, np.minimum(x + 1, 6)),
        (c, np.minimum(y + 1, 4), x),
    ]
    got = _kernels.neighbours(np.arange(70), *shape[1:])
    assert got.tolist() == [np.ravel_multi_index(cell, shape).tolist() for cell in expected]


@pytest.mark.parametrize("levels", [None, 3])
def test_shifts_stay_within_a_cell(levels):
    values = _maps(7, (5, 400), levels)
    values[0] = values.max(axis=0)
    logs = np.log(np.maximum(values.astype(np.float64), 1e-6))
    curvature = 2 * logs[0] - logs[1:3] - logs[3:]
    flat = curvature < 1e-5
    vertex = (logs[3:] - logs[1:3]) / (2 * np.where(flat, 1, curvature))
    expected = np.where(flat, 0, np.clip(vertex, -0.5, 0.5))
    assert _kernels.parabola_shift(values) == pytest.approx(expected.T, abs=1e-4)
    quarter = np.where(values[3:] > values[1:3], 0.25, -0.25)
    assert quarter_shift(values).tolist() == quarter.T.tolist()


def test_compiled_works_without_a_cache_folder(monkeypatch):
    def refuse(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(runtime, "_Cache", refuse)
    assert runtime.compiled()(lambda value: value + 1)(2) == 3
