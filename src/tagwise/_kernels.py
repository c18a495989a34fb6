"""The compiled loops behind peaks and grouping.

Compiled on first use and kept on disk; where no cache folder can be written, kept in memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BLOCK = 16


def compiled(**options):
    """numba's njit, with its disk cache where a folder for it can be written."""

    def decorate(function):
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return decorate


# Without NaN rules the maximum becomes vector instructions; a NaN cell then hides at most its
# own segment of 16 cells.
@compiled(fastmath={"nnan", "nsz"})
def _largest(row, start, stop):
    best = row[start]
    for x in range(start + 1, stop):
        best = max(best, row[x])
    return best


@compiled()
def _is_peak(heatmap, y, x, radius):
    """No larger value in the window, and no equal one before it (so a plateau gives one peak)."""
    height, width = heatmap.shape
    value = heatmap[y, x]
    for v in range(max(y - radius, 0), min(y + radius + 1, height)):
        for u in range(max(x - radius, 0), min(x + radius + 1, width)):
            other = heatmap[v, u]
            if other > value or (other == value and (v < y or (v == y and u < x))):
                return False
    return True


@compiled()
def scan_heatmaps(heatmaps, threshold, radius, top_k):
    """The best peaks of each map and the maximum of each block, in one reading.

    heatmaps: (C, H, W) float32. Returns cells (C, top_k) int64 as y * W + x, best first, equal
    scores in reading order; counts (C,) int64; block maxima (C, ceil(H / 16), ceil(W / 16)).
    """
    channels, height, width = heatmaps.shape
    cells = np.zeros((channels, top_k), np.int64)
    counts = np.zeros(channels, np.int64)
    rows, columns = (height + BLOCK - 1) // BLOCK, (width + BLOCK - 1) // BLOCK
    maxima = np.full((channels, rows, columns), -np.inf, np.float32)
    scores = np.empty(top_k, np.float32)
    for c in range(channels):
        heatmap = heatmaps[c]
        floor = np.float32(threshold)
        count = 0
        for y in range(height):
            for column in range(columns):
                start, stop = column * BLOCK, min((column + 1) * BLOCK, width)
                largest = _largest(heatmap[y], start, stop)
                maxima[c, y // BLOCK, column] = max(maxima[c, y // BLOCK, column], largest)
                if not largest > floor:
                    continue
                for x in range(start, stop):
                    value = heatmap[y, x]
                    if not value > floor or not _is_peak(heatmap, y, x, radius):
                        continue
                    place = min(count, top_k - 1)
                    while place > 0 and scores[place - 1] < value:
                        scores[place] = scores[place - 1]
                        cells[c, place] = cells[c, place - 1]
                        place -= 1
                    scores[place] = value
                    cells[c, place] = y * width + x
                    count = min(count + 1, top_k)
                    if count == top_k:
                        floor = max(floor, scores[top_k - 1])
        counts[c] = count
    return cells, counts, maxima


@compiled()
def assign(cost):
    """Optimal assignment by shortest augmenting paths (Jonker and Volgenant 1987; the row-by-row
    form of Crouse 2016, that scipy.optimize.linear_sum_assignment also follows).

    cost: (R, C) float64, R <= C. Returns the column of each row, (R,) int64.
    """
    rows, columns = cost.shape
    row_price = np.zeros(rows)
    column_price = np.zeros(columns)
    row_of = np.full(columns, -1, np.int64)
    column_of = np.full(rows, -1, np.int64)
    shortest = np.empty(columns)
    before = np.empty(columns, np.int64)
    done = np.empty(columns, np.bool_)
    for start in range(rows):
        shortest[:] = np.inf
        done[:] = False
        row, length, sink = start, 0.0, -1
        while sink < 0:
            nearest, nearest_length = -1, np.inf
            for column in range(columns):
                if done[column]:
                    continue
                reach = length + cost[row, column] - row_price[row] - column_price[column]
                if reach < shortest[column]:
                    shortest[column] = reach
                    before[column] = row
                better = shortest[column] < nearest_length
                free = shortest[column] == nearest_length and row_of[column] < 0
                if better or free or nearest < 0:
                    nearest, nearest_length = column, shortest[column]
            done[nearest] = True
            length = nearest_length
            if row_of[nearest] < 0:
                sink = nearest
            else:
                row = row_of[nearest]
        row_price[start] += length
        for column in range(columns):
            if done[column] and column != sink:
                row_price[row_of[column]] += length - shortest[column]
            if done[column]:
                column_price[column] -= length - shortest[column]
        column = sink
        while True:
            row = before[column]
            row_of[column] = row
            column, column_of[row] = column_of[row], column
            if row == start:
                break
    return column_of


@compiled()
def _assign_any(cost):
    """`assign` for any shape; -1 for rows left over."""
    rows, columns = cost.shape
    if rows <= columns:
        return assign(cost)
    column_of = np.full(rows, -1, np.int64)
    row_of = assign(np.ascontiguousarray(cost.T))
    for column in range(columns):
        column_of[row_of[column]] = column
    return column_of


@compiled()
def tag_distances(tags, means, rms):
    """Distance of each tag (P, D) from each mean (N, D), (P, N) float64; far (1e6) where not finite."""
    dimension = tags.shape[1]
    out = np.empty((len(tags), len(means)))
    for p in range(len(tags)):
        for n in range(len(means)):
            total = 0.0
            for d in range(dimension):
                total += (tags[p, d] - means[n, d]) ** 2
            distance = np.sqrt(total / dimension if rms else total)
            out[p, n] = distance if distance < 1e6 else 1e6
    return out


@compiled()
def match_by_type(
    tags, scores, starts, order, threshold, rms, round_tags, use_score, limit, stop_when_full
):
    """Keypoint type by keypoint type, an optimal assignment of peaks to the groups so far.

    tags (P, D) float32, scores (P,) float32, starts (K + 1,) the first peak of each type, order
    (K,) types. Returns the group of each peak (P,) int64, -1 for none, and the number of groups.
    """
    group = np.full(len(scores), -1, np.int64)
    sums = np.zeros((len(scores), tags.shape[1]))
    sizes = np.zeros(len(scores), np.int64)
    count = 0
    for kind in order:
        first, last = starts[kind], starts[kind + 1]
        open_groups = min(count, limit)
        if first == last or (stop_when_full and open_groups == limit):
            continue
        means = sums[:open_groups] / sizes[:open_groups].reshape(-1, 1)
        distance = tag_distances(tags[first:last], means, rms)
        cost = np.empty_like(distance)
        for p in range(last - first):
            for n in range(open_groups):
                exact = distance[p, n]
                cost[p, n] = (100.0 if use_score else 1.0) * (
                    np.round(exact) if round_tags else exact
                )
                # 1e-7 of the exact distance: enough to order equal costs, too little for more.
                cost[p, n] += 1e-7 * exact - (scores[first + p] if use_score else 0.0)
        column = _assign_any(cost) if open_groups > 0 else np.full(last - first, -1, np.int64)
        for p in range(last - first):
            n = column[p]
            if n < 0 or not distance[p, n] < threshold:
                n = count
                count += 1
            group[first + p] = n
            sizes[n] += 1
            sums[n] += tags[first + p]
    return group, count


@compiled()
def block_maxima(heatmaps):
    """The largest value of each 16 x 16 block, (C, ceil(H / 16), ceil(W / 16)) float32."""
    channels, height, width = heatmaps.shape
    rows, columns = (height + BLOCK - 1) // BLOCK, (width + BLOCK - 1) // BLOCK
    maxima = np.full((channels, rows, columns), -np.inf, np.float32)
    for c in range(channels):
        for y in range(height):
            for column in range(columns):
                start, stop = column * BLOCK, min((column + 1) * BLOCK, width)
                largest = _largest(heatmaps[c, y], start, stop)
                maxima[c, y // BLOCK, column] = max(maxima[c, y // BLOCK, column], largest)
    return maxima


@compiled()
def _best_in_block(heatmap, tags, mean, rms, row, column, best, best_cell):
    height, width = heatmap.shape
    for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
        for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
            value = np.float64(heatmap[y, x])
            if not value >= best:
                continue
            total = 0.0
            for d in range(len(mean)):
                total += (tags[d, y, x] - mean[d]) ** 2
            value -= np.round(np.sqrt(total / len(mean) if rms else total))
            cell = y * width + x
            if value > best or (value == best and cell < best_cell):
                best, best_cell = value, cell
    return best, best_cell


@compiled()
def best_cells(heatmaps, tags, maxima, kinds, means, rms):
    """For each query the cell where heatmap - round(distance of tag from mean) is largest.

    heatmaps (K, H, W), tags (K, D, H, W), maxima as `block_maxima`; kinds (Q,), means (Q, D).
    A block's maximum bounds what it can hold, so most blocks are never read: first those with a
    bright cell, then those that may still hold better. Equal values: the first in reading order.
    """
    out = np.zeros(len(kinds), np.int64)
    for q in range(len(kinds)):
        k = kinds[q]
        brightest = -np.inf
        for largest in maxima[k].flat:
            brightest = max(brightest, largest)
        best, best_cell = -np.inf, heatmaps[k].size
        for first_round in (True, False):
            for row in range(maxima.shape[1]):
                for column in range(maxima.shape[2]):
                    bright = maxima[k, row, column] >= 0.25 * brightest
                    if bright == first_round and maxima[k, row, column] >= best:
                        best, best_cell = _best_in_block(
                            heatmaps[k], tags[k], means[q], rms, row, column, best, best_cell
                        )
        out[q] = best_cell if best_cell < heatmaps[k].size else 0
    return out
