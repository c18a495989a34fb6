"""Filling an instance's missing keypoints from where heatmap and tags agree best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tagwise.grouping.kernels import fill as _fill_kernels
from tagwise.grouping.kernels import peaks as _kernels
from tagwise.grouping.keypoint_groups import KeypointGroups
from tagwise.grouping.peaks import locate
from tagwise.grouping.settings import GroupingSettings

# Heatmap values so small that a rounded distance less outweighs them all; a power of 2 is exact.
_TAG_FIRST = 1 / 128


@torch.no_grad()
def fill_missing(
    groups: KeypointGroups,
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings,
    block_maxima: np.ndarray | None = None,
    offsets: Tensor | None = None,
) -> KeypointGroups:
    """Missing keypoints go where heatmap - round(tag distance to the group's mean) is largest.

    So does the refinement of Newell, Huang, Deng 2017's released code; that of mmpose 1.x is
    settings.fill_order "tag". settings.fill_threshold
    leaves a keypoint missing where that value is not above it, settings.fill_reach looks only
    near the group.

    heatmaps: (K, H, W), tags: (K * D, H, W), offsets: (2 * K, H, W), on one device; one image.
    block_maxima: (K, ceil(H / 16), ceil(W / 16)), largest heatmap values, as `find_peaks` gives
        them. On the CPU they spare the search most of the map; the result is the same.
    """
    missing = ~(groups.keypoints[:, :, 2] > 0)
    group, kind = np.nonzero(missing & ~missing.all(axis=1, keepdims=True))
    if not len(group):
        return groups
    kinds, height, width = heatmaps.shape
    if settings.fill_reach is None:
        boxes = np.tile(np.array([0, 0, width, height]), (len(groups), 1))
    else:
        boxes = _fill_kernels.surroundings(groups.keypoints, settings.fill_reach, width, height)
    query = (kind, _mean_tags(groups)[group], boxes[group])
    least = -np.inf if settings.fill_threshold is None else settings.fill_threshold
    bright = heatmaps.detach().float()
    if settings.fill_order == "tag":
        bright, least = bright * _TAG_FIRST, least * _TAG_FIRST
        block_maxima = None if block_maxima is None else block_maxima * np.float32(_TAG_FIRST)
    tag_maps = tags.detach().reshape(kinds, -1, height, width)
    if heatmaps.device.type == "cpu":
        maps = bright.contiguous().numpy()
        if block_maxima is None:
            block_maxima = _kernels.block_maxima(maps)
        tag_maps = tag_maps.float().contiguous().numpy()
        cell = _fill_kernels.best_cells(maps, tag_maps, block_maxima, *query, least)
    else:
        cell = _best_cells_on_device(bright, tag_maps, *query, least)
    found = cell >= 0
    group, kind, cell = group[found], kind[found], cell[found]
    index = kind * height * width + cell
    lowest = min(height, kinds) - 1 if settings.fill_below == "types" else None
    if settings.fill_place == "corner":
        xy, score = locate(heatmaps, index, "none")
        xy -= 0.5
    else:
        xy, score = locate(heatmaps, index, settings.subcell, offsets, lowest)
    if settings.fill_floor is not None:
        score = np.maximum(score, np.float32(settings.fill_floor))
    return _with_keypoints(groups, group, kind, xy, score, settings)


def _mean_tags(groups: KeypointGroups) -> np.ndarray:
    """(N, D) float64, over the keypoints that have one."""
    there = np.isfinite(groups.tags).all(axis=2)
    sums = np.where(there[:, :, None], groups.tags, 0).sum(axis=1, dtype=np.float64)
    return sums / np.maximum(there.sum(axis=1), 1)[:, None]


def _best_cells_on_device(heatmaps, tag_maps, kinds, means, boxes, least) -> np.ndarray:
    """As the compiled `best_cells`, by tensor operations on the maps' device."""
    width = heatmaps.shape[2]
    means = torch.as_tensor(means, dtype=torch.float32, device=heatmaps.device)
    cells, values = [], []
    for k, mean, (x0, y0, x1, y1) in zip(kinds.tolist(), means, boxes.tolist()):
        squares = (tag_maps[k, :, y0:y1, x0:x1].float() - mean[:, None, None]).square()
        distance = squares.sum(dim=0).sqrt()
        value = heatmaps[k, y0:y1, x0:x1].float() - distance.round()
        value, cell = value.nan_to_num(-torch.inf).flatten().max(dim=0)
        cells.append((cell // (x1 - x0) + y0) * width + cell % (x1 - x0) + x0)
        values.append(value)
    cells = torch.where(torch.stack(values) > least, torch.stack(cells), -1)
    return cells.cpu().numpy()


def _with_keypoints(groups, group, kind, xy, score, settings) -> KeypointGroups:
    """The groups with keypoints added where their score is above 0."""
    use = score > 0
    if settings.fill_score == "one":
        score = np.ones_like(score)
    keypoints = groups.keypoints.copy()
    keypoints[group[use], kind[use]] = np.concatenate([xy, score[:, None]], axis=1)[use]
    return replace(groups, keypoints=keypoints)
