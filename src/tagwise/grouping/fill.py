"""Filling missing keypoints of instances in the cells where heatmap and tags match best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tagwise.grouping import published, subcell
from tagwise.grouping.kernels import fill as kernels
from tagwise.grouping.kernels.peaks import block_maxima as find_block_maxima
from tagwise.grouping.keypoint_groups import KeypointGroups
from tagwise.grouping.settings import GroupingSettings


@torch.no_grad()
def fill_missing(
    groups: KeypointGroups,
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings,
    block_maxima: np.ndarray | None = None,
    offsets: Tensor | None = None,
) -> KeypointGroups:
    """Set missing keypoints where heatmap - round(tag distance to the group's mean) is largest.

    This is the refinement in the released code of Newell, Huang, Deng 2017. With
    settings.fill_threshold, a keypoint stays missing if that value is not above the threshold. With
    settings.fill_reach, only the surroundings of the group are searched.

    heatmaps: (K, H, W), tags: (K * D, H, W), offsets: (2 * K, H, W), on one device; one image.
    block_maxima: (K, ceil(H / 16), ceil(W / 16)), the largest heatmap values, from `find_peaks`. On
        the CPU they save the search most of the map; the result is the same.
    """
    missing = ~(groups.keypoints[:, :, 2] > 0)
    group, types = np.nonzero(missing & ~missing.all(axis=1, keepdims=True))
    if not len(group):
        return groups
    boxes = _search_boxes(groups, settings, heatmaps.shape[-2:])
    queries = kernels.Queries(types, _mean_tags(groups)[group], boxes[group])
    least = -np.inf if settings.fill_threshold is None else settings.fill_threshold
    bright, rules = heatmaps.detach().float(), settings.published
    if rules and rules.fill_order == "tag":
        bright, block_maxima, least = published.tags_first(bright, block_maxima, least)
    cells = _best_cells(bright, tags.detach(), block_maxima, queries, least)
    filled = cells >= 0
    group, types = group[filled], types[filled]
    index = types * (heatmaps.shape[1] * heatmaps.shape[2]) + cells[filled]
    locate = published.place_filled if rules else subcell.locate
    xy, scores = locate(heatmaps, index, settings, offsets)
    use = scores > 0
    keypoints = groups.keypoints.copy()
    keypoints[group[use], types[use]] = np.concatenate([xy, scores[:, None]], axis=1)[use]
    return replace(groups, keypoints=keypoints)


def _search_boxes(groups: KeypointGroups, settings: GroupingSettings, size) -> np.ndarray:
    """The cells to search for each group, (N, 4) int64: x, y of the first and one past the last."""
    height, width = size
    if settings.fill_reach is None:
        return np.tile(np.array([0, 0, width, height]), (len(groups), 1))
    return kernels.surroundings(groups.keypoints, settings.fill_reach, width, height)


def _mean_tags(groups: KeypointGroups) -> np.ndarray:
    """The mean tag of each group's keypoints that have a tag, (N, D) float64."""
    has_tag = np.isfinite(groups.tags).all(axis=2)
    sums = np.where(has_tag[:, :, None], groups.tags, 0).sum(axis=1, dtype=np.float64)
    return sums / np.maximum(has_tag.sum(axis=1), 1)[:, None]


def _best_cells(heatmaps, tags, block_maxima, queries, least) -> np.ndarray:
    """The best cell of each query as y * W + x, (Q,) int64; -1 if no value is above `least`."""
    types, height, width = heatmaps.shape
    tag_maps = tags.reshape(types, -1, height, width)
    if heatmaps.device.type != "cpu":
        return _best_cells_on_device(heatmaps, tag_maps, queries, least)
    maps = heatmaps.contiguous().numpy()
    if block_maxima is None:
        block_maxima = find_block_maxima(maps)
    search = kernels.SearchMaps(maps, tag_maps.float().contiguous().numpy(), block_maxima)
    return kernels.best_cells(search, queries, least)


def _best_cells_on_device(heatmaps, tag_maps, queries, least) -> np.ndarray:
    """Like the compiled `best_cells`, with tensor operations on the device of the maps."""
    width = heatmaps.shape[2]
    means = torch.as_tensor(queries.means, dtype=torch.float32, device=heatmaps.device)
    cells, values = [], []
    for k, mean, (x0, y0, x1, y1) in zip(queries.types.tolist(), means, queries.boxes.tolist()):
        squares = (tag_maps[k, :, y0:y1, x0:x1].float() - mean[:, None, None]).square()
        distance = squares.sum(dim=0).sqrt()
        value = heatmaps[k, y0:y1, x0:x1].float() - distance.round()
        value, cell = value.nan_to_num(-torch.inf).flatten().max(dim=0)
        cells.append((cell // (x1 - x0) + y0) * width + cell % (x1 - x0) + x0)
        values.append(value)
    cells = torch.where(torch.stack(values) > least, torch.stack(cells), -1)
    return cells.cpu().numpy()
