"""The compiled loops that find the cells of missing keypoints in whole maps."""

from __future__ import annotations

import numpy as np

from tagwise.grouping.kernels.peaks import BLOCK
from tagwise.runtime import compiled

_AREA = BLOCK * BLOCK
_KEPT = 32

# The functions that run for each query or block are inlined, because a call counts references to
# every array that it passes.


@compiled()
def best_cells_anywhere(maps, which, means, least, scale):
    """For each query, find the cell where scale * heatmap - round(tag distance) is largest.

    maps: SearchMaps. which (Q,) int64 and means (Q, D) float64: the first two fields of `Queries`.
    scale: a power of 2. Returns (Q,) int64, cells as y * W + x, -1 if no value exceeds `least`. Of
    equal values, the first in reading order is chosen.

    The largest heatmap value of a block and the range of its tags bound the values in it. A block
    is not read if its bound is below the best of the cells that earlier queries of the map found.
    The others are copied, so that their cells are contiguous: all queries of a map read the same
    few blocks.
    """
    heatmaps, tags, maxima = maps
    out = np.empty(len(which), np.int64)
    copies = np.empty((maxima[0].size, tags.shape[1] + 1, _AREA), np.float32)
    for k in range(len(heatmaps)):
        queries = np.flatnonzero(which == k)
        if len(queries):
            planes = (heatmaps[k], tags[k], np.float32(scale))
            largest = maxima[k] * np.float32(scale)
            out[queries] = _search_map(planes, largest, means[queries], least, copies)
    return out


@compiled()
def _search_map(planes, maxima, means, least, copies):
    """The best cells of the queries of one map, as `best_cells_anywhere`; copies: a buffer."""
    blocks, (height, width) = maxima.size, planes[0].shape
    ranges = _tag_ranges(planes[1], maxima.shape)
    squares, passes = np.empty(_AREA, np.float32), np.empty(_AREA, np.bool_)
    buffers = (copies, np.zeros(blocks, np.bool_), squares, passes)
    bounds, near = np.empty(blocks), np.empty(blocks, np.int64)
    cells, values = np.empty(_KEPT, np.int64), np.full((copies.shape[1], _KEPT), np.float32(np.nan))
    out, kept = np.full(len(means), -1, np.int64), 0
    for q in range(len(means)):
        _find_bounds(maxima, ranges, means[q], bounds)
        known = _best_known(cells, values, means[q], (least, height * width))
        count = _reaching(bounds, known[0], near)
        best = _search_blocks(near[:count], bounds, planes, buffers, means[q], known)
        if best[0] > least:
            out[q] = best[1]
            if best[1] != known[1] and kept < _KEPT:
                y, x = best[1] // width, best[1] % width
                block = y // BLOCK * maxima.shape[1] + x // BLOCK
                cells[kept] = best[1]
                values[:, kept] = copies[block, :, y % BLOCK * BLOCK + x % BLOCK]
                kept += 1
    return out


@compiled()
def _tag_ranges(tags, shape):
    """The smallest and the largest tag of each block, (2, D, blocks), except NaN."""
    (dims, height, width), (rows, columns) = tags.shape, shape
    ranges = np.empty((2, dims, rows, columns), np.float32)
    low, high = np.empty(width, np.float32), np.empty(width, np.float32)
    for d in range(dims):
        for row in range(rows):
            low[:], high[:] = np.inf, -np.inf
            for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
                line = tags[d, y]
                for x in range(width):
                    low[x] = line[x] if line[x] < low[x] else low[x]
                    high[x] = line[x] if line[x] > high[x] else high[x]
            for column in range(columns):
                least, most = np.float32(np.inf), np.float32(-np.inf)
                for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                    least, most = min(least, low[x]), max(most, high[x])
                ranges[0, d, row, column], ranges[1, d, row, column] = least, most
    return ranges.reshape(2, dims, rows * columns)


@compiled(inline="always")
def _find_bounds(maxima, ranges, mean, bounds):
    """Write an upper bound of the values in each block to bounds (blocks,).

    It holds in spite of rounding: the steps are those of `_value`, and each is monotonic.
    """
    bounds[:], largest = 0, maxima.reshape(len(bounds))
    for d in range(len(mean)):
        middle, low, high = mean[d], ranges[0, d], ranges[1, d]
        for b in range(len(bounds)):
            gap = max(max(low[b] - middle, middle - high[b]), 0.0)
            bounds[b] += gap * gap
    for b in range(len(bounds)):
        bound = largest[b] - np.rint(np.sqrt(bounds[b]))
        bounds[b] = bound if bound > -np.inf else -np.inf  # for NaN


