"""The compiled loops of published decoders, see `tagwise.grouping.settings.PublishedRules`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.assignment import assign
from tagwise.grouping.kernels.peaks import BLOCK, insert, may_peak
from tagwise.runtime import compiled

# ---------------------------------------------------------------------- peaks


@compiled()
def scan_plateaus(heatmaps, maxima, threshold, radius, top_k):
    """Like `tagwise.grouping.kernels.peaks.scan_peaks`, but each cell of a plateau is a peak."""
    channels, height, width = heatmaps.shape
    cells = np.zeros((channels, top_k), np.int64)
    counts = np.zeros(channels, np.int64)
    scores = np.empty(top_k, np.float32)
    for c in range(channels):
        heatmap, floor, count = heatmaps[c], np.float32(threshold), 0
        for row, column in np.ndindex(maxima.shape[1:]):
            if not maxima[c, row, column] > floor:
                continue
            for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
                if not may_peak(heatmap, y, column * BLOCK, floor):
                    continue
                for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                    value = heatmap[y, x]
                    if value > floor and _is_highest(heatmap, y, x, radius):
                        count = insert(scores, cells[c], count, value, y * width + x)
                        if count == top_k:
                            floor = max(floor, scores[top_k - 1])
        counts[c] = count
    return cells, counts


@compiled()
def _is_highest(heatmap, y, x, radius):
    """Whether the window has no larger value."""
    height, width = heatmap.shape
    for v in range(max(y - radius, 0), min(y + radius + 1, height)):
        for u in range(max(x - radius, 0), min(x + radius + 1, width)):
            if heatmap[v, u] > heatmap[y, x]:
                return False
    return True


@compiled()
def quarter_shift(values):
    """A quarter cell towards the larger neighbour, (P, 2), from values at `neighbours` (5, P)."""
    shift = np.empty((values.shape[1], 2), np.float32)
    for p in range(len(shift)):
        for axis in range(2):
            shift[p, axis] = 0.25 if values[3 + axis, p] > values[1 + axis, p] else -0.25
    return shift


# ---------------------------------------------------------------------- matching


class MatchRules(NamedTuple):
    """How peaks are matched greedily. The fields are those of `GroupingSettings` and its rules.

    threshold and rms stand for tag_threshold and tag_norm, limit for match_limit.
    """

    threshold: float
    rms: bool
    round_tags: bool
    use_score: bool
    near_first: bool
    limit: int
    stop_when_full: bool
    join_equal: bool


class _Groups(NamedTuple):
    """The groups so far.

    sums (G, D): summed tags. places (G, 2): summed x and y of the peaks' cells. sizes (G,): the
    number of members. first_tags (G,): the first component of the tag that started each group.
    """

    sums: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    first_tags: np.ndarray


@compiled()
def match_by_type(peaks, order, rules):
    """Assign the peaks of one keypoint type after another optimally to the groups so far.

    peaks: TypedPeaks. order: (K,) types. rules: MatchRules. Returns the group of each peak (P,)
    int64, -1 for none, and the number of groups.
    """
    total, dims = peaks.tags.shape
    group = np.full(total, -1, np.int64)
    groups = _Groups(
        np.zeros((total, dims)),
        np.zeros((total, 2)),
        np.zeros(total),
        np.empty(total, np.float32),
    )
    count = 0
    for k in order:
        first, last = peaks.starts[k], peaks.starts[k + 1]
        columns = min(count, rules.limit)
        if first == last or (rules.stop_when_full and columns == rules.limit):
            continue
        tags, cells = peaks.tags[first:last], np.round(peaks.xy[first:last])
        distance = _distances(tags, groups, columns, rules.rms)
        weighted = distance
        if rules.near_first:
            weighted = _near_first(distance, cells, groups, rules.threshold)
        cost, highest = _costs(weighted, peaks.scores[first:last], rules)
        column = assign(cost, 4.0 * highest * (last - first))
        _order_twins(column, cost, distance, rules.threshold)
        for p in range(last - first):
            if column[p] < 0 or not distance[p, column[p]] < rules.threshold:
                column[p] = -1
        count = _join(group[first:last], column, tags, cells, groups, count, rules.join_equal)
    return group, count


@compiled()
def _distances(tags, groups, columns, rms):
    """Distance of each tag (M, D) from the mean tag of each of the first groups, (M, columns)."""
    distance = np.empty((len(tags), columns))
    for n in range(columns):
        mean = groups.sums[n] / groups.sizes[n]
        for p in range(len(tags)):
            distance[p, n] = _tag_distance(tags[p], mean, rms)
    return distance


@compiled()
def _near_first(distance, cells, groups, threshold):
    """Tag distances (M, N), those below the threshold times a ratio of distances in the image.

    cells: (M, 2) x, y of the peaks. The ratio of a peak and a group is its distance from the
    group's mean position to that of the nearest peak. As for tags, results are at most 1e4.
    """
    weighted = distance.copy()
    for n in range(distance.shape[1]):
        x, y = groups.places[n] / groups.sizes[n]
        away = np.sqrt((cells[:, 0] - x) ** 2 + (cells[:, 1] - y) ** 2)
        nearest = away.min() + 1e-10
        for p in range(len(cells)):
            if distance[p, n] < threshold:
                weighted[p, n] = min(distance[p, n] * away[p] / nearest, 1e4)
    return weighted


@compiled()
def _tag_distance(tag, mean, rms):
    """The distance of two tags (D,), l2 or root mean square; at most 1e4, also for NaN."""
    total = 0.0
    for d in range(len(tag)):
        total += (tag[d] - mean[d]) ** 2
    distance = np.sqrt(total / len(tag) if rms else total)
    return distance if distance < 1e4 else 1e4


@compiled()
def _costs(distance, scores, rules):
    """The cost of each pair, shaped as `distance` (M, N), and the largest absolute cost, or 1."""
    cost, highest = np.empty(distance.shape), 1.0
    weight, unit = 100.0 if rules.use_score else 1.0, max(rules.threshold, 1e-9)
    for p in range(distance.shape[0]):
        for n in range(distance.shape[1]):
            exact = distance[p, n]
            cost[p, n] = weight * (np.round(exact) if rules.round_tags else exact)
            cost[p, n] -= scores[p] if rules.use_score else 0.0
            # This term is so small that it only orders equal costs. All distances beyond the
            # threshold count the same, because such pairs are not joined: along a line, one wrong
            # pair can cost as much as shifting every pair by one, and is better. The root prefers
            # one near and one far pair to two intermediate pairs. Along a line, sums of plain
            # distances are equal however the pairs cross, so that rounding errors would decide;
            # squares group crowds worse.
            cost[p, n] += 1e-7 * np.sqrt(min(exact / unit, 1.0))
            highest = max(highest, abs(cost[p, n]))
    return cost, highest


@compiled()
def _order_twins(column, cost, distance, threshold):
    """Sort peaks of equal cost, such as the cells of a plateau: the first joins the first group.

    Otherwise rounding errors of other costs would decide between them.
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
def _join(group, column, tags, cells, groups, count, join_equal):
    """Let peaks of one type, with tags (M, D), join the groups of `column`; -1 starts a group.

    Writes the group of each peak to group (M,), and returns the number of groups. cells: (M, 2) x,
    y. join_equal: see `PublishedRules`.
    """
    for p in range(len(tags)):
        n = column[p]
        if n < 0:
            groups.first_tags[count] = tags[p, 0]
            n = _first_equal(groups.first_tags[: count + 1]) if join_equal else count
            count = max(count, n + 1)
            groups.sums[n], groups.places[n], groups.sizes[n] = 0.0, 0.0, 0.0
        if join_equal:
            _drop(group[:p], n)
        group[p] = n
        groups.sizes[n] += 1
        groups.sums[n] += tags[p]
        groups.places[n] += cells[p]
    return count


@compiled()
def _first_equal(values):
    """The index of the first value that equals the last one. NaN equals no value."""
    index, last = 0, len(values) - 1
    while index < last and values[index] != values[last]:
        index += 1
    return index


@compiled()
def _drop(group, n):
    """Remove all peaks from group n."""
    for p in range(len(group)):
        if group[p] == n:
            group[p] = -1
