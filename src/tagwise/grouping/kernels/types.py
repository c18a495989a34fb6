"""The compiled loops behind groups with at most one point of each type."""

from __future__ import annotations

import numpy as np

from tagwise.grouping.kernels.clusters import match_pairs, pairs_within, sort_into_cells
from tagwise.runtime import compiled


@compiled()
def empty_groups(points, dims):
    """The state of a dealing, with room for a group of every point.

    group (P,), that of each point, -1 for none; of each group its number of points (P,), their
    summed score (P,) and score * tag (P, D); the points of a group as a chain: its first (P,), and
    those after and before each point (P,), -1 at the ends; used (1,), how many groups there are,
    empty ones between them included.
    """
    chain = np.full((4, points), -1, np.int64)
    size, used = np.zeros(points, np.int64), np.zeros(1, np.int64)
    sums = np.zeros((points, dims))
    return chain[0], size, np.zeros(points), sums, chain[1], chain[2], chain[3], used


@compiled()
def take_out(state, begin, end, tags, scores):
    """The points from begin to end leave their groups; `group` still says where they were."""
    group, size, weight, sums, first, after, before, _ = state
    for p in range(begin, end):
        g = group[p]
        size[g] -= 1
        weight[g] -= scores[p]
        sums[g] -= scores[p] * tags[p]
        if before[p] < 0:
            first[g] = after[p]
        else:
            after[before[p]] = after[p]
        if after[p] >= 0:
            before[after[p]] = before[p]


@compiled()
def candidates(state, begin, end, tags, radius):
    """Groups near the points from begin to end.

    Returns points (M,), counted from begin, groups (M,) as indices into `there` (N,), squared
    distances of tag and mean tag (M,), and `there`, the groups that are not empty.
    """
    size, weight, sums, used = state[1], state[2], state[3], state[7]
    there = np.flatnonzero(size[: used[0]])
    means = np.empty((len(there), tags.shape[1]))
    for n in range(len(there)):
        means[n] = sums[there[n]] / weight[there[n]]
    grid = sort_into_cells(tags[begin:end], radius)
    point, to, square = pairs_within(grid, means, np.ones(len(there)), radius**2)
    return point, to, square, there


@compiled()
def with_members(point, group, first, after):
    """Each candidate (point, group) once for every point in the group: candidate, point, member."""
    size, count = 2 * len(point) + 16, 0
    out = np.empty((3, size), np.int64)
    for m in range(len(point)):
        p = first[group[m]]
        while p >= 0:
            if count == size:
                longer = np.empty((3, 2 * size), np.int64)
                longer[:, :size] = out
                out, size = longer, 2 * size
            out[0, count], out[1, count], out[2, count] = m, point[m], p
            count += 1
            p = after[p]
    return out[:, :count]


@compiled()
def settle(state, begin, end, tags, scores, radius, point, to, square, there):
    """Deals the points from begin to end among candidates; the rest start groups of their own.

    Returns whether any point changed its group.
    """
    group, size, weight, sums, first, after, before, used = state
    cost = np.empty(len(point))
    for m in range(len(point)):
        n = size[there[to[m]]]
        gain = n / (n + 1.0) * (1.0 - square[m] / radius**2)
        cost[m] = -scores[begin + point[m]] * gain
    chosen = match_pairs(point, to, cost, end - begin, len(there))
    changed, free = False, 0
    for p in range(begin, end):
        if chosen[p - begin] >= 0:
            g = there[chosen[p - begin]]
        else:
            g = group[p]
            if g < 0 or size[g] > 0:
                while free < used[0] and size[free] > 0:
                    free += 1
                g = free
                used[0] = max(used[0], g + 1)
            weight[g], sums[g], first[g] = 0.0, 0.0, -1
        changed |= group[p] != g
        group[p] = g
        size[g] += 1
        weight[g] += scores[p]
        sums[g] += scores[p] * tags[p]
        after[p], before[p] = first[g], -1
        if first[g] >= 0:
            before[first[g]] = p
        first[g] = p
    return changed


@compiled()
def deal(state, starts, tags, scores, radius, sweeps):
    """All types once, and `sweeps` times anew or until nothing changes. starts (K + 1,)."""
    for number in range(sweeps + 1):
        changed = False
        for k in range(len(starts) - 1):
            begin, end = starts[k], starts[k + 1]
            if number:
                take_out(state, begin, end, tags, scores)
            point, to, square, there = candidates(state, begin, end, tags, radius)
            changed |= settle(state, begin, end, tags, scores, radius, point, to, square, there)
        if number and not changed:
            break
