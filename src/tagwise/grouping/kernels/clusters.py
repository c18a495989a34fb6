"""The compiled loops behind the grouping of free points: a grid of cells, and searches in it.

Points are sorted once into the cells of a grid over their two widest axes. A cell is at least as
wide as the search distance, so the points near a centre are in nine cells, which are three
contiguous runs of memory. All distances are squared.
"""

from __future__ import annotations

import numpy as np

from tagwise.grouping.kernels.assignment import assign
from tagwise.runtime import compiled


@compiled()
def sort_into_cells(tags, reach):
    """Sort points (P, D) float64 into a grid for searches up to the distance `reach` (may be inf).

    Returns axes (2,), low (2,), width (2,), count (2,) of cells, starts (cells + 1,), order (P,)
    the points cell by cell, position (P,) its inverse, and columns (D, P), the tags in that order.
    """
    points, dims = tags.shape
    axes, count = np.zeros(2, np.int64), np.ones(2, np.int64)
    low, width, spread = np.zeros(2), np.ones(2), np.full(2, -1.0)
    for d in range(dims if points else 0):
        smallest, largest = tags[:, d].min(), tags[:, d].max()
        k = 0 if spread[0] <= spread[1] else 1
        if largest - smallest > spread[k]:
            axes[k], low[k], spread[k] = d, smallest, largest - smallest
    limit = max(1.0, np.sqrt(points))
    for k in range(2):
        if spread[k] > 0:
            # The factor below 1 prevents cells narrower than the reach by a rounding error.
            count[k] = int(max(1.0, min(0.999999 * spread[k] / max(reach, 1e-300), limit)))
            width[k] = spread[k] / count[k]
    cell, starts = np.empty(points, np.int64), np.zeros(count[0] * count[1] + 1, np.int64)
    for p in range(points):
        u, v = _cell(axes, low, width, count, tags[p])
        cell[p] = u * count[1] + v
        starts[cell[p] + 1] += 1
    starts = np.cumsum(starts)
    order, position, fill = np.empty(points, np.int64), np.empty(points, np.int64), starts.copy()
    for p in range(points):
        position[p] = fill[cell[p]]
        order[position[p]] = p
        fill[cell[p]] += 1
    columns = np.empty((dims, points))
    for q in range(points):
        columns[:, q] = tags[order[q]]
    return axes, low, width, count, starts, order, position, columns


@compiled()
def _cell(axes, low, width, count, tag):
    u = min(max((tag[axes[0]] - low[0]) / width[0], 0.0), count[0] - 1.0)
    v = min(max((tag[axes[1]] - low[1]) / width[1], 0.0), count[1] - 1.0)
    return int(u), int(v)


@compiled()
def _runs(grid, centre, runs):
    """Write the begin and end of the runs of the nine cells around a centre to runs (3, 2).

    Returns the number of runs.
    """
    axes, low, width, count, starts = grid[:5]
    u, v = _cell(axes, low, width, count, centre)
    used = 0
    for row in range(max(u - 1, 0), min(u + 2, count[0])):
        runs[used, 0] = starts[row * count[1] + max(v - 1, 0)]
        runs[used, 1] = starts[row * count[1] + min(v + 2, count[1])]
        used += 1
    return used


@compiled()
def _squares(columns, first, last, centre, out):
    """Squared distances of a run of points from a centre."""
    for q in range(last - first):
        out[q] = 0.0
    for d in range(len(centre)):
        line, value = columns[d, first:last], centre[d]
        for q in range(last - first):
            out[q] += (line[q] - value) ** 2


@compiled()
def pick_seeds(grid, tags, ranked, scale, limit):
    """Pick the points that no picked point covers; p covers q if scale[p] |p - q|^2 <= limit.

    Returns their indices, in the order of `ranked`.
    """
    order, position, columns = grid[5:]
    covered = np.zeros(len(order), np.bool_)
    runs, square = np.empty((3, 2), np.int64), np.empty(len(order))
    seeds, count = np.empty(len(ranked), np.int64), 0
    for p in ranked:
        if covered[position[p]]:
            continue
        seeds[count] = p
        count += 1
        for row in range(_runs(grid, tags[p], runs)):
            first, last = runs[row]
            _squares(columns, first, last, tags[p], square)
            for q in range(last - first):
                covered[first + q] |= scale[p] * square[q] <= limit
    return seeds[:count]


