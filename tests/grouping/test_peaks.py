"""Peaks: positions, tags and scores, on the CPU and a GPU."""

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from tagwise import peaks as peaks_module
from tagwise.grouping.peaks import find_peaks
from tagwise.grouping.settings import GroupingSettings, PublishedRules


def by_quarter(how):
    return GroupingSettings(published=PublishedRules(subcell=how))


def _gaussian(size, x, y, sigma=1.5, height=0.9):
    v, u = np.mgrid[: size[0], : size[1]]
    return height * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))


def _random_maps(seed=0, batch=2, kinds=3, dimension=2, size=(20, 33)):
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(batch, kinds, *size, generator=generator)
    return heatmaps, torch.randn(batch, kinds * dimension, *size, generator=generator)


def test_peaks_equal_those_of_max_pooling():
    heatmaps, tags = _random_maps()
    settings = GroupingSettings(peak_threshold=0.3, top_k=1000, subcell="none")
    found = find_peaks(heatmaps, tags, settings)
    is_peak = (max_pool2d(heatmaps, 5, 1, 2) == heatmaps) & (heatmaps > 0.3)
    assert len(found) == int(is_peak.sum())
    for b in range(2):
        for k in range(3):
            here = slice(*found.starts[b, k : k + 2])
            score = found.scores[here]
            assert (np.diff(score) <= 0).all()
            x, y = found.cells[here].T
            assert is_peak[b, k][y, x].all()
            assert np.array_equal(heatmaps[b, k][y, x].numpy(), score)
            assert np.array_equal(
                tags.view(2, 3, 2, 20, 33)[b, k][:, y, x].T.numpy(), found.tags[here]
            )
            assert (found.types[here] == k).all()


def test_top_k_keeps_the_best():
    heatmaps, tags = _random_maps(1)
    everything = find_peaks(heatmaps, tags, GroupingSettings(top_k=10**12))
    few = find_peaks(heatmaps, tags, GroupingSettings(top_k=3))
    for b, k in np.ndindex(2, 3):
        start, end = everything.starts[b, k], few.starts[b, k + 1]
        assert np.array_equal(
            few.scores[few.starts[b, k] : end], everything.scores[start : start + 3]
        )


def test_scans_on_cpu_and_device_agree():
    heatmaps = _random_maps(2)[0]
    settings = GroupingSettings(peak_threshold=0.2, top_k=12)
    index, _ = peaks_module._scan_on_cpu(heatmaps, settings)
    other, _ = peaks_module._scan_on_device(heatmaps, settings)
    assert index.tolist() == other.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_finds_the_same_peaks():
    heatmaps, tags = _random_maps(3)
    expected = find_peaks(heatmaps, tags)
    found = find_peaks(heatmaps.cuda(), tags.cuda())
    for name in ("xy", "cell", "score", "tag", "starts"):
        assert np.allclose(getattr(found, name), getattr(expected, name), atol=1e-5)


@pytest.mark.parametrize(("x", "y"), [(10.0, 7.0), (10.3, 7.4), (9.55, 6.8)])
def test_parabola_finds_the_centre_of_a_gaussian(x, y):
    heatmaps = torch.from_numpy(_gaussian((16, 20), x, y))[None, None].float()
    found = find_peaks(heatmaps, torch.zeros(1, 1, 16, 20), GroupingSettings(subcell="parabola"))
    assert found.xy == pytest.approx(np.array([[x, y]]), abs=1e-3)


def test_quarter_moves_towards_the_larger_neighbour():
    heatmaps = torch.from_numpy(_gaussian((16, 20), 10.2, 6.9))[None, None].float()
    found = find_peaks(heatmaps, torch.zeros(1, 1, 16, 20), by_quarter("quarter"))
    assert found.xy.tolist() == [[10.25, 6.75]]


@pytest.mark.parametrize("subcell", ["auto", "offset"])
def test_offsets_are_added(subcell):
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 1, 3, 5] = 0.8
    offsets = torch.zeros(1, 4, 8, 8)
    offsets[0, 2, 3, 5], offsets[0, 3, 3, 5] = 0.25, -0.4
    found = find_peaks(
        heatmaps, torch.zeros(1, 2, 8, 8), GroupingSettings(subcell=subcell), offsets
    )
    assert found.xy == pytest.approx(np.array([[5.25, 2.6]]))
    assert found.cells.tolist() == [[5, 3]]


@pytest.mark.parametrize("corner", [(0, 0), (0, 7), (5, 0), (5, 7)])
@pytest.mark.parametrize(
    "settings",
    [
        GroupingSettings(subcell="parabola"),
        GroupingSettings(subcell="none"),
        by_quarter("quarter"),
        by_quarter("inner_quarter"),
    ],
)
def test_peaks_at_the_edge_are_found(corner, settings):
    heatmaps = torch.zeros(1, 1, 6, 8)
    heatmaps[0, 0][corner] = 1
    found = find_peaks(heatmaps, torch.zeros(1, 1, 6, 8), settings)
    assert found.cells.tolist() == [[corner[1], corner[0]]]
    assert np.abs(found.xy - found.cells).max() <= 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_give_float32(dtype):
    heatmaps, tags = _random_maps(4)
    found = find_peaks(heatmaps.to(dtype), tags.to(dtype))
    assert len(found) > 0
    assert {a.dtype for a in (found.xy, found.scores, found.tags)} == {np.dtype(np.float32)}


def test_strided_maps_and_maps_with_gradients_are_accepted():
    heatmaps, tags = _random_maps(5)
    expected = find_peaks(heatmaps, tags)
    strided = heatmaps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2).requires_grad_()
    found = find_peaks(strided, tags.requires_grad_())
    assert np.array_equal(found.xy, expected.xy)


def test_peaks_without_a_finite_tag_are_left_out():
    heatmaps = torch.zeros(1, 1, 8, 20)
    heatmaps[0, 0, 4, [3, 10, 16]] = torch.tensor([0.9, 0.8, 0.7])
    tags = torch.zeros(1, 2, 8, 20)
    tags[0, 1, 4, 3], tags[0, 0, 4, 16] = torch.nan, torch.inf
    assert find_peaks(heatmaps, tags).cells.tolist() == [[10, 4]]


def test_image_selects_one_image_of_a_batch():
    heatmaps, tags = _random_maps(6)
    whole = find_peaks(heatmaps, tags)
    alone = find_peaks(heatmaps[1:], tags[1:])
    part = whole.image(1)
    for name in ("xy", "cells", "scores", "tags", "starts", "block_maxima", "types"):
        assert np.array_equal(getattr(part, name), getattr(alone, name))


def test_wrong_shapes_are_named():
    heatmaps, tags = _random_maps()
    with pytest.raises(ValueError, match=r"\(2, 3 \* D, 20, 33\)"):
        find_peaks(heatmaps, tags[:, :5])
    with pytest.raises(ValueError, match="offsets are"):
        find_peaks(heatmaps, tags, offsets=tags[:, :5])
    with pytest.raises(ValueError, match="no offset maps"):
        find_peaks(heatmaps, tags, GroupingSettings(subcell="offset"))
