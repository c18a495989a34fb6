"""The compiled search for peaks in which every cell of a plateau is one."""

from __future__ import annotations

import numpy as np

from tagwise._kernels import BLOCK, _insert, _may_peak, compiled


@compiled()
def _is_highest(heatmap, y, x, radius):
    """No larger value in the window."""
    height, width = heatmap.shape
    for v in range(max(y - radius, 0), min(y + radius + 1, height)):
        for u in range(max(x - radius, 0), min(x + radius + 1, width)):
            if heatmap[v, u] > heatmap[y, x]:
                return False
    return True


@compiled()
def scan_peaks(heatmaps, maxima, threshold, radius, top_k):
    """As `_kernels.scan_peaks`, but equal neighbours do not keep a cell from being a peak."""
    channels, height, width = heatmaps.shape
    cells = np.zeros((channels, top_k), np.int64)
    counts = np.zeros(channels, np.int64)
    scores = np.empty(top_k, np.float32)
    for c in range(channels):
        heatmap, found = heatmaps[c], cells[c]
        floor, count = np.float32(threshold), 0
        for row in range(maxima.shape[1]):
            for column in range(maxima.shape[2]):
                if not maxima[c, row, column] > floor:
                    continue
                for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
                    if not _may_peak(heatmap, y, column * BLOCK, floor):
                        continue
                    for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                        value = heatmap[y, x]
                        if value > floor and _is_highest(heatmap, y, x, radius):
                            count = _insert(scores, found, count, value, y * width + x)
                            if count == top_k:
                                floor = max(floor, scores[top_k - 1])
        counts[c] = count
    return cells, counts
