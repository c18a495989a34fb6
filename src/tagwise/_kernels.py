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
def assign(cost, leave):
    """Cheapest one-to-one assignment in which a row may go without a column for the price `leave`.

    Shortest augmenting paths (Jonker and Volgenant 1987, in the row-by-row form of Crouse 2016
    that scipy.optimize.linear_sum_assignment follows too), with a private exit for each row.

    cost: (R, C) float64, finite. Returns the column of each row, (R,) int64, -1 for none.
    """
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of, column_of = np.full(columns, -1, np.int64), np.full(rows, -1, np.int64)
    before, shortest = np.empty(columns, np.int64), np.empty(columns)
    done = np.empty(columns, np.bool_)
    for start in range(rows):
        shortest[:] = np.inf
        done[:] = False
        row, length = start, 0.0
        exit_row, exit_length = -1, np.inf
        while True:
            if length + leave - row_price[row] < exit_length:
                exit_row, exit_length = row, length + leave - row_price[row]
            column, nearest = -1, np.inf
            for c in range(columns):
                if not done[c]:
                    reach = length + cost[row, c] - row_price[row] - column_price[c]
                    if reach < shortest[c]:
                        shortest[c], before[c] = reach, row
                    if shortest[c] < nearest:
                        column, nearest = c, shortest[c]
            if column < 0 or exit_length <= nearest:
                column, length = -1, exit_length
                break
            length = nearest
            if row_of[column] < 0:
                break
            done[column] = True
            row = row_of[column]
        row_price[start] += length
        for c in range(columns):
            if done[c]:
                row_price[row_of[c]] += length - shortest[c]
                column_price[c] -= length - shortest[c]
        if column < 0:
            column, column_of[exit_row] = column_of[exit_row], -1
            if exit_row == start:
                continue
        row = -1
        while row != start:
            row = before[column]
            row_of[column] = row
            column, column_of[row] = column_of[row], column
    return column_of


@compiled()
def tag_distance(tag, mean, rms):
    """Distance of two tags (D,), l2 or the root of the mean; at most 1e4, also for NaN."""
    total = 0.0
    for d in range(len(tag)):
        total += (tag[d] - mean[d]) ** 2
    distance = np.sqrt(total / len(tag) if rms else total)
    return distance if distance < 1e4 else 1e4


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
    sizes = np.zeros(len(scores))
    count = 0
    weight = 100.0 if use_score else 1.0
    for kind in order:
        first, last = starts[kind], starts[kind + 1]
        columns = min(count, limit)
        if first == last or (stop_when_full and columns == limit):
            continue
        distance = np.empty((last - first, columns))
        cost = np.empty((last - first, columns))
        highest = 1.0
        for p in range(last - first):
            for n in range(columns):
                exact = tag_distance(tags[first + p], sums[n] / sizes[n], rms)
                distance[p, n] = exact
                # 1e-7 of the exact distance: enough to order equal costs, too little for more.
                cost[p, n] = weight * (np.round(exact) if round_tags else exact) + 1e-7 * exact
                cost[p, n] -= scores[first + p] if use_score else 0.0
                highest = max(highest, abs(cost[p, n]))
        column = assign(cost, 4.0 * highest * (last - first))
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
def group_statistics(group, count, tags, xy, scores):
    """What is known of each group: (count, D + 5) float64.

    Columns: number of members, their summed score, then sums weighted by score of x, y,
    x^2 + y^2 and the tag.
    """
    sums = np.zeros((count, tags.shape[1] + 5))
    for p in range(len(group)):
        if group[p] >= 0:
            _add(sums[group[p]], 1.0, tags[p], xy[p], scores[p])
    return sums


@compiled()
def _add(sums, sign, tag, xy, score):
    weight = sign * score
    sums[0] += sign
    sums[1] += weight
    sums[2] += weight * xy[0]
    sums[3] += weight * xy[1]
    sums[4] += weight * (xy[0] * xy[0] + xy[1] * xy[1])
    for d in range(len(tag)):
        sums[5 + d] += weight * tag[d]


@compiled()
def sweep(group, sums, tags, xy, scores, starts, order, unit, rms, pull, inertia, extent, stiffness):
    """Once over the types, each type's peaks are dealt anew among the groups of all other peaks.

    Changes group (P,) int64 and sums (P, D + 5), as `group_statistics` gives them with a row for
    every group there can be. See `tagwise.grouping.group_keypoints` for the cost.
    """
    count = 0
    for g in range(len(sums)):
        if sums[g, 0] > 0:
            count = g + 1
    for kind in order:
        first, last = starts[kind], starts[kind + 1]
        for p in range(first, last):
            if group[p] >= 0:
                _add(sums[group[p]], -1.0, tags[p], xy[p], scores[p])
        cost = np.zeros((last - first, count))
        for g in range(count):
            members, weight = sums[g, 0], max(sums[g, 1], 1e-9)
            if members < 0.5:
                continue
            x, y, mean = sums[g, 2] / weight, sums[g, 3] / weight, sums[g, 5:] / weight
            spread = max(sums[g, 4] / weight - x * x - y * y, 0.0)
            spread = (members * spread + stiffness * extent**2) / (members + stiffness)
            trust = members / (members + 1.0)
            gain = 4.0 * members / (members + inertia)
            for p in range(first, last):
                distance = tag_distance(tags[p], mean, rms) / unit
                away = (xy[p, 0] - x) ** 2 + (xy[p, 1] - y) ** 2
                far = pull * away / spread if extent > 0 else 0.0
                cost[p - first, g] = min(trust * distance**2 + far - gain, 0.0)
        column = assign(cost, 0.0)
        for p in range(first, last):
            g = column[p - first]
            if g < 0 or not cost[p - first, g] < 0:
                g = 0
                while sums[g, 0] > 0.5:
                    g += 1
                count = max(count, g + 1)
            group[p] = g
            _add(sums[g], 1.0, tags[p], xy[p], scores[p])


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
