"""The compiled loops behind grouping: optimal assignment, and what is built on it."""

from __future__ import annotations

import numpy as np

from tagwise._kernels import compiled


@compiled()
def assign(cost, leave):
    """Cheapest one-to-one assignment in which a row may go without a column for the price `leave`.

    Shortest augmenting paths (Jonker and Volgenant 1987, in the row-by-row form of Crouse 2016
    that scipy.optimize.linear_sum_assignment follows too), with a private exit for each row.

    cost: (R, C) float64, finite. Returns the column of each row, (R,) int64, -1 for none.
    """
    rows, columns = cost.shape
    row_of, column_of = np.full(columns, -1, np.int64), np.full(rows, -1, np.int64)
    row_price, column_price = np.empty(rows), np.zeros(columns)
    if not _each_takes_its_best(cost, leave, row_price, row_of, column_of):
        for row in range(rows):
            if column_of[row] < 0 and row_price[row] < leave:
                _make_room(cost, leave, row, row_price, column_price, row_of, column_of)
    return column_of


@compiled()
def _each_takes_its_best(cost, leave, row_price, row_of, column_of):
    """Rows take their cheapest column or exit, and its price, the first comer where several want
    it. Prices so set are what the search for paths may start from. Returns whether all got theirs.
    """
    solved = True
    for row in range(cost.shape[0]):
        best, lowest = -1, leave
        for column in range(cost.shape[1]):
            if cost[row, column] < lowest:
                best, lowest = column, cost[row, column]
        row_price[row] = lowest
        if best >= 0 and row_of[best] < 0:
            row_of[best], column_of[row] = row, best
        elif best >= 0:
            solved = False
    return solved


@compiled()
def _make_room(cost, leave, start, row_price, column_price, row_of, column_of):
    """Gives one more row a column or its exit, by the shortest path of rows that change theirs."""
    columns = len(column_price)
    before, shortest = np.empty(columns, np.int64), np.full(columns, np.inf)
    done = np.zeros(columns, np.bool_)
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
            return
    row = -1
    while row != start:
        row = before[column]
        row_of[column] = row
        column, column_of[row] = column_of[row], column


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
                cost[p, n] = weight * (np.round(exact) if round_tags else exact)
                cost[p, n] -= scores[first + p] if use_score else 0.0
                # Too little to change more than the order of equal costs. What is too far is not
                # joined, no matter how far: along a line, one wrong pair can cost the same as
                # every pair moved on by one, and is better.
                cost[p, n] += 1e-7 * min(exact, threshold)
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
        sums[5] += weight * tags[p, d] ** 2
        sums[6 + d] += weight * tags[p, d]


@compiled()
def _describe(sums, count, pull, inertia, extent, stiffness, unit, tolerance, table):
    """What each group asks of a peak, a column of table (5 + D, groups): centre x, y, price of
    squared distance from it, price of squared distance from the mean tag, gain, mean tag."""
    for g in range(count):
        members, weight = sums[g, 0], max(sums[g, 1], 1e-9)
        if members < 0.5:
            table[:, g] = 0.0
            continue
        x, y = sums[g, 2] / weight, sums[g, 3] / weight
        scatter = sums[g, 5] / weight
        for d in range(table.shape[0] - 5):
            table[5 + d, g] = sums[g, 6 + d] / weight
            scatter -= table[5 + d, g] ** 2
        scatter = members * max(scatter, 0.0) / (members + stiffness)
        spread = members * max(sums[g, 4] / weight - x * x - y * y, 0.0)
        spread = (spread + stiffness * extent**2) / (members - 1.0 + stiffness)
        trust = members / (members + 1.0)
        table[0, g], table[1, g] = x, y
        table[2, g] = trust * pull / spread if extent > 0 else 0.0
        table[3, g] = trust / (unit**2 + tolerance * scatter)
        table[4, g] = 4.0 * members / (members + inertia)


# What distance in the image can cost at most: a stretched arm is not another person.
_FAR = 2.0


@compiled()
def _price(table, x, y, tag, out):
    """What it costs a peak to join each group, less the gain; 0 where that does not pay."""
    centre_x, centre_y, place, likeness, gain = table[:5]
    for g in range(len(out)):
        away = place[g] * ((x - centre_x[g]) ** 2 + (y - centre_y[g]) ** 2)
        out[g] = min(away, _FAR) - gain[g]
    for d in range(len(tag)):
        mean, value = table[5 + d], tag[d]
        for g in range(len(out)):
            out[g] += likeness[g] * (value - mean[g]) ** 2
    for g in range(len(out)):
        out[g] = out[g] if out[g] < 0.0 else 0.0


@compiled()
def sweep(
    group,
    sums,
    tags,
    xy,
    scores,
    starts,
    order,
    unit,
    tolerance,
    pull,
    inertia,
    extent,
    stiffness,
    power,
    founder,
):
    """Once over the types, each type's peaks are dealt anew among the groups of all other peaks.

    Changes group (P,) int64 and sums (P, 6 + D) float64, which hold for each group its number of
    members and their summed score, and weighted by score the sums of x, y, x^2 + y^2, tag^2 and
    tag. Returns whether any peak changed its group; -1 is a peak of no group. The cost is that of
    `tagwise.grouping.group_keypoints`.
    """
    table = np.empty((5 + tags.shape[1], len(sums)))
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
        _describe(sums, count, pull, inertia, extent, stiffness, unit, tolerance, table)
        cost = np.empty((last - first, count))
        for p in range(first, last):
            _price(table, xy[p, 0], xy[p, 1], tags[p], cost[p - first])
            cost[p - first] *= scores[p] ** power
        column = assign(cost, 0.0)
        for p in range(first, last):
            g = column[p - first]
            if g < 0 or not cost[p - first, g] < 0:
                if scores[p] < founder:
                    changed |= group[p] >= 0
                    group[p] = -1
                    continue
                g = 0
                while sums[g, 0] > 0.5:
                    g += 1
                count = max(count, g + 1)
            changed |= group[p] != g
            group[p] = g
            _add(sums[g], 1.0, tags, xy, scores, p)
    return changed


@compiled()
def doubles(keypoints, sigma, limit):
    """Which groups are nearly the same pose as a better one.

    keypoints: (N, K, 3) x, y, score (0 for missing), best group first. The likeness is the object
    keypoint similarity of the poorer group's keypoints with the better group's, missing ones
    counting 0, with one sigma for all types and the larger bounding box for area. Returns (N,)
    bool.
    """
    count, kinds = keypoints.shape[:2]
    area, found = np.ones(count), np.zeros(count)
    double = np.zeros(count, np.bool_)
    for n in range(count):
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for k in range(kinds):
            x, y, score = keypoints[n, k]
            if score > 0:
                found[n] += 1
                left, right = min(left, x), max(right, x)
                top, bottom = min(top, y), max(bottom, y)
        if found[n] > 0:
            area[n] = max(right - left, 1.0) * max(bottom - top, 1.0)
        for better in range(n):
            if double[better]:
                continue
            scale = 8 * sigma**2 * max(area[n], area[better])
            alike = 0.0
            for k in range(kinds):
                if keypoints[n, k, 2] > 0 and keypoints[better, k, 2] > 0:
                    x = keypoints[n, k, 0] - keypoints[better, k, 0]
                    y = keypoints[n, k, 1] - keypoints[better, k, 1]
                    alike += np.exp(-(x * x + y * y) / scale)
            if alike > limit * found[n]:
                double[n] = True
    return double
