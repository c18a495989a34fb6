"""The position of a keypoint within its cell."""

from __future__ import annotations

import numpy as np

from tagwise.grouping.kernels import peaks as kernels
from tagwise.grouping.maps import Maps, take, take_channels
from tagwise.grouping.settings import GroupingSettings


def locate(
    heatmaps: Maps,
    index: np.ndarray,
    settings: GroupingSettings,
    offsets: Maps | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sub-cell positions in cells of heatmaps, by settings.subcell, and the heatmap values.

    heatmaps: (..., K, H, W). index: (P,) int64, flat indices into them.
    offsets: (..., 2 * K, H, W) in cells. Returns xy (P, 2) in cells and values (P,), float32.
    """
    height, width = heatmaps.shape[-2:]
    xy = cell_centres(index, height, width)
    if settings.subcell == "none":
        return xy, take(heatmaps, index)
    if settings.subcell == "offset" or (settings.subcell == "auto" and offsets is not None):
        return xy + take_channels(offsets, index, 2), take(heatmaps, index)
    values = take(heatmaps, kernels.neighbours(index, height, width))
    return xy + kernels.parabola_shift(values), values[0]


def cell_centres(index: np.ndarray, height: int, width: int) -> np.ndarray:
    """The x and y in cells of flat indices into maps (..., H, W), (P, 2) float32."""
    xy = np.empty((len(index), 2), np.float32)
    xy[:, 0], xy[:, 1] = index % width, index // width % height
    return xy
