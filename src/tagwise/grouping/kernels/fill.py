"""The compiled loops that find missing keypoints: where each group is, and its best cell there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.geometry import boxes_around
from tagwise.grouping.kernels.peaks import BLOCK
from tagwise.runtime import compiled


class SearchMaps(NamedTuple):
    """The maps of one image: heatmaps (K, H, W), tags (K, D, H, W), maxima as `block_maxima`."""

    heatmaps: np.ndarray
    tags: np.ndarray
    maxima: np.ndarray


class Queries(NamedTuple):
    """Q searches: types (Q,) int64, mean tags (Q, D) float64, boxes (Q, 4) int64.

    A box has x and y where the search begins, then x and y where it ends, exclusive.
    """

    types: np.ndarray
    means: np.ndarray
    boxes: np.ndarray


class _Search(NamedTuple):
    """One search: a heatmap (H, W), its tag map (D, H, W), a mean tag (D,), a box (4,)."""

    heatmap: np.ndarray
    tags: np.ndarray
    mean: np.ndarray
    box: np.ndarray


@compiled()
def surroundings(keypoints, reach, width, height):
    """(N, 4) int64: each group's bounding box, grown on all sides by reach times its longer side.

    keypoints: (N, K, 3), x, y and score, 0 for missing, at least one of each group there. Groups
    smaller than the image's median group, as fragments are, grow as that one would.
    """
    around, boxes = boxes_around(keypoints), np.empty((len(keypoints), 4), np.int64)
    sides = np.maximum(around[:, 2], around[:, 3])
    least = np.median(sides)
    for n in range(len(keypoints)):
        margin = reach * max(sides[n], least)
        for axis, size in ((0, width), (1, height)):
            start = around[n, axis]
            first = np.int64(np.floor(start - margin))
            last = np.int64(np.ceil(start + around[n, 2 + axis] + margin)) + 1
            boxes[n, axis] = min(max(first, 0), size - 1)
            boxes[n, 2 + axis] = max(min(last, size), boxes[n, axis] + 1)
    return boxes


@compiled()
def _range(values):
    """Smallest and largest, ignoring NaN."""
    low, high = np.inf, -np.inf
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if values[y, x] < low:
                low = values[y, x]
            if values[y, x] > high:
                high = values[y, x]
    return low, high


@compiled()
def _tag_distance_bound(tags, mean, row, column, ranges):
    """No tag of a block is nearer the mean than this; ranges (D, 2) keeps the block's range."""
    total = 0.0
    for d in range(len(mean)):
        if np.isnan(ranges[d, 0]):
            lines = tags[d, row * BLOCK : (row + 1) * BLOCK]
            ranges[d] = _range(lines[:, column * BLOCK : (column + 1) * BLOCK])
        gap = max(ranges[d, 0] - mean[d], mean[d] - ranges[d, 1], 0.0)
        total += gap * gap
    return np.sqrt(total)


@compiled()
def _may_hold(search, y, first, last, best, squares):
    """Whether a row of a block may hold a cell that is no worse than the best so far.

    It may where the distance is at most floor(heatmap - best) + 1/2. Squares are compared, so that
    vector instructions without roots pass over most cells. squares: room for BLOCK numbers.
    """
    heat, far = search.heatmap[y, first:last], np.abs(best)
    squares[:] = 0
    for d in range(len(search.mean)):
        middle, tag = np.float32(search.mean[d]), search.tags[d, y, first:last]
        far = max(far, np.abs(search.mean[d]))
        for i in range(len(tag)):
            squares[i] += (tag[i] - middle) * (tag[i] - middle)
    # A little more passes than must, for the rounding of float32.
    little = 1e-4 + 1e-6 * far
    least, half = np.float32(best - little), np.float32(0.5 + little)
    count = 0
    for i in range(len(heat)):
        reach = np.floor(heat[i] - least) + half
        count += (reach > np.float32(0)) & (squares[i] <= reach * reach)
    return count > 0