@compiled()
def nearest_two(grid, centres, scale, limit):
    """Find the nearest centre of each point by scale * distance^2, up to `limit`.

    Returns its index (P,), -1 for none, and its measure and that of the second-nearest (P,), both
    `limit` if there is none. Of equal centres, the first is chosen.
    """
    order, columns = grid[5], grid[7]
    points = len(order)
    index = np.full(points, -1, np.int64)
    best, second = np.full(points, limit), np.full(points, limit)
    runs, square = np.empty((3, 2), np.int64), np.empty(points)
    for c in range(len(centres)):
        for row in range(_runs(grid, centres[c], runs)):
            first, last = runs[row]
            _squares(columns, first, last, centres[c], square)
            for q in range(last - first):
                value = scale[c] * square[q]
                if value <= limit:
                    _rank(order[first + q], c, value, index, best, second)
    return index, best, second


@compiled()
def _rank(p, c, value, index, best, second):
    if index[p] < 0 or value < best[p]:
        if index[p] >= 0:
            second[p] = best[p]
        index[p], best[p] = c, value
    elif value < second[p]:
        second[p] = value


@compiled()
def rank_pairs(point, centre, value, index, best, second):
    """Update the results of `nearest_two` with pairs, in place."""
    for n in range(len(point)):
        _rank(point[n], centre[n], value[n], index, best, second)


@compiled()
def pairs_within(grid, centres, scale, limit):
    """Find all pairs of a point and a centre with scale * distance^2 <= limit, centre by centre.

    Returns points (M,), centres (M,) and the measure (M,).
    """
    order, columns = grid[5], grid[7]
    runs, square = np.empty((3, 2), np.int64), np.empty(len(order))
    size, count = 2 * len(order) + 16, 0
    point, centre, value = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    for c in range(len(centres)):
        for row in range(_runs(grid, centres[c], runs)):
            first, last = runs[row]
            if count + last - first > size:
                size = 2 * (count + last - first)
                point, centre = _longer(point, size), _longer(centre, size)
                value = _longer(value, size)
            _squares(columns, first, last, centres[c], square)
            for q in range(last - first):
                if scale[c] * square[q] <= limit:
                    point[count], centre[count] = order[first + q], c
                    value[count] = scale[c] * square[q]
                    count += 1
    return point[:count], centre[:count], value[:count]


@compiled()
def _longer(values, size):
    out = np.empty(size, values.dtype)
    out[: len(values)] = values
    return out


@compiled()
def root(parent, n):
    """Find the representative of n, and shorten the path to it."""
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@compiled()
def join_pairs(parent, first, second):
    """Join the sets of each pair, in place; the smaller index becomes the representative."""
    for n in range(len(first)):
        a, b = root(parent, first[n]), root(parent, second[n])
        parent[max(a, b)] = min(a, b)


@compiled()
def roots(parent):
    """Find the representative of each element, (N,)."""
    out = np.empty_like(parent)
    for n in range(len(parent)):
        out[n] = root(parent, n)
    return out


@compiled()
def match_pairs(row, column, cost, rows, columns):
    """Choose one-to-one pairs with the least total cost; unpaired rows and columns cost 0.

    row, column (M,) int64, cost (M,), all negative. Returns the column of each row, -1 for none.
    Pairs that share rows or columns form a component; each component is solved separately.
    """
    chosen = np.full(rows, -1, np.int64)
    parent = np.arange(rows + columns)
    join_pairs(parent, row, rows + column)
    component = np.empty(len(row), np.int64)
    for m in range(len(row)):
        component[m] = root(parent, row[m])
    order = np.argsort(component, kind="mergesort")
    local = np.full(rows + columns, -1, np.int64)
    first = 0
    while first < len(order):
        last = first
        height, width = 0, 0
        while last < len(order) and component[order[last]] == component[order[first]]:
            m = order[last]
            if local[row[m]] < 0:
                local[row[m]] = height
                height += 1
            if local[rows + column[m]] < 0:
                local[rows + column[m]] = width
                width += 1
            last += 1
        block = np.zeros((height, width))
        back = np.empty(width, np.int64)
        for m in order[first:last]:
            block[local[row[m]], local[rows + column[m]]] = cost[m]
            back[local[rows + column[m]]] = column[m]
        assigned = assign(block, 0.0)
        for m in order[first:last]:
            n = assigned[local[row[m]]]
            if n >= 0 and block[local[row[m]], n] < 0:
                chosen[row[m]] = back[n]
        first = last
    return chosen
