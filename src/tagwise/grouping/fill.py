"""Filling missing keypoints of instances in the cells where heatmap and tags match best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tagwise.geometry import keypoint_boxes
from tagwise.grouping import published, subcell
from tagwise.grouping.kernels import fill as kernels
from tagwise.grouping.kernels.peaks import block_maxima as find_block_maxima
from tagwise.grouping.kernels.whole_maps import best_cells_anywhere
from tagwise.grouping.keypoint_groups import BatchGroups
from tagwise.grouping.maps import Maps, as_array, on_host, readable
from tagwise.grouping.settings import GroupingSettings


def fill_missing(
    groups: BatchGroups,
    heatmaps: Maps,
    tags: Maps,
    settings: GroupingSettings,
    block_maxima: np.ndarray | None = None,
    offsets: Maps | None = None,
) -> BatchGroups:
    """Set missing keypoints where heatmap - round(tag distance to the group's mean) is largest.

    This is the refinement in the released code of Newell, Huang, Deng 2017. With
    settings.fill_threshold, a keypoint stays missing if that value is not above the threshold. With
    settings.fill_reach, only the surroundings of the group are searched.

    heatmaps: (B, K, H, W), tags: (B, K * D, H, W), offsets: (B, 2 * K, H, W), on one device.
    block_maxima: (B, K, ceil(H / 16), ceil(W / 16)), the largest heatmap values, of `find_peaks`.
        On the CPU they save the search most of the map; the result is the same.
    """
    missing = ~(groups.keypoints[:, :, 2] > 0)
    found = np.nonzero(missing & ~missing.all(axis=1, keepdims=True))
    group, types = map(np.ascontiguousarray, found)  # one type of array for the compiled loops
    if not len(group):
        return groups
    kinds, height, width = heatmaps.shape[1:]
    boxes = np.tile(np.array([0, 0, width, height]), (len(groups), 1))
    if settings.fill_reach is not None:
        around = keypoint_boxes(groups.keypoints)
        boxes = surroundings(around, groups.images, settings.fill_reach, (width, height))
    maps = groups.images[group] * kinds + types  # of the whole batch
    queries = kernels.Queries(maps, _mean_tags(groups)[group], boxes[group])
    heatmaps, tags = readable(heatmaps), readable(tags)
    offsets = None if offsets is None else readable(offsets)
    cells = _best_cells(heatmaps, tags, block_maxima, queries, settings)
    filled = cells >= 0
    group, types = group[filled], types[filled]
    index = maps[filled] * (height * width) + cells[filled]
    locate = published.place_filled if settings.published else subcell.locate
    xy, scores = locate(heatmaps, index, settings, offsets)
    use = scores > 0
    keypoints = groups.keypoints.copy()
    keypoints[group[use], types[use]] = np.concatenate([xy, scores[:, None]], axis=1)[use]
    return replace(groups, keypoints=keypoints)


def surroundings(
    around: np.ndarray, images: np.ndarray, reach: float, size: tuple[int, int]
) -> np.ndarray:
    """The bounding box of each group, extended on all sides by reach times its longer side.

    around: (N, 4) float64, the bounding boxes x, y, width, height. Groups smaller than the median
        group of their image, such as fragments, are extended as much as that group.
    images: (N,) ascending, the image of each group. size: (width, height) of the maps.
    Returns (N, 4) int64: the first x and y, and one past the last.
    """
    sides = around[:, 2:].max(axis=1)
    margin = reach * np.maximum(sides, _median_of_image(sides, images))[:, None]
    first = np.floor(around[:, :2] - margin).clip(0, np.subtract(size, 1))
    last = np.ceil(around[:, :2] + around[:, 2:] + margin) + 1
    last = np.maximum(np.minimum(last, size), first + 1)
    return np.concatenate([first, last], axis=1).astype(np.int64)


def _median_of_image(values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """For each value, the median of the values of its image (N,); images: ascending."""
    ordered = values[np.lexsort((values, images))]
    first = np.searchsorted(images, images)
    count = np.searchsorted(images, images, side="right") - first
    return (ordered[first + (count - 1) // 2] + ordered[first + count // 2]) / 2


def _mean_tags(groups: BatchGroups) -> np.ndarray:
    """The mean tag of each group's keypoints that have a tag, (N, D) float64."""
    has_tag = np.isfinite(groups.tags).all(axis=2)
    sums = np.where(has_tag[:, :, None], groups.tags, 0).sum(axis=1, dtype=np.float64)
    return sums / np.maximum(has_tag.sum(axis=1), 1)[:, None]


def _best_cells(heatmaps, tags, block_maxima, queries, settings) -> np.ndarray:
    """The best cell of each query as y * W + x, (Q,) int64; -1 if no value is high enough."""
    height, width = heatmaps.shape[2:]
    heatmaps = heatmaps.reshape(-1, height, width)
    tags, scale = tags.reshape(len(heatmaps), -1, height, width), published.heatmap_scale(settings)
    least = -np.inf if settings.fill_threshold is None else settings.fill_threshold * scale
    everywhere = settings.fill_reach is None
    if not on_host(heatmaps):
        scaled = heatmaps if scale == 1 else heatmaps.float() * scale
        return _best_cells_on_device(scaled, tags, queries, least)
    maps = as_array(heatmaps)
    if block_maxima is None:
        block_maxima = find_block_maxima(maps)
    block_maxima = block_maxima.reshape(len(maps), *block_maxima.shape[-2:])
    if scale != 1 and not everywhere:
        maps, block_maxima = maps * np.float32(scale), block_maxima * np.float32(scale)
    search = kernels.SearchMaps(maps, as_array(tags), block_maxima)
    if everywhere:
        return best_cells_anywhere(search, queries.maps, queries.means, least, scale)
    return kernels.best_cells(search, queries, least)


def _best_cells_on_device(heatmaps, tag_maps, queries, least) -> np.ndarray:
    """Like the compiled `best_cells`, with tensor operations on the device of the maps."""
    import torch

    width = heatmaps.shape[2]
    means = torch.as_tensor(queries.means, dtype=torch.float32, device=heatmaps.device)
    cells, values = [], []
    for k, mean, (x0, y0, x1, y1) in zip(queries.maps.tolist(), means, queries.boxes.tolist()):
        squares = (tag_maps[k, :, y0:y1, x0:x1].float() - mean[:, None, None]).square()
        distance = squares.sum(dim=0).sqrt()
        value = heatmaps[k, y0:y1, x0:x1].float() - distance.round()
        value, cell = value.nan_to_num(-torch.inf).flatten().max(dim=0)
        cells.append((cell // (x1 - x0) + y0) * width + cell % (x1 - x0) + x0)
        values.append(value)
    cells = torch.where(torch.stack(values) > least, torch.stack(cells), -1)
    return cells.cpu().numpy()
