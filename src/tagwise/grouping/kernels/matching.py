"""The compiled loops behind grouping: optimal assignment, greedy matching, doubles."""

from __future__ import annotations

import numpy as np

from tagwise.geometry import boxes_around, count_common, pair_oks
from tagwise.runtime import compiled


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
    tags,
    scores,
    starts,
    order,
    threshold,
    rms,
    round_tags,
    use_score,
    limit,
    stop_when_full,
    join_equal=False,
):
    """Keypoint type by keypoint type, an optimal assignment of peaks to the groups so far.

    tags (P, D) float32, scores (P,) float32, starts (K + 1,) the first peak of each type, order
    (K,) types. Returns the group of each peak (P,) int64, -1 for none, and the number of groups.
    """
    group = np.full(len(scores), -1, np.int64)
    sums = np.zeros((len(scores), tags.shape[1]))
    sizes = np.zeros(len(scores))
    begun = np.empty(len(scores), np.float32)  # the first tag component each group began with
    count = 0
    weight, unit = 100.0 if use_score else 1.0, max(threshold, 1e-9)
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
                # every pair moved on by one, and is better. Roots, since along a line plain
                # sums are equal however pairs cross, and the last digit would decide; rather
                # one near pair and one far than two between (squares group crowds worse).
                cost[p, n] += 1e-7 * np.sqrt(min(exact / unit, 1.0))
                highest = max(highest, abs(cost[p, n]))
        column = assign(cost, 4.0 * highest * (last - first))
        _order_twins(column, cost, distance, threshold)
        for p in range(last - first):
            n = column[p]
            if n < 0 or not distance[p, n] < threshold:
                begun[count] = tags[first + p, 0]
                n = _first_equal(begun[: count + 1], begun[count]) if join_equal else count
                count = max(count, n + 1)
                sums[n], sizes[n] = 0.0, 0.0
            if join_equal:
                _drop(group[first : first + p], n)
            group[first + p] = n
            sizes[n] += 1
            sums[n] += tags[first + p]
    return group, count


@compiled()
def _order_twins(column, cost, distance, threshold):
    """Of peaks that cost the same, as cells of one plateau do, the first joins the first group.

    Otherwise the last digit of some other cost would decide between them.
    """
    rows, columns = cost.shape
    group = np.full(rows, columns)
    for p in range(rows):
        if column[p] >= 0 and distance[p, column[p]] < threshold:
            group[p] = column[p]
        q = p
        while q > 0 and group[q] < group[q - 1] and (cost[q] == cost[q - 1]).all():
            group[q - 1], group[q] = group[q], group[q - 1]
            column[q - 1], column[q] = column[q], column[q - 1]
            q -= 1


@compiled()
def _first_equal(values, value):
    """The first place of a value that is among the values."""
    place = 0
    while values[place] != value:
        place += 1
    return place


@compiled()
def _drop(group, n):
    """Peaks leave group n."""
    for p in range(len(group)):
        if group[p] == n:
            group[p] = -1


@compiled()
def gather_groups(group, count, starts, xy, score, tag):
    """Keypoints (N, K, 3), tags (N, K, D) and peaks (N, K) of groups from their peaks.

    group: (P,) int64, the group of each peak, -1 for none; count: how many groups; starts: (K + 1,)
    the first peak of each type; xy (P, 2), score (P,), tag (P, D). What is missing is x = y = NaN
    with score 0, tag NaN, peak -1.
    """
    kinds = len(starts) - 1
    keypoints = np.full((count, kinds, 3), np.nan, np.float32)
    keypoints[:, :, 2] = 0
    tags = np.full((count, kinds, tag.shape[1]), np.nan, np.float32)
    peak = np.full((count, kinds), -1, np.int64)
    for kind in range(kinds):
        for p in range(starts[kind], starts[kind + 1]):
            n = group[p]
            if n >= 0:
                peak[n, kind] = p
                keypoints[n, kind, 0], keypoints[n, kind, 1] = xy[p, 0], xy[p, 1]
                keypoints[n, kind, 2] = score[p]
                tags[n, kind] = tag[p]
    return keypoints, tags, peak


@compiled()
def doubles(keypoints, sigma, limit):
    """Which groups are nearly the same pose as a better one.

    keypoints: (N, K, 3) x, y, score (0 for missing), best group first. The likeness is the object
    keypoint similarity of the poorer group's keypoints with the better group's, missing ones
    counting 0, with one sigma for all types and the larger bounding box for area. Returns (N,)
    bool.
    """
    count, kinds = keypoints.shape[:2]
    boxes, sigmas = boxes_around(keypoints, 1.0), np.full(kinds, sigma)
    area = boxes[:, 2] * boxes[:, 3]
    double = np.zeros(count, np.bool_)
    for n in range(count):
        own, found = keypoints[n], count_common(keypoints[n], keypoints[n])
        for better in range(n):
            if not double[better]:
                larger = max(area[n], area[better])
                if pair_oks(keypoints[better], own, larger, sigmas, found, limit) > limit:
                    double[n] = True
                    break
    return double
