"""Filling an instance's missing keypoints from where heatmap and tags agree best."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tagwise import _kernels
from tagwise.grouping_settings import GroupingSettings
from tagwise.peaks import locate

if TYPE_CHECKING:
    from tagwise.grouping import KeypointGroups


@torch.no_grad()
def fill_missing(
    groups: KeypointGroups,
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings,
    block_maxima: np.ndarray | None = None,
    offsets: Tensor | None = None,
) -> KeypointGroups:
    """Each missing keypoint goes where heatmap - round(distance of tag from the group's mean) is largest.

    heatmaps: (K, H, W), tags: (K * D, H, W), offsets: (2 * K, H, W), on one device; one image.
    block_maxima: (K, ceil(H / 16), ceil(W / 16)), largest heatmap values, as `find_peaks` gives
        them. On the CPU they spare the search most of the map; the result is the same.
    """
    missing = ~(groups.keypoints[:, :, 2] > 0)
    group, kind = np.nonzero(missing & ~missing.all(axis=1, keepdims=True))
    if not len(group):
        return groups
    kinds, height, width = heatmaps.shape
    with np.errstate(invalid="ignore"):
        means = np.nanmean(groups.tags, axis=1, dtype=np.float64)[group]
    rms = settings.tag_norm == "rms"
    if heatmaps.device.type == "cpu":
        maps = heatmaps.detach().float().contiguous().numpy()
        tag_maps = tags.detach().float().contiguous().numpy().reshape(kinds, -1, height, width)
        if block_maxima is None:
            block_maxima = _kernels.block_maxima(maps)
        cell = _kernels.best_cells(maps, tag_maps, block_maxima, kind, means, rms)
    else:
        cell = _best_cells_on_device(heatmaps, tags, kind, means, rms)
    if offsets is not None:
        offsets = offsets.reshape(kinds, 2, height, width)
    xy, score = locate(heatmaps, kind * height * width + cell, settings.subcell, offsets)
    found = score > 0
    if settings.fill_score == "one":
        score = np.ones_like(score)
    keypoints = groups.keypoints.copy()
    values = np.concatenate([xy, score[:, None]], axis=1)
    keypoints[group[found], kind[found]] = values[found]
    return replace(groups, keypoints=keypoints)


def _best_cells_on_device(heatmaps, tags, kind, means, rms) -> np.ndarray:
    kinds, height, width = heatmaps.shape
    tag_maps = tags.view(kinds, -1, height, width)
    means = torch.as_tensor(means, dtype=torch.float32, device=tags.device)
    cells = []
    for k, mean in zip(kind.tolist(), means):
        distance = (tag_maps[k].float() - mean[:, None, None]).square()
        distance = (distance.mean(dim=0) if rms else distance.sum(dim=0)).sqrt()
        value = heatmaps[k].float() - distance.round()
        cells.append(value.nan_to_num(-torch.inf).argmax())
    return torch.stack(cells).cpu().numpy()
