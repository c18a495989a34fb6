"""The compiled loops that find the cells of missing keypoints near their groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.peaks import BLOCK
from tagwise.runtime import compiled


class SearchMaps(NamedTuple):
    """M maps, K of each image: heatmaps (M, H, W), tags (M, D, H, W), maxima as `block_maxima`."""

    heatmaps: np.ndarray
    tags: np.ndarray
    maxima: np.ndarray


class Queries(NamedTuple):
    """Q searches: maps (Q,) int64, mean tags (Q, D) float64, boxes (Q, 4) int64.

    maps: the index of the map to search. A box contains x and y of the first cell to search, then x
    and y of the end, exclusive.
    """

    maps: np.ndarray
    means: np.ndarray
    boxes: np.ndarray


@compiled(inline="always")
def _range(values):
    """The smallest and the largest value, ignoring NaN."""
    low, high = np.inf, -np.inf
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if values[y, x] < low:
                low = values[y, x]
            if values[y, x] > high:
                high = values[y, x]
    return low, high


@compiled(inline="always")
def _tag_distance_bound(tags, mean, block, ranges):
    """A lower bound of the distance between the tags of a block and the mean.

    ranges (D, 2) caches the range of the block's tags.
    """
    (row, column), total = block, 0.0
    for d in range(len(mean)):
        if np.isnan(ranges[d, 0]):
            lines = tags[d, row * BLOCK : (row + 1) * BLOCK]
            low, high = _range(lines[:, column * BLOCK : (column + 1) * BLOCK])
            ranges[d, 0], ranges[d, 1] = low, high
        gap = max(ranges[d, 0] - mean[d], mean[d] - ranges[d, 1], 0.0)
        total += gap * gap
    return np.sqrt(total)


@compiled()
def _may_hold(heatmap, tags, mean, span, best, squares):
    """Whether part of a row may contain a cell that is at least as good as the best so far.

    span: y, the first x, and one past the last. A cell may be as good if its tag distance is at
    most floor(heatmap - best) + 1/2. Squared distances are compared, so that vector instructions
    without square roots reject most cells. squares: a buffer for BLOCK numbers.
    """
    y, first, last = span
    heat, far = heatmap[y, first:last], abs(best)
    for i in range(len(heat)):
        squares[i] = 0
    for d in range(len(mean)):
        middle, tag = np.float32(mean[d]), tags[d, y, first:last]
        far = max(far, abs(mean[d]))
        for i in range(len(tag)):
            squares[i] += (tag[i] - middle) * (tag[i] - middle)
    # A tolerance for the rounding of float32, so that no cell is rejected by mistake.
    tolerance = 1e-4 + 1e-6 * far
    least, half = np.float32(best - tolerance), np.float32(0.5 + tolerance)
    count = 0
    for i in range(len(heat)):
        reach = np.floor(heat[i] - least) + half
        count += (reach > np.float32(0)) & (squares[i] <= reach * reach)
    return count > 0


@compiled(inline="always")
def _best_in_block(heatmap, tags, mean, box, block, best, squares):
    """Update the best value and its cell with one block; ties go to the first in reading order.

    best: the value and the cell so far. squares: a buffer for BLOCK numbers.
    """
    (row, column), (highest, cell) = block, best
    first, last = max(column * BLOCK, box[0]), min((column + 1) * BLOCK, box[2])
    for y in range(max(row * BLOCK, box[1]), min((row + 1) * BLOCK, box[3])):
        if not _may_hold(heatmap, tags, mean, (y, first, last), highest, squares):
            continue
        for x in range(first, last):
            value = np.float64(heatmap[y, x])
            if not value >= highest:
                continue
            total = 0.0
            for d in range(len(mean)):
                total += (tags[d, y, x] - mean[d]) ** 2
            value -= np.rint(np.sqrt(total))
            other = y * heatmap.shape[1] + x
            if value > highest or (value == highest and other < cell):
                highest, cell = value, other
    return highest, cell


@compiled(inline="always")
def _brighter_first(maxima, box, out):
    """Write the index of each block in a box to out, bright blocks first.

    For few blocks, this is faster than sorting. Returns the number of blocks.
    """
    top, bottom = box[1] // BLOCK, (box[3] + BLOCK - 1) // BLOCK
    left, right = box[0] // BLOCK, (box[2] + BLOCK - 1) // BLOCK
    largest = maxima[top, left]
    for row in range(top, bottom):
        for column in range(left, right):
            largest = max(largest, maxima[row, column])
    bright, count = 0.25 * largest, 0
    for first_round in (True, False):
        for row in range(top, bottom):
            for column in range(left, right):
                if (maxima[row, column] >= bright) == first_round:
                    out[count] = row * maxima.shape[1] + column
                    count += 1
    return count


def best_cells(maps, queries, least):
    """For each query, find the cell where heatmap - round(distance of tag from mean) is largest.

    maps: SearchMaps. queries: Queries. Returns (Q,) int64, cells as y * W + x, -1 if no value
    exceeds `least`. Of equal values, the first in reading order is chosen.
    """
    ranges = np.full((*maps.maxima.shape, maps.tags.shape[1], 2), np.nan, np.float32)
    return _best_cells(maps, queries, least, ranges)


@compiled()
def _best_cells(maps, queries, least, ranges):
    """`best_cells` with a cache of the range of the tags of each block, NaN where it is unknown.

    The largest heatmap value and the range of the tags bound the values in a block. As bright
    blocks are searched first, most blocks are never read. Ranges are computed when first needed.

    ranges: (M, rows, columns, D, 2) float32. It is made outside, because numba takes .4 s to
    compile the making of an array of five dimensions.
    """
    # Plain arrays, because passing structures of arrays counts references in every inner call.
    heatmaps, tags, maxima = maps
    which, means, boxes = queries
    out, height, width = np.empty(len(which), np.int64), heatmaps.shape[1], heatmaps.shape[2]
    columns = maxima.shape[2]
    near, squares = np.empty(maxima.shape[1] * columns, np.int64), np.empty(BLOCK, np.float32)
    for q in range(len(which)):
        k, mean, box = which[q], means[q], boxes[q]
        heatmap, tag_map = heatmaps[k], tags[k]
        best = (least, height * width)
        for number in range(_brighter_first(maxima[k], box, near)):
            row, column = near[number] // columns, near[number] % columns
            largest = maxima[k, row, column]
            if not largest >= best[0]:
                continue
            block = (row, column)
            bound = _tag_distance_bound(tag_map, mean, block, ranges[k, row, column])
            if largest - np.rint(bound) >= best[0]:
                best = _best_in_block(heatmap, tag_map, mean, box, block, best, squares)
        out[q] = best[1] if best[0] > least else -1
    return out