@compiled()
def _reaching(bounds, best, near):
    """Write the blocks whose bounds reach the best value to near, the highest bound first.

    Returns their number.
    """
    count, top = 0, 0
    for b in range(len(bounds)):
        near[count] = b
        count += bounds[b] >= best
    for i in range(1, count):
        if bounds[near[i]] > bounds[near[top]]:
            top = i
    near[0], near[top] = near[top], near[0]
    return count


@compiled(inline="always")
def _best_known(cells, known, mean, best):
    """Update the best value and its cell with the cells whose tags and heatmap value are known.

    known (D + 1, _KEPT): NaN where there is no cell yet. The steps are those of `_value`.
    """
    (highest, cell), values = best, np.zeros(_KEPT)
    for d in range(len(mean)):
        for n in range(_KEPT):
            values[n] += (known[d, n] - mean[d]) ** 2
    for n in range(_KEPT):
        values[n] = known[len(mean), n] - np.rint(np.sqrt(values[n]))
    for n in range(_KEPT):
        if values[n] > highest or (values[n] == highest and cells[n] < cell):
            highest, cell = values[n], cells[n]
    return highest, cell


@compiled()
def _value(copies, b, i, mean):
    """heatmap - round(tag distance) of a cell of block b: its tags and heatmap value are known."""
    total = 0.0
    for d in range(len(mean)):
        total += (copies[b, d, i] - mean[d]) ** 2
    return np.float64(copies[b, len(mean), i]) - np.rint(np.sqrt(total))


@compiled(inline="always")
def _search_blocks(blocks, bounds, planes, buffers, mean, best):
    """Update the best value and its cell with those blocks whose bounds reach it."""
    heatmap, tags, scale = planes
    copies, copied, squares, passes = buffers
    columns = (heatmap.shape[1] + BLOCK - 1) // BLOCK
    for b in blocks:
        if not bounds[b] >= best[0]:
            continue
        if not copied[b]:
            corner = (b // columns * BLOCK, b % columns * BLOCK)
            _copy(heatmap, tags, corner, scale, copies[b])
            copied[b] = True
        if _may_hold(copies, b, mean, best[0], squares, passes):
            corner = (b // columns * BLOCK, b % columns * BLOCK)
            best = _best_in_copy(copies, b, mean, corner, heatmap.shape[1], best, passes)
    return best


@compiled()
def _copy(heatmap, tags, corner, scale, out):
    """Copy the tags and the scaled heatmap of a block to (D + 1, 256); outside the map is NaN."""
    (top, left), (height, width) = corner, heatmap.shape
    rows, columns = min(BLOCK, height - top), min(BLOCK, width - left)
    if rows < BLOCK or columns < BLOCK:
        out[:] = np.nan
    for y in range(rows):
        for d in range(len(tags)):
            _copy_row(tags[d, top + y, left : left + columns], np.float32(1), out[d, y * BLOCK :])
        _copy_row(heatmap[top + y, left : left + columns], scale, out[len(tags), y * BLOCK :])


@compiled()
def _copy_row(row, factor, out):
    if len(row) == BLOCK:  # a constant number of steps compiles to a few vector instructions
        for x in range(BLOCK):
            out[x] = row[x] * factor
    else:
        for x in range(len(row)):
            out[x] = row[x] * factor


@compiled(inline="always")
def _may_hold(copies, b, mean, best, squares, passes):
    """Find the cells of block b that may be at least as good as the best so far.

    A cell may be as good if its tag distance is at most floor(heatmap - best) + 1/2. Squared
    distances are compared in float32, with a tolerance for its rounding, so that vector
    instructions without square roots reject most cells. passes (256,) bool: the cells that remain.
    Returns whether there are any. squares (256,): a buffer.
    """
    dims, far, count = len(mean), np.abs(best), 0
    for d in range(dims):
        middle = np.float32(mean[d])
        far = max(far, np.abs(mean[d]))
        for i in range(_AREA):
            square = (copies[b, d, i] - middle) * (copies[b, d, i] - middle)
            squares[i] = square if d == 0 else squares[i] + square
    tolerance = 1e-4 + 1e-6 * far
    least, half = np.float32(best - tolerance), np.float32(0.5 + tolerance)
    for i in range(_AREA):
        reach = max(np.floor(copies[b, dims, i] - least) + half, np.float32(0))
        passes[i] = squares[i] <= reach * reach
        count += passes[i]
    return count > 0


@compiled()
def _best_in_copy(copies, b, mean, corner, width, best, passes):
    """Update the best value and its cell with the cells of block b that passed."""
    (highest, cell), eights = best, passes.view(np.uint64)
    for eight in range(len(eights)):
        if eights[eight] == 0:
            continue
        for i in range(8 * eight, 8 * eight + 8):
            if passes[i]:
                value = _value(copies, b, i, mean)
                other = (corner[0] + i // BLOCK) * width + corner[1] + i % BLOCK
                if value > highest or (value == highest and other < cell):
                    highest, cell = value, other
    return highest, cell
