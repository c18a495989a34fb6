"""Finding corners: against a slow reference, with both scans, with invalid values."""

import numpy as np
import pytest
import torch

from tagwise.grouping import corner_peaks
from tagwise.grouping.corner_peaks import find_corners
from tagwise.grouping.settings import CornerSettings


def _maps(seed, shape=(2, 3, 37, 50), dimension=2):
    """Heatmaps, tags and offsets of both corner types, as find_corners takes them."""
    rng = np.random.default_rng(seed)
    batch, _, height, width = shape
    heat = [torch.as_tensor(rng.random(shape, np.float32)) for _ in range(2)]
    tag, off = (
        [torch.as_tensor(rng.random((batch, d, height, width), np.float32)) for _ in range(2)]
        for d in (dimension, 2)
    )
    return [*heat, *tag, *off]


def _corners_by_hand(heat, tag, off, threshold, radius, top_k):
    """x, y, score, class and tag of the best strict maxima of (C, H, W), sorted by score."""
    found = []
    for c, y, x in np.ndindex(heat.shape):
        rows = slice(max(y - radius, 0), y + radius + 1)
        window = heat[c, rows, max(x - radius, 0) : x + radius + 1]
        if heat[c, y, x] > threshold and heat[c, y, x] == window.max():
            place = (x + off[0, y, x], y + off[1, y, x])
            found.append((*place, heat[c, y, x], c, *tag[:, y, x]))
    found.sort(key=lambda row: -row[2])
    return np.array(found[:top_k]).reshape(-1, 4 + len(tag))


def _rows(peaks):
    return np.column_stack([peaks.xy, peaks.scores, peaks.classes, peaks.tags])


@pytest.mark.parametrize(
    ("threshold", "window", "top_k"), [(0, 3, 9), (0.8, 3, 999), (0.8, 3, 10**12), (0.5, 5, 40)]
)
def test_corners_equal_those_of_a_slow_search(threshold, window, top_k):
    maps = _maps(top_k % 1000)
    chosen = CornerSettings(corner_threshold=threshold, nms_window=window, top_k=top_k)
    peaks = find_corners(*maps, chosen)
    assert peaks.xy == pytest.approx(peaks.cells, abs=1)
    for image in range(2):
        found = peaks.image(image)
        middle = found.starts[0, 1]
        for kind, rows in enumerate((_rows(found)[:middle], _rows(found)[middle:])):
            heat, tag, off = (part[image].numpy() for part in maps[kind::2])
            expected = _corners_by_hand(heat, tag, off, threshold, window // 2, top_k)
            assert rows == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("threshold", [0.0, 0.7])
def test_scans_on_cpu_and_device_agree(dtype, threshold):
    # Values are unique in a map and exact in all these types.
    rng = np.random.default_rng(0)
    heat = np.zeros((2, 3, 40 * 40))
    for image, c in np.ndindex(2, 3):
        heat[image, c, rng.choice(40 * 40, 127, replace=False)] = np.arange(1, 128) / 128
    heat = torch.as_tensor(heat, dtype=dtype).view(2, 3, 40, 40)
    chosen = CornerSettings(corner_threshold=threshold, top_k=10_000)
    image, index = corner_peaks._scan_on_cpu(heat, chosen)
    other_image, other_index = corner_peaks._scan_on_device(heat, chosen)
    assert set(zip(image, index)) == set(zip(other_image, other_index))
    assert len(index) > 100
    values = heat.flatten(1)[image, index].float()
    assert (values[1:] <= values[:-1])[np.diff(image) == 0].all()


def test_corners_without_offsets_are_at_the_edge_of_their_cell():
    maps = _maps(3)[:4]
    peaks = find_corners(*maps)
    assert (peaks.xy == peaks.cells).all()
    assert peaks.xy.dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_corners_that_are_not_finite_are_left_out(bad):
    maps = [torch.zeros(1, 1, 40, 40) for _ in range(2)]
    maps += [torch.zeros(1, d, 40, 40) for d in (1, 1, 2, 2)]
    cells = [(5, 5), (5, 30), (30, 5), (30, 30)]
    for y, x in cells:
        maps[0][0, 0, y, x] = maps[1][0, 0, y, x] = 0.9
    maps[0][0, 0, 5, 5] = bad
    maps[2][0, 0, 5, 30] = bad
    maps[4][0, 1, 30, 5] = bad
    peaks = find_corners(*maps)
    assert peaks.starts.tolist() == [[0, 1, 5]]
    assert peaks.cells[0].tolist() == [30, 30]


def test_empty_batch_and_empty_maps_give_no_corners():
    peaks = find_corners(*(torch.zeros(0, d, 8, 8) for d in (3, 3, 1, 1, 2, 2)))
    assert peaks.starts.shape == (0, 3)
    peaks = find_corners(*(torch.zeros(2, d, 8, 8) for d in (3, 3, 1, 1, 2, 2)))
    assert peaks.starts.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert peaks.tags.shape == (0, 1)


def test_wrong_shapes_are_named():
    heat, tag, off = (torch.zeros(1, d, 8, 8) for d in (3, 1, 2))
    with pytest.raises(ValueError, match=r"br_tag is \(1, 1, 4, 8\).*\(1, D, 8, 8\)"):
        find_corners(heat, heat, tag, tag[:, :, :4])
    with pytest.raises(ValueError, match=r"tl_off is \(1, 1, 8, 8\), not \(1, 2, 8, 8\)"):
        find_corners(heat, heat, tag, tag, tag, off)
