"""The compiled loops over maps that find peaks."""

from __future__ import annotations

import numpy as np

from tagwise.runtime import compiled

BLOCK = 16


@compiled(inline="always")
def _largest_in_columns(rows, out):
    for x in range(rows.shape[1]):
        out[x] = rows[0, x]
    for y in range(1, rows.shape[0]):
        for x in range(rows.shape[1]):
            out[x] = max(out[x], rows[y, x])


@compiled(inline="always")
def _largest(values):
    best = values[0]
    for x in range(1, len(values)):
        best = max(best, values[x])
    return best


# Without the rules for NaN, a maximum compiles to vector instructions. A NaN cell can then only
# hide the other cells of its column in the block.
@compiled(fastmath={"nnan", "nsz"})
def block_maxima(heatmaps):
    """The largest value of each 16 x 16 block of maps (C, H, W), (C, ceil(H/16), ceil(W/16))."""
    channels, height, width = heatmaps.shape
    rows, columns = (height + BLOCK - 1) // BLOCK, (width + BLOCK - 1) // BLOCK
    maxima = np.empty((channels, rows, columns), np.float32)
    largest = np.empty(width, np.float32)
    for c in range(channels):
        for row in range(rows):
            _largest_in_columns(heatmaps[c, row * BLOCK : (row + 1) * BLOCK], largest)
            for column in range(columns):
                part = largest[column * BLOCK : (column + 1) * BLOCK]
                maxima[c, row, column] = _largest(part)
    return maxima


@compiled()
def is_peak(heatmap, y, x, radius):
    """Whether the window has no larger value, and no equal one earlier: one peak per plateau."""
    height, width = heatmap.shape
    value = heatmap[y, x]
    # Nearly all other cells have a larger neighbour among the four.
    if (x > 0 and heatmap[y, x - 1] > value) or (x + 1 < width and heatmap[y, x + 1] > value):
        return False
    if (y > 0 and heatmap[y - 1, x] > value) or (y + 1 < height and heatmap[y + 1, x] > value):
        return False
    for v in range(max(y - radius, 0), min(y + radius + 1, height)):
        for u in range(max(x - radius, 0), min(x + radius + 1, width)):
            other = heatmap[v, u]
            if other > value:
                return False
            if other == value and (v < y or (v == y and u < x)):
                return False
    return True


@compiled()
def may_peak(heatmap, y, x, floor):
    """Whether a row of a block has cells above the floor that no vertical neighbour exceeds.

    It compiles to vector instructions. Few rows pass, so few cells are examined one by one.
    """
    height, width = heatmap.shape
    last = min(x + BLOCK, width)
    values = heatmap[y, x:last]
    above, below = heatmap[max(y - 1, 0), x:last], heatmap[min(y + 1, height - 1), x:last]
    count = 0
    for i in range(len(values)):
        value = values[i]
        count += (value > floor) & (value >= above[i]) & (value >= below[i])
    return count > 0


@compiled()
def scan_peaks(heatmaps, maxima, threshold, radius, top_k):
    """Find the best peaks of each map, (C, H, W) float32, reading only blocks above the threshold.

    maxima: as `block_maxima`. Returns cells (C, top_k) int64 as y * W + x, best first, and their
    counts (C,) int64.
    """
    channels, height, width = heatmaps.shape
    cells = np.zeros((channels, top_k), np.int64)
    counts = np.empty(channels, np.int64)
    scores = np.empty(top_k, np.float32)
    for c in range(channels):
        heatmap, best = heatmaps[c], cells[c]
        floor, count = np.float32(threshold), 0
        for row in range(maxima.shape[1]):
            for column in range(maxima.shape[2]):
                if not maxima[c, row, column] > floor:
                    continue
                for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
                    if not may_peak(heatmap, y, column * BLOCK, floor):
                        continue
                    for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                        value = heatmap[y, x]
                        if value > floor and is_peak(heatmap, y, x, radius):
                            count = insert(scores, best, count, value, y * width + x)
                            if count == top_k:
                                floor = max(floor, scores[top_k - 1])
        counts[c] = count
    return cells, counts


@compiled()
def neighbours(index, height, width):
    """Flat indices of cells and of those to the left, above, to the right and below, (5, P) int64.

    index: (P,) int64, flat into maps (..., H, W). A neighbour beyond an edge is the cell at that
    edge.
    """
    out = np.empty((5, len(index)), np.int64)
    for p in range(len(index)):
        cell = index[p]
        x, y = cell % width, cell // width % height
        out[0, p] = cell
        out[1, p], out[3, p] = cell - (x > 0), cell + (x < width - 1)
        out[2, p], out[4, p] = cell - width * (y > 0), cell + width * (y < height - 1)
    return out


@compiled()
def parabola_shift(values):
    """The vertex of the parabola through the logarithms, (P, 2), at most half a cell away.

    values: (5, P) at `neighbours`.
    """
    tiny = np.float32(1e-6)
    shift = np.empty((values.shape[1], 2), np.float32)
    for p in range(len(shift)):
        middle = np.log(max(values[0, p], tiny))
        for axis in range(2):
            low = np.log(max(values[1 + axis, p], tiny))
            high = np.log(max(values[3 + axis, p], tiny))
            curvature = 2 * middle - low - high
            vertex = (high - low) / (2 * max(curvature, tiny))
            shift[p, axis] = min(max(vertex, -0.5), 0.5) if curvature > tiny else 0.0
    return shift


@compiled(inline="always")
def insert(scores, cells, count, score, cell):
    """Insert a cell into the list of the best cells, sorted by falling score; return its length.

    If the list is full, the last cell is removed, so `score` must be above the last score.
    """
    index = min(count, len(scores) - 1)
    while index > 0 and scores[index - 1] < score:
        scores[index], cells[index] = scores[index - 1], cells[index - 1]
        index -= 1
    scores[index], cells[index] = score, cell
    return min(count + 1, len(scores))
