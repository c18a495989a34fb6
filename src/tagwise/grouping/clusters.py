"""Grouping without any knowledge about the groups, not even their number.

Tags, gates and images are as in `tagwise.grouping.assignments`.
"""

from __future__ import annotations

import numpy as np

from tagwise.grouping.inputs import (
    Values,
    as_numbers,
    check_count,
    check_length,
    check_reach,
)
from tagwise.grouping.kernels import clusters as kernels
from tagwise.grouping.kernels import links as link_kernels
from tagwise.grouping.points import (
    Gate,
    Groups,
    PairGate,
    check_points,
    margin_of,
    narrowed,
    near_pairs,
    nearest_two,
    reach,
)


def group_by_seed(
    tags: Values,
    scores: Values | None = None,
    *,
    bandwidth: float | Values,
    seed_threshold: float = 0.0,
    shifts: int = 2,
    image: Values | None = None,
    gate: Gate | None = None,
) -> Groups:
    """Form clusters around seeds: the best point that no seed covers yet becomes the next seed.

    A seed covers the points within its bandwidth. Then, `shifts` times, every point is assigned to
    the nearest seed that covers it, and each seed moves to the weighted mean of its points, as in
    mean shift (Comaniciu and Meer 2002). A seed that a better one covers is dropped. Points that no
    seed covers at the end are in no group. "Nearest" is by distance / bandwidth.

    Args:
        tags: (P, D). scores: (P,) >= 0, such as the values of a seed map; all 1 if None.
        bandwidth: in tag units, one, or (P,) a bandwidth for the cluster that each point would
            seed, as a network may learn it (Neven et al. 2019, arXiv:1906.11109).
        seed_threshold: points with a lower score do not become seeds.
        shifts: 0 leaves the seeds where they are.
        image: (P,) integers; all one image if None.
        gate: of (point, seed), both points, or a matrix (P, P).

    Groups are numbered image by image, best seed first.

    Raises:
        ValueError: shapes that do not fit, ids that are not integers, a bandwidth not > 0.

    >>> group_by_seed([[0.0], [5.0], [0.2], [5.1]], [0.5, 0.9, 0.7, 0.1], bandwidth=1).group
    array([1, 0, 1, 0])
    """
    points = check_points(tags, scores, image)
    width, shifts = _bandwidths(bandwidth, points), check_count("shifts", shifts)
    seed_threshold = float(as_numbers("seed_threshold", seed_threshold))
    count = len(points.tags)
    allowed = None if gate is None else PairGate(gate, count, count)
    group, margin = np.full(count, -1, np.int64), np.full(count, np.nan, np.float32)
    centres, images = [np.zeros((0, points.tags.shape[1]))], [np.zeros(0, np.int64)]
    for number, rows in points.images():
        part = points.tags[rows], points.scores[rows], width[rows]
        ask = narrowed(allowed, rows, rows)
        index, centre, margins = _by_seed(*part, seed_threshold, shifts, ask)
        group[rows] = np.where(index < 0, -1, index + sum(map(len, centres)))
        margin[rows] = margins
        centres.append(centre)
        images.append(np.full(len(centre), number))
    return Groups(group, margin, np.concatenate(centres), np.concatenate(images), points.left_out)


def _bandwidths(bandwidth, points) -> np.ndarray:
    """The bandwidth of each point, (P,) float64, > 0 for all points to use."""
    width = as_numbers("bandwidth", bandwidth).astype(np.float64)
    if width.ndim:
        check_length("bandwidth", width, "tags", points.tags)
    else:
        width = np.full(len(points.tags), width)
    wrong = points.use & ~((width > 0) & np.isfinite(width))
    if wrong.any():
        raise ValueError(f"bandwidth must be > 0 and finite, got {width[wrong][0]:g}")
    return width


def _by_seed(tags, scores, width, threshold, shifts, allowed):
    """The groups, the centres and the margins of the points of one image."""
    ranked = np.argsort(-scores, kind="stable")
    ranked = ranked[scores[ranked] >= threshold]
    scale = 1 / width**2
    seeds, every = _pick(tags, ranked, scale, allowed), np.arange(len(tags))
    centres = tags[seeds]
    for _ in range(shifts):
        ask = narrowed(allowed, every, seeds)
        index, _, _ = nearest_two(tags, centres, scale[seeds], 1.0, ask)
        centres = _means(tags, scores, index, centres)
        ranked, ask = np.arange(len(seeds)), narrowed(allowed, seeds, seeds)
        kept = _pick(centres, ranked, scale[seeds], ask)
        seeds, centres = seeds[kept], centres[kept]
    ask = narrowed(allowed, every, seeds)
    index, best, second = nearest_two(tags, centres, scale[seeds], 1.0, ask)
    margin = margin_of(index, best, index, best, second)
    grouped = index >= 0
    margin[grouped] *= width[seeds[index[grouped]]]
    # Seeds that lost all their points to others do not become groups.
    kept, index[grouped] = np.unique(index[grouped], return_inverse=True)
    return index, centres[kept], margin


