"""The compiled loops behind single linkage.

Points are collected in balls of half the radius around leaders. All points of a ball are linked,
so only points of neighbouring balls are compared, and only until a link between the balls is found.
"""

from __future__ import annotations

import numpy as np

from tagwise.grouping.kernels.clusters import (
    nearest_two,
    pairs_within,
    pick_seeds,
    root,
    sort_into_cells,
)
from tagwise.runtime import compiled


@compiled()
def link(tags, radius):
    """Join points that are connected by a chain of steps, each at most the radius.

    tags (P, D) float64. Returns the set of each point (P,) int64, identified by one of its points,
    and the distance to the nearest point of another set (P,), at most 2 * radius.
    """
    points = len(tags)
    ones = np.ones(points)
    grid = sort_into_cells(tags, 0.5 * radius)
    leaders = pick_seeds(grid, tags, np.arange(points), ones, 0.25 * radius**2)
    balls = len(leaders)
    centres = tags[leaders]
    ball, square, _ = nearest_two(grid, centres, ones, 0.25 * radius**2)
    order, starts = np.argsort(ball, kind="mergesort"), np.zeros(balls + 1, np.int64)
    extent = np.zeros(balls)
    for p in range(points):
        starts[ball[p] + 1] += 1
        extent[ball[p]] = max(extent[ball[p]], np.sqrt(square[p]))
    starts = np.cumsum(starts)
    sorted_tags = tags[order]
    reach = 2 * radius + 2 * extent.max() if points else 1.0
    a, b, gap = pairs_within(sort_into_cells(centres, reach), centres, ones, reach**2)
    gap = np.sqrt(gap)
    parent = np.arange(balls)
    for sure in (True, False):
        for m in range(len(a)):
            near = gap[m] <= radius
            if a[m] < b[m] and near == sure and gap[m] <= radius + extent[a[m]] + extent[b[m]]:
                first, second = root(parent, a[m]), root(parent, b[m])
                if first != second and (
                    near or _touch(sorted_tags, starts, a[m], b[m], centres, extent, radius)
                ):
                    parent[max(first, second)] = min(first, second)
    nearest = np.full(points, 2 * radius)
    for m in range(len(a)):
        if root(parent, a[m]) != root(parent, b[m]):
            _measure(sorted_tags, starts, a[m], b[m], centres, extent, nearest)
    group, apart = np.empty(points, np.int64), np.empty(points)
    for p in range(points):
        group[order[p]] = leaders[root(parent, ball[order[p]])]
        apart[order[p]] = nearest[p]
    return group, apart


@compiled()
def _square(one, other):
    total = 0.0
    for d in range(len(one)):
        total += (one[d] - other[d]) ** 2
    return total


@compiled()
def _touch(tags, starts, a, b, centres, extent, radius):
    """Whether any two points of two balls are within the radius."""
    for p in range(starts[a], starts[a + 1]):
        if _square(tags[p], centres[b]) <= (radius + extent[b]) ** 2:
            for q in range(starts[b], starts[b + 1]):
                if _square(tags[p], tags[q]) <= radius**2:
                    return True
    return False


@compiled()
def _measure(tags, starts, a, b, centres, extent, nearest):
    """Update the nearest distance of the points of ball a with the points of ball b."""
    for p in range(starts[a], starts[a + 1]):
        if _square(tags[p], centres[b]) < (nearest[p] + extent[b]) ** 2:
            best = nearest[p] ** 2
            for q in range(starts[b], starts[b + 1]):
                best = min(best, _square(tags[p], tags[q]))
            nearest[p] = np.sqrt(best)


@compiled()
def lower(nearest, i, j, distance):
    """Lower nearest[i] and nearest[j] to at most the distance of the pair, in place."""
    for m in range(len(i)):
        nearest[i[m]] = min(nearest[i[m]], distance[m])
        nearest[j[m]] = min(nearest[j[m]], distance[m])
