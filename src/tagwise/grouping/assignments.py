"""Grouping with knowledge about the groups: reference tags, pairs, or one point of each type.

Tags (P, D) are numpy arrays or torch tensors of any float type and device; distances are
Euclidean, in float64. A gate determines which pairs (i, j) may be grouped: a function that
takes two int64 index arrays of equal length and returns an array of bools of that length, or a
boolean matrix, dense or scipy.sparse. It is called only for pairs that are near enough. Only points
of the same image are grouped. Points with a negative image or a tag that is not finite are in no
group.
"""

from __future__ import annotations

import itertools

import numpy as np

from tagwise.grouping.inputs import Values, as_ids, check_count, check_length, check_reach
from tagwise.grouping.kernels import clusters as kernels
from tagwise.grouping.kernels import types as type_kernels
from tagwise.grouping.points import (
    Gate,
    Groups,
    PairGate,
    Points,
    check_points,
    margin_of,
    narrowed,
    near_pairs,
    nearest_none,
    nearest_two,
)


def group_by_reference(
    tags: Values,
    references: Values,
    *,
    radius: float = np.inf,
    image: Values | None = None,
    reference_image: Values | None = None,
    gate: Gate | None = None,
) -> Groups:
    """Assign each point to the nearest reference tag of its image within the radius, or to none.

    Args:
        tags: (P, D). references: (R, D). Groups are the rows of `references`.
        radius: in tag units; a point without a reference in this radius is in no group.
        image: (P,) integers, and reference_image: (R,); all one image if None.
        gate: of (point, reference), or a matrix (P, R).

    Raises:
        ValueError: shapes that do not fit, ids that are not integers, a radius that is not > 0.

    >>> groups = group_by_reference([[0.1], [2.2], [9.0]], [[0.0], [2.0]], radius=1)
    >>> groups.group, groups.margin.round(2)
    (array([ 0,  1, -1]), array([0.9, 0.8, nan], dtype=float32))
    """
    points, others, allowed = _two_sets(tags, references, image, reference_image, gate, "reference")
    limit = check_reach("radius", radius, infinite=True) ** 2
    group, margin = _ungrouped(len(points.tags))
    for rows, columns in _shared_images(points, others):
        ask = narrowed(allowed, rows, columns)
        centres = others.tags[columns]
        index, best, second = nearest_two(
            points.tags[rows], centres, np.ones(len(columns)), limit, ask
        )
        assigned = index >= 0
        group[rows[assigned]] = columns[index[assigned]]
        margin[rows] = margin_of(index, best, index, best, second)
    return Groups(group, margin, others.tags, others.image, points.left_out)


def group_pairs(
    first: Values,
    second: Values,
    *,
    radius: float = np.inf,
    first_image: Values | None = None,
    second_image: Values | None = None,
    gate: Gate | None = None,
) -> Groups:
    """Pair the points of two sets one-to-one, such as the two corners of an object.

    The choice is optimal: each pair gains radius minus its distance, and the sum of gains is
    maximal. Without a radius, the number of pairs is maximal, and their sum of distances minimal.

    Args:
        first: (P, D). second: (Q, D). `group` is the row of `second` paired with each of `first`.
        radius: in tag units; farther points are not paired.
        first_image: (P,) integers, and second_image: (Q,); all one image if None.
        gate: of (row of first, row of second), or a matrix (P, Q).

    Raises:
        ValueError: see `group_by_reference`.

    For points that are all near each other, the time grows with the cube of their number.

    >>> pairs = group_pairs([[0.0], [0.4]], [[0.3], [9.0]], radius=1)
    >>> pairs.group
    array([-1,  0])
    """
    points, others, allowed = _two_sets(first, second, first_image, second_image, gate, "second")
    limit = check_reach("radius", radius, infinite=True) ** 2
    group, margin = _ungrouped(len(points.tags))
    for rows, columns in _shared_images(points, others):
        ask = narrowed(allowed, rows, columns)
        row, column, square = _near(points.tags[rows], others.tags[columns], limit, ask)
        distance = np.sqrt(square)
        leave = radius if np.isfinite(radius) else 1 + 2 * len(row) * distance.max(initial=0.0)
        # The small term allows a pair exactly at the radius.
        cost = distance - leave - 1e-9 * leave
        chosen = kernels.match_pairs(row, column, cost, len(rows), len(columns))
        paired = chosen >= 0
        group[rows[paired]] = columns[chosen[paired]]
        squares = np.zeros(len(rows))
        is_pair = chosen[row] == column
        squares[row[is_pair]] = square[is_pair]
        nearest = nearest_none(len(rows), limit)
        kernels.rank_pairs(row, column, square, *nearest)
        margin[rows] = margin_of(chosen, squares, *nearest)
    return Groups(group, margin, others.tags, others.image, points.left_out)


def _two_sets(tags, others, image, other_image, gate, name):
    image_name = "image" if name == "reference" else "first_image"
    tags_name = "tags" if name == "reference" else "first"
    points = check_points(tags, None, image, (tags_name, "scores", image_name), 4)
    names = ("references" if name == "reference" else name, "scores", f"{name}_image")
    others = check_points(others, None, other_image, names, 4)
    if points.tags.shape[1] != others.tags.shape[1]:
        raise ValueError(
            f"{tags_name} and {names[0]} need one D, got shapes "
            f"{points.tags.shape} and {others.tags.shape}"
        )
    shape = len(points.tags), len(others.tags)
    return points, others, None if gate is None else PairGate(gate, *shape)


def _shared_images(points: Points, others: Points):
    """The indices of the points of each image that has points of both sets."""
    columns = dict(others.images())
    for image, rows in points.images():
        if image in columns:
            yield rows, columns[image]


