"""Oracles for pose models, which replace one part of a model by the ground truth.

With "grouping", the peaks of the heatmaps are grouped by the ground truth; the remaining errors are
those of the heatmaps. With "keypoints", the true keypoints are grouped by the tags that the network
predicts at their positions; the remaining errors are those of the tags. With "both", the true
keypoints are grouped by the ground truth, which shows what the maps and the decoder can express.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tagwise.grouping import GroupingSettings, KeypointGroups, group_by_truth, group_keypoints
from tagwise.grouping.peaks import Peaks, find_peaks

if TYPE_CHECKING:
    from torch import Tensor

POSE_ORACLES = ("grouping", "keypoints", "both")


def group_with_truth(
    oracle: str,
    heatmaps: Tensor,
    tags: Tensor,
    truth: np.ndarray,
    settings: GroupingSettings,
    order: Sequence[int],
    offsets: Tensor | None = None,
) -> KeypointGroups:
    """The groups of one image with the help of an oracle.

    oracle: "grouping", "keypoints" or "both". heatmaps (1, K, H, W) in [0, 1], tags
    (1, K * D, H, W) and offsets (1, 2 * K, H, W) of one image. truth: (N, K, 3), x and y in cells
    and visibility.
    settings, order: see `group_keypoints`.
    """
    if oracle == "grouping":
        peaks = find_peaks(heatmaps, tags.float(), settings, offsets)
        return group_by_truth(peaks, [truth])[0]
    peaks = true_peaks(truth, tags[0])
    if oracle == "both":
        return group_by_truth(peaks, [truth])[0]
    return group_keypoints(peaks, settings, order)[0]


def true_peaks(truth: np.ndarray, tags: Tensor) -> Peaks:
    """The peaks of one image that perfect heatmaps would give.

    truth: (N, K, 3), x and y in cells and visibility; 0 is unlabelled.
    tags: (K * D, H, W). Keypoints outside the maps are left out; scores are 1.
    """
    maps = tags.detach().float().cpu().numpy().reshape(truth.shape[1], -1, *tags.shape[-2:])
    height, width = maps.shape[-2:]
    types, person = np.nonzero(truth[:, :, 2].T > 0)
    xy = truth[person, types, :2]
    cell = np.rint(xy).astype(np.int64)
    inside = np.flatnonzero(((cell >= 0) & (cell < (width, height))).all(axis=1))
    # Sorted by position, because in the order of instances, peaks of equal tags would be grouped
    # correctly by chance.
    order = inside[np.lexsort((cell[inside, 0], cell[inside, 1], types[inside]))]
    types, xy, cell = types[order], xy[order], cell[order]
    starts = np.searchsorted(types, np.arange(truth.shape[1] + 1))[None]
    tag = maps[types, :, cell[:, 1], cell[:, 0]].astype(np.float32)
    return Peaks(xy.astype(np.float32), cell, np.ones(len(types), np.float32), tag, starts)


def pose_tags(truth: np.ndarray, tags: Tensor) -> np.ndarray:
    """The tags that a network predicts at the true keypoints of one image.

    truth: (N, K, 3), x and y in cells and visibility. tags: (K * D, H, W).
    Returns (N, K, D) float32, NaN for keypoints that are unlabelled or outside the maps.
    """
    N, K = truth.shape[:2]
    maps = tags.detach().float().cpu().numpy().reshape(K, -1, *tags.shape[-2:])
    height, width = maps.shape[-2:]
    cell = np.rint(truth[..., :2]).astype(np.int64)
    inside = ((cell >= 0) & (cell < (width, height))).all(-1) & (truth[..., 2] > 0)
    found = np.full((N, K, maps.shape[1]), np.nan, np.float32)
    n, k = np.nonzero(inside)
    found[n, k] = maps[k, :, cell[n, k, 1], cell[n, k, 0]]
    return found
