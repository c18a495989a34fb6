"""The compiled loops behind groups with at most one point of each type."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.clusters import match_pairs, pairs_within, sort_into_cells
from tagwise.runtime import compiled


class TypedPoints(NamedTuple):
    """The points of one image, type by type: tags (P, D), scores (P,), and the radius of a group.

    starts: (K + 1,), the first point of each type, then P.
    """

    tags: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    radius: float


class TypedGroups(NamedTuple):
    """Groups of points so far, with room for a group of every point.

    group (P,): that of each point, -1 for none. size (P,), weight (P,), sums (P, D): the number of
    points of each group, their summed score, and score * tag. first (P,), after (P,), before (P,):
    the points of a group as a chain, the first of each group and those after and before each point,
    -1 at the ends. used (1,): how many groups there are, empty ones between them included.
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
    """Candidates of some points: M pairs of a point and a group near it.

    point (M,), counted from the first of these points; to (M,), an index into `groups`; square
    (M,), the squared distance of tag and mean tag. groups (N,): the groups that are not empty.
    """

    point: np.ndarray
    to: np.ndarray
    square: np.ndarray
    groups: np.ndarray


@compiled()
def no_groups(points, dims):
    """TypedGroups in which no point has a group."""
    chain = np.full((4, points), -1, np.int64)
    size, used = np.zeros(points, np.int64), np.zeros(1, np.int64)
    weight, sums = np.zeros(points), np.zeros((points, dims))
    return TypedGroups(chain[0], size, weight, sums, chain[1], chain[2], chain[3], used)


@compiled()
def take_out(state, begin, end, points):
    """The points from begin to end leave their groups; `group` still says where they were."""
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
    """The groups near the points from begin to end, NearGroups."""
    groups = np.flatnonzero(state.size[: state.used[0]])
    means = np.empty((len(groups), points.tags.shape[1]))
    for n in range(len(groups)):
        means[n] = state.sums[groups[n]] / state.weight[groups[n]]
    grid = sort_into_cells(points.tags[begin:end], points.radius)
    point, to, square = pairs_within(grid, means, np.ones(len(groups)), points.radius**2)
    return NearGroups(point, to, square, groups)


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
def settle(state, begin, end, points, near):
    """Assigns the points from begin to end to candidates; the rest start groups of their own.

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
    """The best one-to-one choice among candidates: of each point an index into `groups`, or -1."""
    cost = np.empty(len(near.point))
    for m in range(len(cost)):
        n = state.size[near.groups[near.to[m]]]
        gain = n / (n + 1.0) * (1.0 - near.square[m] / points.radius**2)
        cost[m] = -points.scores[begin + near.point[m]] * gain
    return match_pairs(near.point, near.to, cost, end - begin, len(near.groups))


@compiled()
def group_types(state, points, sweeps):
    """Assigns all types once, then again up to `sweeps` times or until nothing changes."""
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
