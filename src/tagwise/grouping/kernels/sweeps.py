"""The compiled loops of grouping by sweeps; see `tagwise.grouping.group_keypoints`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.assignment import assign
from tagwise.grouping.kernels.median import median
from tagwise.runtime import compiled


class SweepRules(NamedTuple):
    """How peaks are matched by sweeps. The fields are those of `GroupingSettings`.

    threshold stands for tag_threshold in l2 units, tolerance for tag_tolerance, founder for
    founder_threshold. inertia counts keypoint types instead of their share.
    """

    sweeps: int
    threshold: float
    tolerance: float
    compactness: float
    inertia: float
    score_power: float
    founder: float


@compiled()
def match_by_sweeps(peaks, order, rules):
    """Match the peaks of each type with the groups of the other types' peaks, in several sweeps.

    peaks: TypedPeaks of a batch. order: (K,) types. rules: SweepRules. The cost is that of
    `tagwise.grouping.group_keypoints`. Returns the group of each peak (P,) int64, -1 for none, and
    the number of groups of each image (B,) int64. Groups are numbered through the batch.
    """
    rows, count = _rows(peaks), 0
    group, counts = np.empty(len(rows), np.int64), np.empty(len(peaks.starts), np.int64)
    for image in range(len(counts)):
        starts = peaks.starts[image]
        sums = _swept(rows, starts, order, rules, group)
        before, count = count, _number(group, starts, sums, count)
        counts[image] = count - before
    return group, counts


@compiled(inline="always")
def _rows(peaks):
    """The score, x, y and tag of each peak, (P, 3 + D) float64."""
    total, dims = peaks.tags.shape
    rows = np.empty((total, 3 + dims))
    for p in range(total):
        rows[p, 0], rows[p, 1], rows[p, 2] = peaks.scores[p], peaks.xy[p, 0], peaks.xy[p, 1]
        for d in range(dims):
            rows[p, 3 + d] = peaks.tags[p, d]
    return rows


@compiled(inline="always")
def _swept(rows, starts, order, rules, group):
    """Write the group of each peak of an image to group (P,); return the sums of the groups.

    rows: the peaks of the batch, see `_rows`. starts: (K + 1,), the first peak of each type.
    """
    begin, total, dims = starts[0], starts[-1] - starts[0], rows.shape[1] - 3
    claims = np.empty(total)
    sums, table = np.empty((6 + dims, total)), np.empty((5 + dims, total))
    for p in range(total):
        claims[p], group[begin + p] = rows[begin + p, 0] ** rules.score_power, -1
        for i in range(6 + dims):
            sums[i, p] = 0.0
    extent = 0.0  # unknown before the first sweep, which uses only tags
    for number in range(rules.sweeps + 1):
        changed = False
        for k in order:
            first, last = starts[k], starts[k + 1]
            for p in range(first, last):
                if group[p] >= 0:
                    _add(sums, group[p], -1.0, rows, p)
            count = _in_use(sums)
            _describe(sums, count, extent, rules, table)
            cost = np.empty((last - first, count))
            for p in range(first, last):
                _price(table, rows, p, claims[p - begin], cost[p - first])
            column = assign(cost, 0.0)
            for p in range(first, last):
                g = column[p - first]
                if g < 0 and rows[p, 0] >= rules.founder:
                    g = _first_free(sums)
                changed |= group[p] != g
                group[p] = g
                if g >= 0:
                    _add(sums, g, 1.0, rows, p)
        if number and not changed:
            break
        extent = _typical_extent(sums) if rules.compactness > 0.0 else 0.0
    return sums


@compiled()
def _add(sums, g, sign, rows, p):
    """Add peak p of rows (P, 3 + D) to the sums of a group, or subtract it.

    The rows of sums (6 + D, groups) are the number of members, the sum of their scores, and the
    sums, weighted by score, of x, y, x^2 + y^2, tag^2 and tag.
    """
    weight, x, y = sign * rows[p, 0], rows[p, 1], rows[p, 2]
    sums[0, g] += sign
    sums[1, g] += weight
    sums[2, g] += weight * x
    sums[3, g] += weight * y
    sums[4, g] += weight * (x * x + y * y)
    for d in range(rows.shape[1] - 3):
        tag = rows[p, 3 + d]
        sums[5, g] += weight * tag * tag
        sums[6 + d, g] += weight * tag


@compiled(inline="always")
def _in_use(sums):
    """One more than the last group that has members."""
    count = sums.shape[1]
    while count and sums[0, count - 1] < 0.5:
        count -= 1
    return count


@compiled(inline="always")
def _first_free(sums):
    """The first group without members."""
    g = 0
    while sums[0, g] > 0.5:
        g += 1
    return g


# The weight, in peaks, of the assumed extent and scatter of a group.
_STIFFNESS = 4.0


@compiled(inline="always")
def _describe(sums, count, extent, rules, table):
    """Write the terms of each group's cost to a column of table (5 + D, groups).

    They are the centre x, y, the weight of the squared distance from it, the weight of the squared
    distance from the mean tag, the gain, and the mean tag. Position counts once an extent is known.

    A group without members has no gain. One loop over the groups is as fast as several that compile
    to vector instructions, and takes a quarter of a second less to compile.
    """
    compactness = rules.compactness if extent > 0.0 else 0.0
    for g in range(count):
        members, weight = sums[0, g], max(sums[1, g], 1e-9)
        x, y, scatter = sums[2, g] / weight, sums[3, g] / weight, sums[5, g] / weight
        for d in range(table.shape[0] - 5):
            tag = sums[6 + d, g] / weight
            table[5 + d, g] = tag
            scatter -= tag * tag
        spread = members * max(sums[4, g] / weight - x * x - y * y, 0.0)
        spread += _STIFFNESS * extent * extent
        scatter = members * max(scatter, 0.0) / (members + _STIFFNESS)
        reach = rules.threshold * rules.threshold + rules.tolerance * scatter
        trust = members / (members + 1.0)
        table[0, g], table[1, g] = x, y
        table[2, g] = trust * compactness * (members - 1.0 + _STIFFNESS) / max(spread, 1e-9)
        table[3, g] = trust / reach
        table[4, g] = 4.0 * members / (members + rules.inertia)


# The maximum cost of distance in the image, so that a stretched arm stays with its person.
_FAR = 2.0


@compiled(inline="always")
def _price(table, rows, p, claim, out):
    """Write the cost of peak p in each group minus the gain to out; 0 if that is positive."""
    x, y = rows[p, 1], rows[p, 2]
    centre_x, centre_y, position_weight = table[0], table[1], table[2]
    tag_weight, gain = table[3], table[4]
    for g in range(len(out)):
        distance = position_weight[g] * ((x - centre_x[g]) ** 2 + (y - centre_y[g]) ** 2)
        out[g] = min(distance, _FAR) - gain[g]
    for d in range(rows.shape[1] - 3):
        mean, value = table[5 + d], rows[p, 3 + d]
        for g in range(len(out)):
            out[g] += tag_weight[g] * (value - mean[g]) ** 2
    for g in range(len(out)):
        out[g] = claim * out[g] if out[g] < 0.0 else 0.0


@compiled(inline="always")
def _typical_extent(sums):
    """The median extent of the groups with enough peaks; 0 if there are no such groups."""
    most = 0.0
    for g in range(sums.shape[1]):
        most = max(most, sums[0, g])
    spread, large = np.empty(sums.shape[1]), 0
    for g in range(sums.shape[1]):
        if sums[0, g] >= max(4.0, 0.4 * most):
            weight = sums[1, g]
            square = (sums[2, g] / weight) ** 2
            spread[large] = sums[4, g] / weight - square - (sums[3, g] / weight) ** 2
            large += 1
    return np.sqrt(max(median(spread[:large]), 0.0)) if large else 0.0


@compiled(inline="always")
def _number(group, starts, sums, count):
    """Renumber the groups of an image in `group`, without gaps, from `count` on.

    Returns the next number.
    """
    number = np.empty(sums.shape[1], np.int64)
    for g in range(sums.shape[1]):
        if sums[0, g] > 0.5:
            number[g] = count
            count += 1
    for p in range(starts[0], starts[-1]):
        if group[p] >= 0:
            group[p] = number[group[p]]
    return count


@compiled()
def join_terms(peaks, group, count, p, rules):
    """The terms of the cost of peak p in each group of the others, (count, 4) float64.

    peaks: TypedPeaks. group: (P,) int64, -1 for none. rules: SweepRules. The columns are those of
    `tagwise.grouping.keypoints.join_terms`.
    """
    rows, dims = _rows(peaks), peaks.tags.shape[1]
    sums = np.zeros((6 + dims, count))
    for q in range(len(rows)):
        if group[q] >= 0:
            _add(sums, group[q], 1.0, rows, q)
    extent = _typical_extent(sums) if rules.compactness > 0.0 else 0.0
    if group[p] >= 0:
        _add(sums, group[p], -1.0, rows, p)
    table, out = np.empty((5 + dims, count)), np.empty((count, 4))
    _describe(sums, count, extent, rules, table)
    for g in range(count):
        square = 0.0
        for d in range(dims):
            square += (rows[p, 3 + d] - table[5 + d, g]) ** 2
        away = (rows[p, 1] - table[0, g]) ** 2 + (rows[p, 2] - table[1, g]) ** 2
        out[g, 0], out[g, 1] = np.sqrt(square), table[3, g] * square
        out[g, 2], out[g, 3] = min(table[2, g] * away, _FAR), table[4, g]
    return out