def _pick(tags, ranked, scale, allowed) -> np.ndarray:
    """Like `pick_seeds`, but a seed p covers only the points q with allowed(q, p)."""
    grid = kernels.sort_into_cells(tags, reach(scale, 1.0))
    if allowed is None:
        return kernels.pick_seeds(grid, tags, ranked, scale, 1.0)
    seeds, covered = [], np.zeros(len(tags), bool)
    for p in ranked.tolist():
        if not covered[p]:
            seeds.append(p)
            near, _, _ = kernels.pairs_within(grid, tags[p : p + 1], scale[p : p + 1], 1.0)
            covered[near[allowed(near, np.full(len(near), p))]] = True
    return np.array(seeds, np.int64)


def _means(tags, scores, index, centres) -> np.ndarray:
    """The mean of each centre's points, weighted by score; a centre without weight is kept."""
    grouped = index >= 0
    index, weight = index[grouped], scores[grouped]
    total = np.bincount(index, weight, len(centres))
    sums = [np.bincount(index, weight * column, len(centres)) for column in tags[grouped].T]
    any_weight = (total > 0)[:, None]
    means = np.stack(sums, axis=1) / np.where(any_weight, total[:, None], 1)
    return np.where(any_weight, means, centres)


def group_connected(
    tags: Values,
    scores: Values | None = None,
    *,
    radius: float,
    image: Values | None = None,
    gate: Gate | None = None,
) -> Groups:
    """Form clusters of points that are connected by steps no longer than the radius.

    This is single linkage cut at the radius, or DBSCAN (Ester et al. 1996) with a minimum of one
    point. Clusters may have any shape; noise points between two clusters join them. Every point is
    in a group. The margin is how much the radius could grow until another group is within reach of
    the point; it is at most the radius.

    Args:
        tags: (P, D). scores: (P,) >= 0; weights in the groups' mean tags and in their order.
        radius: in tag units. image: (P,) integers; all one image if None.
        gate: of two points i < j, or a matrix (P, P), of which one half may be empty. The time with
            a sparse matrix, such as of neighbouring pixels, grows with its entries; with other
            gates, it grows with the number of pairs within twice the radius.

    Groups are numbered image by image, by falling sum of scores.

    Raises:
        ValueError: shapes that do not fit, ids that are not integers, a radius that is not > 0.

    >>> group_connected([[0.0], [3.0], [0.9], [1.8]], radius=1).group
    array([0, 1, 0, 0])
    """
    points = check_points(tags, scores, image)
    radius = check_reach("radius", radius)
    count = len(points.tags)
    allowed = None if gate is None else PairGate(gate, count, count, symmetric=True)
    group, margin = np.full(count, -1, np.int64), np.full(count, np.nan, np.float32)
    means, images = [np.zeros((0, points.tags.shape[1]))], [np.zeros(0, np.int64)]
    for number, rows in points.images():
        part = points.tags[rows]
        if allowed is None:
            index, distance = link_kernels.link(part, radius)
        else:
            index, distance = _link_gated(part, radius, rows, allowed)
        index, mean = _by_weight(part, points.scores[rows], index)
        group[rows] = index + sum(map(len, means))
        margin[rows] = distance - radius
        means.append(mean)
        images.append(np.full(len(mean), number))
    return Groups(group, margin, np.concatenate(means), np.concatenate(images), points.left_out)


def _link_gated(tags, radius, rows, allowed):
    """Like `link`, but calls the gate for the pairs."""
    parent, nearest = np.arange(len(tags)), np.full(len(tags), 2 * radius)
    for i, j, _ in _pairs(tags, radius, rows, allowed):
        kernels.join_pairs(parent, i, j)
    index = kernels.roots(parent)
    for i, j, distance in _pairs(tags, 2 * radius, rows, allowed, index):
        link_kernels.lower(nearest, i, j, distance)
    return index, nearest


def _pairs(tags, radius, rows, allowed, group=None):
    """Allowed pairs i < j within the radius, in parts; only of different groups if given."""
    for i, j in _listed(tags, radius, rows, allowed):
        distance = np.sqrt(((tags[i] - tags[j]) ** 2).sum(axis=1))
        keep = distance <= radius
        if group is not None:
            keep &= group[i] != group[j]
        i, j, distance = i[keep], j[keep], distance[keep]
        keep = allowed(rows[i], rows[j])
        yield i[keep], j[keep], distance[keep]


def _listed(tags, radius, rows, allowed):
    """All pairs i < j that may be within the radius, from the tags or from the sparse gate."""
    if allowed.sparse:
        i, j = allowed.matrix[rows][:, rows].nonzero()
        yield i[i < j], j[i < j]
        return
    grid = kernels.sort_into_cells(tags, radius)
    for j, i, _ in near_pairs(grid, tags, np.ones(len(tags)), radius**2):
        yield i[i < j], j[i < j]


def _by_weight(tags, scores, index):
    """Number the groups by falling sum of scores; return the groups and their mean tags."""
    _, index = np.unique(index, return_inverse=True)
    total = np.bincount(index, scores)
    order = np.argsort(-total, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    index = rank[index]
    zeros = np.zeros((len(order), tags.shape[1]))
    unweighted = _means(tags, np.ones(len(tags)), index, zeros)
    return index, _means(tags, scores, index, unweighted)