@compiled()
def _best_in_block(search, row, column, best, best_cell, squares):
    """The best value and its cell after one more block; of equal values the first in reading order.

    squares: room for BLOCK numbers.
    """
    width, box = search.heatmap.shape[1], search.box
    first, last = max(column * BLOCK, box[0]), min((column + 1) * BLOCK, box[2])
    for y in range(max(row * BLOCK, box[1]), min((row + 1) * BLOCK, box[3])):
        if not _may_hold(search, y, first, last, best, squares):
            continue
        for x in range(first, last):
            value = np.float64(search.heatmap[y, x])
            if not value >= best:
                continue
            total = 0.0
            for d in range(len(search.mean)):
                total += (search.tags[d, y, x] - search.mean[d]) ** 2
            value -= np.round(np.sqrt(total))
            cell = y * width + x
            if value > best or (value == best and cell < best_cell):
                best, best_cell = value, cell
    return best, best_cell


@compiled()
def _brightest_first(maxima, out):
    """Row and column of each block, (blocks, 2), by falling maximum; NaN last."""
    order, columns = np.argsort(-maxima.flatten(), kind="mergesort"), maxima.shape[1]
    out[:, 0], out[:, 1] = order // columns, order % columns


@compiled()
def _brighter_first(maxima, box, out):
    """Row and column of each block that a box touches, the brighter ones first; returns how many.

    For few blocks this is cheaper than sorting them all.
    """
    top, bottom = box[1] // BLOCK, (box[3] + BLOCK - 1) // BLOCK
    left, right = box[0] // BLOCK, (box[2] + BLOCK - 1) // BLOCK
    bright, count = 0.25 * maxima[top:bottom, left:right].max(), 0
    for first_round in (True, False):
        for row in range(top, bottom):
            for column in range(left, right):
                if (maxima[row, column] >= bright) == first_round:
                    out[count, 0], out[count, 1] = row, column
                    count += 1
    return count


@compiled()
def best_cells(maps, queries, least):
    """For each query the cell where heatmap - round(distance of tag from mean) is largest.

    maps: SearchMaps. queries: Queries. Returns (Q,) int64, cells as y * W + x, -1 where nothing
    exceeds `least`. Equal values: the first in reading order.

    The largest value and the range of tags bound what a block can hold, so most are never read:
    bright blocks come first. The ranges are computed when they are first needed.
    """
    out, (height, width) = np.full(len(queries.types), -1, np.int64), maps.heatmaps.shape[1:]
    maxima = maps.maxima
    ranges = np.full((*maxima.shape, maps.tags.shape[1], 2), np.nan, np.float32)
    falling = np.full((len(maxima), maxima.shape[1] * maxima.shape[2], 2), -1, np.int64)
    near = np.empty(falling.shape[1:], np.int64)
    squares = np.empty(BLOCK, np.float32)
    for q in range(len(queries.types)):
        k, box = queries.types[q], queries.boxes[q]
        search = _Search(maps.heatmaps[k], maps.tags[k], queries.means[q], box)
        everywhere = box[0] <= 0 and box[1] <= 0 and box[2] >= width and box[3] >= height
        if everywhere and falling[k, 0, 0] < 0:
            _brightest_first(maxima[k], falling[k])
        blocks = falling[k] if everywhere else near[: _brighter_first(maxima[k], box, near)]
        best, best_cell = least, height * width
        for row, column in blocks:
            largest = maxima[k, row, column]
            if not largest >= best:
                if everywhere:
                    break
                continue
            block_ranges = ranges[k, row, column]
            bound = _tag_distance_bound(search.tags, search.mean, row, column, block_ranges)
            if largest - np.round(bound) >= best:
                best, best_cell = _best_in_block(search, row, column, best, best_cell, squares)
        if best > least:
            out[q] = best_cell
    return out