def _ungrouped(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, -1, np.int64), np.full(count, np.nan, np.float32)


def _near(tags, centres, limit, allowed):
    """The allowed pairs of points and centres within sqrt(limit), and their squared distances."""
    grid = kernels.sort_into_cells(tags, np.sqrt(limit))
    parts = []
    for point, centre, square in near_pairs(grid, centres, np.ones(len(centres)), limit):
        keep = slice(None) if allowed is None else allowed(point, centre)
        parts.append((point[keep], centre[keep], square[keep]))
    return tuple(np.concatenate(column) for column in zip(*parts))


def group_by_type(
    tags: Values,
    types: Values,
    scores: Values | None = None,
    *,
    radius: float,
    sweeps: int = 3,
    image: Values | None = None,
    gate: Gate | None = None,
) -> Groups:
    """Form groups with at most one point of each type, as a person has one nose and one left elbow.

    The types are processed one by one, the one with the largest sum of scores first. Their points
    are matched one-to-one with the groups so far (Newell, Huang, Deng 2017, section 3.2); points
    without a gain start new groups. Then each type is matched again with the groups of all other
    types, up to `sweeps` times, which corrects early mistakes. The gain of a point of score s and a
    group of n points whose mean tag is at distance d is

        s n / (n + 1) (1 - d^2 / radius^2),

    the Ward increase of the group's scatter relative to the radius. The sum of gains of each type
    is maximal, and no pair is farther apart than the radius. Means are weighted by score.

    Args:
        tags: (P, D). types: (P,) integers of any values. scores: (P,) >= 0, all 1 if None.
        radius: in tag units. image: (P,) integers; all one image if None.
        gate: of two points in either order, or a matrix (P, P); a point joins a group if the gate
            allows it with every point of the group.

    Groups are numbered image by image, by falling sum of scores.

    Raises:
        ValueError: shapes that do not fit, ids that are not integers, a radius that is not > 0.

    >>> group_by_type([[0.0], [0.1], [0.2], [5.0]], [7, 7, 3, 3], radius=1).group
    array([2, 0, 0, 1])
    """
    points = check_points(tags, scores, image)
    types = as_ids("types", types)
    check_length("types", types, "tags", points.tags)
    radius, sweeps = check_reach("radius", radius), check_count("sweeps", sweeps)
    count = len(points.tags)
    allowed = None if gate is None else PairGate(gate, count, count, symmetric=True)
    group, margin = _ungrouped(count)
    means, images = [np.zeros((0, points.tags.shape[1]))], [np.zeros(0, np.int64)]
    for number, rows in points.images():
        rows = rows[_by_type(types[rows], points.scores[rows])]
        ask = narrowed(allowed, rows, rows)
        part = points.tags[rows], points.scores[rows], types[rows]
        index, mean, margins = _in_one_image(*part, radius, sweeps, ask)
        group[rows], margin[rows] = index + sum(map(len, means)), margins
        means.append(mean)
        images.append(np.full(len(mean), number))
    return Groups(group, margin, np.concatenate(means), np.concatenate(images), points.left_out)


def _by_type(types: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sort points by type, the type with the largest sum of scores first, then best point first."""
    _, types = np.unique(types, return_inverse=True)
    total = np.bincount(types, scores)
    return np.lexsort([-scores, types, -total[types]])


def _in_one_image(tags, scores, types, radius, sweeps, allowed):
    """The group of each point of one image, the mean tags of the groups, the points' margins."""
    starts = np.append(np.flatnonzero(np.diff(types, prepend=types[0] - 1)), len(types))
    # A point of score 0 can still join a group that no other point joins.
    scores = np.maximum(scores, 1e-9 * scores.max() or 1.0)
    points = type_kernels.TypedPoints(tags, scores, starts, radius)
    state = type_kernels.no_groups(*tags.shape)
    if allowed is None:
        type_kernels.group_types(state, points, sweeps)
    else:
        _group_types_gated(state, points, sweeps, allowed)
    order = np.flatnonzero(state.size)
    order = order[np.argsort(-state.weight[order], kind="stable")]
    means = state.sums[order] / state.weight[order, None]
    rank = np.zeros(len(state.size), np.int64)
    rank[order] = np.arange(len(order))
    index = rank[state.group]

    def ask(point, centre):
        kept = index[point] == centre
        kept[~kept] = _with_all(allowed, state, point[~kept], order[centre[~kept]])
        return kept

    ask = None if allowed is None else ask
    nearest = nearest_two(tags, means, np.ones(len(means)), radius**2, ask)
    square = ((tags - means[index]) ** 2).sum(axis=1)
    return index, means, margin_of(index, square, *nearest)


def _group_types_gated(state, points, sweeps, allowed) -> None:
    """Like `group_types`, but calls the gate for the candidates."""
    for number in range(sweeps + 1):
        changed = False
        for begin, end in itertools.pairwise(points.starts):
            if number:
                type_kernels.take_out(state, begin, end, points)
            near = type_kernels.candidates(state, begin, end, points)
            keep = _with_all(allowed, state, begin + near.point, near.groups[near.to])
            near = near._replace(point=near.point[keep], to=near.to[keep], square=near.square[keep])
            changed |= type_kernels.settle(state, begin, end, points, near)
        if number and not changed:
            break


def _with_all(allowed, state, point, group) -> np.ndarray:
    """Whether each point is allowed with every point of the group, (M,) bool."""
    candidate, i, j = type_kernels.with_members(point, group, state.first, state.after)
    bad = candidate[~allowed(i, j)]
    keep = np.ones(len(point), bool)
    keep[bad] = False
    return keep
