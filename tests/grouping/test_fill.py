"""Filling missing keypoints: the same on both devices, only at cells with enough evidence."""

import numpy as np
import pytest
import torch

from tagwise.geometry import keypoint_boxes
from tagwise.grouping import GroupingSettings, PublishedRules
from tagwise.grouping.fill import _best_cells_on_device, fill_missing, surroundings
from tagwise.grouping.kernels.fill import Queries, SearchMaps, best_cells
from tagwise.grouping.kernels.peaks import block_maxima
from tagwise.grouping.keypoint_groups import BatchGroups

SIZE = (40, 60)


def _one_group(kinds=3, x=30.0, y=20.0):
    """A person with a single keypoint of type 0, with tag 1."""
    keypoints = np.full((1, kinds, 3), (np.nan, np.nan, 0), np.float32)
    keypoints[0, 0] = x, y, 0.9
    tags = np.full((1, kinds, 1), np.nan, np.float32)
    tags[0, 0] = 1
    peak = np.full((1, kinds), -1)
    peak[0, 0] = 0
    return BatchGroups(keypoints, np.array([0.3], np.float32), tags, peak, np.zeros(1, int))


def _maps(kinds=3):
    heatmaps, tags = torch.zeros(1, kinds, *SIZE), torch.zeros(1, kinds, *SIZE)
    heatmaps[0, 1, 5, 7], tags[0, 1, 5, 7] = 0.4, 1.2  # similar tag
    heatmaps[0, 1, 9, 9], tags[0, 1, 9, 9] = 0.8, 2.0  # higher, but another instance's tag
    heatmaps[0, 2, 3, 3], tags[0, 2, 3, 3] = 0.7, 9.0  # no cell has a similar tag
    return heatmaps, tags


EVERYWHERE = GroupingSettings(fill_reach=None, subcell="none")
WITH_OFFSETS = GroupingSettings(fill_reach=None)


def test_only_cells_with_similar_tags_are_filled():
    groups = _one_group()
    filled = fill_missing(groups, *_maps(), EVERYWHERE)
    assert filled.keypoints[0, 1] == pytest.approx([7, 5, 0.4])
    assert filled.keypoints[0, 0] == pytest.approx(groups.keypoints[0, 0])
    assert np.isnan(filled.keypoints[0, 2, :2]).all()
    assert filled.keypoints[0, 2, 2] == 0
    assert filled.scores == groups.scores
    assert np.isnan(groups.keypoints[0, 1, 0])  # the input is unchanged


def test_without_threshold_any_positive_cell_is_filled():
    settings = GroupingSettings(fill_reach=None, fill_threshold=None, subcell="none")
    filled = fill_missing(_one_group(), *_maps(), settings)
    assert filled.keypoints[0, 1] == pytest.approx([7, 5, 0.4])
    # Type 2: no similar tag. -1 on empty cells beats .7 - 8, and an empty cell gives no keypoint.
    assert filled.keypoints[0, 2, 2] == 0


def test_search_is_limited_to_the_surroundings_of_the_group():
    groups = _one_group()
    groups.keypoints[0, 2] = 34, 20, 0.5  # 4 wide: with reach 2, up to 8 cells around
    near = GroupingSettings(fill_reach=2.0, subcell="none")
    assert np.isnan(fill_missing(groups, *_maps(), near).keypoints[0, 1, 0])
    far = GroupingSettings(fill_reach=10.0, subcell="none")
    assert fill_missing(groups, *_maps(), far).keypoints[0, 1] == pytest.approx([7, 5, 0.4])


def test_filled_score_one_and_offsets():
    offsets = torch.zeros(1, 6, *SIZE)
    offsets[0, 2, 5, 7], offsets[0, 3, 5, 7] = 0.3, -0.2
    settings = GroupingSettings(fill_reach=None, published=PublishedRules(fill_score="one"))
    filled = fill_missing(_one_group(), *_maps(), settings, offsets=offsets)
    assert filled.keypoints[0, 1] == pytest.approx([7.3, 4.8, 1])


def test_maps_may_have_a_gradient():
    heatmaps, tags = (maps.requires_grad_() for maps in _maps())
    offsets = torch.zeros(1, 6, *SIZE, requires_grad=True)
    filled = fill_missing(_one_group(), heatmaps, tags, WITH_OFFSETS, offsets=offsets)
    assert filled.keypoints[0, 1] == pytest.approx([7, 5, 0.4])


def test_fill_below_types_limits_the_lower_neighbour():
    heatmaps, tags = _maps()
    heatmaps[0, 1, 6, 7] = 0.3  # the cell below; above it is 0, in row 2 (3 types less one) -0.1
    heatmaps[0, 1, 2, 7] = -0.1
    for below, y in (("map", 5.25), ("types", 4.75)):
        rules = PublishedRules(subcell="quarter", fill_below=below)
        settings = GroupingSettings(fill_reach=None, published=rules)
        assert fill_missing(_one_group(), heatmaps, tags, settings).keypoints[0, 1, 1] == y


def test_groups_without_missing_keypoints_are_unchanged():
    nobody = _one_group().take(np.zeros(0, int))
    assert fill_missing(nobody, *_maps(), EVERYWHERE) is nobody
    whole = _one_group(kinds=1)
    maps = torch.ones(1, 1, *SIZE)
    assert fill_missing(whole, maps, maps, EVERYWHERE) is whole


@pytest.mark.parametrize("reach", [0.0, 0.5, 9.0])
@pytest.mark.parametrize("counts", [(9,), (1, 3, 5), (2, 0, 7)])
def test_surroundings_contain_the_group_and_its_margin(reach, counts):
    rng = np.random.default_rng(8)
    keypoints = rng.uniform(0, 1, (9, 6, 3)).astype(np.float32)
    keypoints[:, :, :2] *= rng.uniform(2, 60, (9, 1, 2))
    keypoints[rng.random((9, 6)) < 0.4] = np.nan, np.nan, 0
    keypoints[:, 0] = 30, 20, 1  # every group has a keypoint
    low, high = np.nanmin(keypoints, axis=1)[:, :2], np.nanmax(keypoints, axis=1)[:, :2]
    side, images = (high - low).max(axis=1), np.repeat(np.arange(len(counts)), counts)
    median = np.array([np.median(side[images == image]) for image in images])
    margin = reach * np.maximum(side, median)[:, None]
    first = np.clip(np.floor(low - margin), 0, (69, 39))
    last = np.clip(np.ceil(high + margin) + 1, first + 1, (70, 40))
    got = surroundings(keypoint_boxes(keypoints), images, reach, (70, 40))
    assert got.tolist() == np.concatenate([first, last], axis=1).tolist()


@pytest.mark.parametrize("least", [-np.inf, 0.3])
def test_search_with_tensor_operations_agrees(least):
    rng = np.random.default_rng(0)
    heatmaps = rng.random((3, *SIZE), np.float32) ** 6
    tags = rng.normal(0, 1, (3, 2, *SIZE)).astype(np.float32)
    tags[0, 0, :5] = np.nan
    types, means = np.array([0, 1, 2, 0]), rng.normal(0, 1, (4, 2)).astype(np.float32)
    boxes = np.array([[0, 0, 60, 40], [10, 5, 40, 39], [0, 0, 1, 1], [30, 3, 60, 20]])
    queries = Queries(types, means.astype(np.float64), boxes)
    expected = best_cells(SearchMaps(heatmaps, tags, block_maxima(heatmaps)), queries, least)
    maps = torch.from_numpy(heatmaps), torch.from_numpy(tags)
    assert _best_cells_on_device(*maps, queries, least).tolist() == expected.tolist()
