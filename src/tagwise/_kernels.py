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


# Without NaN rules a maximum becomes vector instructions; a NaN cell can then hide its column of
# a block, and nothing else.
@compiled(fastmath={"nnan", "nsz"})
def _largest_in_columns(rows, out):
    out[:] = rows[0]
    for y in range(1, rows.shape[0]):
        for x in range(rows.shape[1]):
            out[x] = max(out[x], rows[y, x])


@compiled(fastmath={"nnan", "nsz"})
def _largest(values):
    best = values[0]
    for x in range(1, len(values)):
        best = max(best, values[x])
    return best


@compiled()
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
def _is_peak(heatmap, y, x, radius):
    """No larger value in the window, and no equal one before it (so a plateau gives one peak)."""
    height, width = heatmap.shape
    value = heatmap[y, x]
    # Nearly every cell fails against one of its four neighbours.
    if (x > 0 and heatmap[y, x - 1] >= value) or (x + 1 < width and heatmap[y, x + 1] > value):
        return False
    if (y > 0 and heatmap[y - 1, x] >= value) or (y + 1 < height and heatmap[y + 1, x] > value):
        return False
    for v in range(max(y - radius, 0), min(y + radius + 1, height)):
        for u in range(max(x - radius, 0), min(x + radius + 1, width)):
            other = heatmap[v, u]
            if other > value or (other == value and (v < y or (v == y and u < x))):
                return False
    return True


@compiled()
def scan_peaks(heatmaps, maxima, threshold, radius, top_k):
    """The best peaks of each map, (C, H, W) float32, reading only blocks above the threshold.

    maxima: as `block_maxima`. Returns cells (C, top_k) int64 as y * W + x, best first, and their
    counts (C,) int64.
    """
    channels, height, width = heatmaps.shape
    cells = np.zeros((channels, top_k), np.int64)
    counts = np.zeros(channels, np.int64)
    scores = np.empty(top_k, np.float32)
    for c in range(channels):
        floor, count = np.float32(threshold), 0
        for row in range(maxima.shape[1]):
            for column in range(maxima.shape[2]):
                if not maxima[c, row, column] > floor:
                    continue
                for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
                    for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                        value = heatmaps[c, y, x]
                        if value > floor and _is_peak(heatmaps[c], y, x, radius):
                            count = _insert(scores, cells[c], count, value, y * width + x)
                            if count == top_k:
                                floor = max(floor, scores[top_k - 1])
        counts[c] = count
    return cells, counts


@compiled()
def _insert(scores, cells, count, score, cell):
    """Into the falling order of the best so far; returns how many there are."""
    place = min(count, len(scores) - 1)
    while place > 0 and scores[place - 1] < score:
        scores[place], cells[place] = scores[place - 1], cells[place - 1]
        place -= 1
    scores[place], cells[place] = score, cell
    return min(count + 1, len(scores))


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
def _add(sums, sign, tags, xy, scores, p):
    weight = sign * scores[p]
    sums[0] += sign
    sums[1] += weight
    sums[2] += weight * xy[p, 0]
    sums[3] += weight * xy[p, 1]
    sums[4] += weight * (xy[p, 0] ** 2 + xy[p, 1] ** 2)
    for d in range(tags.shape[1]):
        sums[5 + d] += weight * tags[p, d]


