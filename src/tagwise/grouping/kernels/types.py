"""The compiled loops behind groups with at most one point of each type."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.clusters import match_pairs, pairs_within, sort_into_cells
from tagwise.runtime import compiled


class TypedPoints(NamedTuple):
    """The points of one image, sorted by type: tags (P, D), scores (P,), and the radius of a group.

    starts: (K + 1,), the first point of each type, then P.
    """

    tags: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    radius: float


class TypedGroups(NamedTuple):
    """The groups of points so far; there is space for one group per point.

    group (P,): the group of each point, -1 for none. size (P,), weight (P,), sums (P, D): the
    number of points of each group, and the sums of their scores and of score * tag. first (P,),
    after (P,), before (P,): the points of each group as a linked list: the first point of each
    group, and the points after and before each point, -1 at the ends. used (1,): the number of
    groups, including empty groups between others.
    """

    group: np.ndarray
    size: np.ndarray
    weight: np.ndarray
    sums: np.ndarray
    first: np.ndarray
    after: np.ndarray
    before: np.ndarray
    used: np.ndarray


class NearGroups(NamedTuple):
    """The candidates of a range of points: M pairs of a point and a group near it.

    point (M,), counted from the first point of the range; to (M,), an index into `groups`; square
    (M,), the squared distance between the tag and the mean tag of the group. groups (N,): the
    groups that are not empty.
    """

    point: np.ndarray
    to: np.ndarray
    square: np.ndarray
    groups: np.ndarray


@compiled()
def no_groups(points, dims):
    """Create TypedGroups in which no point has a group."""
    chain = np.full((4, points), -1, np.int64)
    size, used = np.zeros(points, np.int64), np.zeros(1, np.int64)
    weight, sums = np.zeros(points), np.zeros((points, dims))
    return TypedGroups(chain[0], size, weight, sums, chain[1], chain[2], chain[3], used)


@compiled()
def take_out(state, begin, end, points):
    """Remove the points from begin to end from their groups, but keep their entries in `group`."""
    for p in range(begin, end):
        g = state.group[p]
        state.size[g] -= 1
        state.weight[g] -= points.scores[p]
        state.sums[g] -= points.scores[p] * points.tags[p]
        if state.before[p] < 0:
            state.first[g] = state.after[p]
        else:
            state.after[state.before[p]] = state.after[p]
        if state.after[p] >= 0:
            state.before[state.after[p]] = state.before[p]


@compiled()
def candidates(state, begin, end, points):
    """Find the groups near the points from begin to end, NearGroups."""
    groups = np.flatnonzero(state.size[: state.used[0]])
    means = np.empty((len(groups), points.tags.shape[1]))
    for n in range(len(groups)):
        means[n] = state.sums[groups[n]] / state.weight[groups[n]]
    grid = sort_into_cells(points.tags[begin:end], points.radius)
    point, to, square = pairs_within(grid, means, np.ones(len(groups)), points.radius**2)
    return NearGroups(point, to, square, groups)


@compiled()
def with_members(point, group, first, after):
    """List every member of every candidate group: rows of candidate, point and member indices."""
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
def settle(state, begin, end, points, near):
    """Assign the points from begin to end to candidates; the others start new groups.

    near: NearGroups. Returns whether any point changed its group.
    """
    chosen = _choose(state, begin, end, points, near)
    changed, free = False, 0
    for p in range(begin, end):
        if chosen[p - begin] >= 0:
            g = near.groups[chosen[p - begin]]
        else:
            g = state.group[p]
            if g < 0 or state.size[g] > 0:
                while free < state.used[0] and state.size[free] > 0:
                    free += 1
                g = free
                state.used[0] = max(state.used[0], g + 1)
            state.weight[g], state.sums[g], state.first[g] = 0.0, 0.0, -1
        changed |= state.group[p] != g
        state.group[p] = g
        state.size[g] += 1
        state.weight[g] += points.scores[p]
        state.sums[g] += points.scores[p] * points.tags[p]
        state.after[p], state.before[p] = state.first[g], -1
        if state.first[g] >= 0:
            state.before[state.first[g]] = p
        state.first[g] = p
    return changed


@compiled()
def _choose(state, begin, end, points, near):
    """Choose one-to-one among the candidates: an index into `groups` for each point, or -1."""
    cost = np.empty(len(near.point))
    for m in range(len(cost)):
        n = state.size[near.groups[near.to[m]]]
        gain = n / (n + 1.0) * (1.0 - near.square[m] / points.radius**2)
        cost[m] = -points.scores[begin + near.point[m]] * gain
    return match_pairs(near.point, near.to, cost, end - begin, len(near.groups))


@compiled()
def group_types(state, points, sweeps):
    """Assign all types once, then again up to `sweeps` times or until nothing changes."""
    for number in range(sweeps + 1):
        changed = False
        for k in range(len(points.starts) - 1):
            begin, end = points.starts[k], points.starts[k + 1]
            if number:
                take_out(state, begin, end, points)
            near = candidates(state, begin, end, points)
            changed |= settle(state, begin, end, points, near)
        if number and not changed:
            break
