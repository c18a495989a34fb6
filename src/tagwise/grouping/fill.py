"""Filling missing keypoints of instances in the cells where heatmap and tags match best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tagwise.geometry import keypoint_boxes
from tagwise.grouping import published, subcell
from tagwise.grouping.kernels import fill as kernels
from tagwise.grouping.kernels.peaks import block_maxima as find_block_maxima
from tagwise.grouping.kernels.whole_maps import best_cells_anywhere
from tagwise.grouping.keypoint_groups import KeypointGroups
from tagwise.grouping.maps import Maps, as_array, on_host, without_gradient
from tagwise.grouping.settings import GroupingSettings


def fill_missing(
    groups: KeypointGroups,
    heatmaps: Maps,
    tags: Maps,
    settings: GroupingSettings,
    block_maxima: np.ndarray | None = None,
    offsets: Maps | None = None,
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
    found = np.nonzero(missing & ~missing.all(axis=1, keepdims=True))
    group, types = map(np.ascontiguousarray, found)  # one type of array for the compiled loops
    if not len(group):
        return groups
    height, width = heatmaps.shape[-2:]
    boxes = np.tile(np.array([0, 0, width, height]), (len(groups), 1))
    if settings.fill_reach is not None:
        around = keypoint_boxes(groups.keypoints)
        boxes = kernels.surroundings(around, settings.fill_reach, width, height)
    queries = kernels.Queries(types, _mean_tags(groups)[group], boxes[group])
    heatmaps, tags = without_gradient(heatmaps), without_gradient(tags)
    cells = _best_cells(heatmaps, tags, block_maxima, queries, settings)
    filled = cells >= 0
    group, types = group[filled], types[filled]
    index = types * (height * width) + cells[filled]
    locate = published.place_filled if settings.published else subcell.locate
    xy, scores = locate(heatmaps, index, settings, offsets)
    use = scores > 0
    keypoints = groups.keypoints.copy()
    keypoints[group[use], types[use]] = np.concatenate([xy, scores[:, None]], axis=1)[use]
    return replace(groups, keypoints=keypoints)


def _mean_tags(groups: KeypointGroups) -> np.ndarray:
    """The mean tag of each group's keypoints that have a tag, (N, D) float64."""
    has_tag = np.isfinite(groups.tags).all(axis=2)
    sums = np.where(has_tag[:, :, None], groups.tags, 0).sum(axis=1, dtype=np.float64)
    return sums / np.maximum(has_tag.sum(axis=1), 1)[:, None]


def _best_cells(heatmaps, tags, block_maxima, queries, settings) -> np.ndarray:
    """The best cell of each query as y * W + x, (Q,) int64; -1 if no value is high enough."""
    types, height, width = heatmaps.shape
    tag_maps, scale = tags.reshape(types, -1, height, width), published.heatmap_scale(settings)
    least = -np.inf if settings.fill_threshold is None else settings.fill_threshold * scale
    everywhere = settings.fill_reach is None
    if not on_host(heatmaps):
        return _best_cells_on_device(heatmaps.float() * scale, tag_maps, queries, least)
    maps = as_array(heatmaps)
    if block_maxima is None:
        block_maxima = find_block_maxima(maps)
    if scale != 1 and not everywhere:
        maps, block_maxima = maps * np.float32(scale), block_maxima * np.float32(scale)
    search = kernels.SearchMaps(maps, as_array(tag_maps), block_maxima)
    if everywhere:
        return best_cells_anywhere(search, queries.types, queries.means, least, scale)
    return kernels.best_cells(search, queries, least)


def _best_cells_on_device(heatmaps, tag_maps, queries, least) -> np.ndarray:
    """Like the compiled `best_cells`, with tensor operations on the device of the maps."""
    import torch

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