@compiled()
def sweep(group, sums, tags, xy, scores, starts, order, unit, pull, inertia, extent, stiffness):
    """Once over the types, each type's peaks are dealt anew among the groups of all other peaks.

    Changes group (P,) int64 and sums (P, 5 + D) float64, which hold for each group its number of
    members and their summed score, and weighted by score the sums of x, y, x^2 + y^2 and tag.
    Returns whether any peak changed its group. The cost is that of
    `tagwise.grouping.group_keypoints`.
    """
    dimension = tags.shape[1]
    mean = np.empty(dimension)
    changed = False
    count = 0
    for g in range(len(sums)):
        if sums[g, 0] > 0:
            count = g + 1
    for kind in order:
        first, last = starts[kind], starts[kind + 1]
        for p in range(first, last):
            if group[p] >= 0:
                _add(sums[group[p]], -1.0, tags, xy, scores, p)
        cost = np.zeros((last - first, count))
        for g in range(count):
            members, weight = sums[g, 0], max(sums[g, 1], 1e-9)
            if members < 0.5:
                continue
            x, y = sums[g, 2] / weight, sums[g, 3] / weight
            spread = max(sums[g, 4] / weight - x * x - y * y, 0.0)
            spread = (members * spread + stiffness * extent**2) / (members + stiffness)
            nearness = pull / spread if extent > 0 else 0.0
            likeness = members / (members + 1.0) / unit**2
            gain = 4.0 * members / (members + inertia)
            for d in range(dimension):
                mean[d] = sums[g, 5 + d] / weight
            for p in range(first, last):
                away = (xy[p, 0] - x) ** 2 + (xy[p, 1] - y) ** 2
                price = nearness * away - gain
                for d in range(dimension):
                    price += likeness * (tags[p, d] - mean[d]) ** 2
                if price < 0:
                    cost[p - first, g] = price
        column = assign(cost, 0.0)
        for p in range(first, last):
            g = column[p - first]
            if g < 0 or not cost[p - first, g] < 0:
                g = 0
                while sums[g, 0] > 0.5:
                    g += 1
                count = max(count, g + 1)
            changed |= group[p] != g
            group[p] = g
            _add(sums[g], 1.0, tags, xy, scores, p)
    return changed


@compiled(fastmath={"nnan", "nsz"})
def _range(values):
    low = high = values[0, 0]
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            low, high = min(low, values[y, x]), max(high, values[y, x])
    return low, high


@compiled()
def _tag_distance_bound(tags, mean, rms, row, column, bounds):
    """No tag of the block is nearer to the mean than this. bounds (D, 2) keeps the block's range."""
    total = 0.0
    for d in range(len(mean)):
        if np.isnan(bounds[d, 0]):
            lines = tags[d, row * BLOCK : (row + 1) * BLOCK]
            bounds[d] = _range(lines[:, column * BLOCK : (column + 1) * BLOCK])
        gap = max(bounds[d, 0] - mean[d], mean[d] - bounds[d, 1], 0.0)
        total += gap * gap
    return np.sqrt(total / len(mean) if rms else total)


@compiled()
def _best_in_block(heatmap, tags, mean, rms, box, row, column, best, best_cell):
    width = heatmap.shape[1]
    for y in range(max(row * BLOCK, box[1]), min((row + 1) * BLOCK, box[3])):
        for x in range(max(column * BLOCK, box[0]), min((column + 1) * BLOCK, box[2])):
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
def best_cells(heatmaps, tags, maxima, kinds, means, boxes, least, rms):
    """For each query the cell where heatmap - round(distance of tag from mean) is largest.

    heatmaps (K, H, W), tags (K, D, H, W), maxima as `block_maxima`; kinds (Q,), means (Q, D) and
    boxes (Q, 4) int64: x and y where the search begins and ends. Returns (Q,) int64, cells as
    y * W + x, -1 where nothing exceeds `least`. Equal values: the first in reading order.

    The largest value and the range of tags bound what a block can hold, so most are never read:
    bright blocks come first, then those that may still hold better. The ranges are found when
    first asked for.
    """
    out = np.full(len(kinds), -1, np.int64)
    size = heatmaps.shape[1] * heatmaps.shape[2]
    bounds = np.full((*maxima.shape, tags.shape[1], 2), np.nan, np.float32)
    for q in range(len(kinds)):
        k, box = kinds[q], boxes[q]
        rows = range(box[1] // BLOCK, (box[3] + BLOCK - 1) // BLOCK)
        columns = range(box[0] // BLOCK, (box[2] + BLOCK - 1) // BLOCK)
        brightest = -np.inf
        for row in rows:
            for column in columns:
                brightest = max(brightest, maxima[k, row, column])
        best, best_cell = least, size
        for first_round in (True, False):
            for row in rows:
                for column in columns:
                    largest = maxima[k, row, column]
                    if (largest >= 0.25 * brightest) != first_round or not largest >= best:
                        continue
                    bound = _tag_distance_bound(
                        tags[k], means[q], rms, row, column, bounds[k, row, column]
                    )
                    if largest - np.round(bound) >= best:
                        best, best_cell = _best_in_block(
                            heatmaps[k], tags[k], means[q], rms, box, row, column, best, best_cell
                        )
        if best > least:
            out[q] = best_cell
    return out
