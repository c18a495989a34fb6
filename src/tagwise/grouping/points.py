"""Shared code of the groupings of points: the points, gates, and the result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np

from tagwise.grouping.inputs import as_ids, as_numbers, check_length
from tagwise.grouping.kernels import clusters as kernels

if TYPE_CHECKING:
    import torch
    from scipy import sparse

# Determines which pairs (i, j) may be in one group: a function of two index arrays, or a matrix.
Gate = Union[
    Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray, "torch.Tensor", "sparse.sparray"
]


@dataclass(frozen=True)
class Groups:
    """The group of every point of a batch. All arrays are numpy, on the CPU.

    group: (P,) int64, a row of `tags`; -1 for a point without a group.
    margin: (P,) float32 in tag units, how much farther away the second-best group is than the
        point's group; 0 for a tie. The second-best is the nearest other group of the image that the
        gate allows, or the limit for joining a group if that is nearer. Negative if another point
        took the nearest group. NaN for a point without a group.
    tags: (G, D) float64, the tags from which the margin is computed: the mean tag of each group, or
        the given reference tags.
    image: (G,) int64, the image of each group.
    left_out: the number of points that were left out because their tag or score is NaN or infinite.
    """

    group: np.ndarray
    margin: np.ndarray
    tags: np.ndarray
    image: np.ndarray
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.tags)


@dataclass(frozen=True)
class Points:
    """Points to group: tags (P, D) float64, scores (P,), image (P,), and the mask `use` (P,)."""

    tags: np.ndarray
    scores: np.ndarray
    image: np.ndarray
    use: np.ndarray
    left_out: int

    def images(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each image that has points to use, and their indices."""
        rows = np.flatnonzero(self.use)
        rows = rows[np.argsort(self.image[rows], kind="stable")]
        ids, first = np.unique(self.image[rows], return_index=True)
        yield from zip(ids.tolist(), np.split(rows, first[1:]))


def check_points(
    tags, scores=None, image=None, names=("tags", "scores", "image"), level: int = 3
) -> Points:
    """Create Points from arrays or tensors; leave out those that are not finite, with a warning.

    level: the number of callers up to which the warning is attributed.
    """
    tags = as_numbers(names[0], tags)
    if tags.ndim != 2 or not tags.shape[1] or tags.dtype.kind not in "fiu":
        raise ValueError(f"{names[0]} must be (P, D) numbers, got {tags.dtype} {tags.shape}")
    tags = tags.astype(np.float64)
    scores = np.ones(len(tags)) if scores is None else as_numbers(names[1], scores)
    check_length(names[1], scores, names[0], tags)
    scores = scores.astype(np.float64)
    image = np.zeros(len(tags), np.int64) if image is None else as_ids(names[2], image)
    check_length(names[2], image, names[0], tags)
    finite = np.isfinite(tags).all(axis=1) & np.isfinite(scores)
    if (scores[finite] < 0).any():
        raise ValueError(f"{names[1]} must be >= 0, the least is {scores[finite].min():g}")
    if not finite.all():
        warnings.warn(
            f"{names[0]}: points that are NaN or infinite are left out; .left_out counts them",
            UserWarning,
            stacklevel=level + 1,
        )
    return Points(tags, scores, image, finite & (image >= 0), int((~finite).sum()))


class PairGate:
    """A function or matrix as one type of gate: index arrays i, j of equal length -> (M,) bool.

    A matrix must be (rows, columns). symmetric: i and j are points of one set, in either order.
    """

    def __init__(self, gate: Gate, rows: int, columns: int, symmetric: bool = False):
        self.call = gate
        self.matrix = None
        if not callable(gate):
            if not (_is_sparse(gate) or hasattr(gate, "__len__")):
                raise ValueError(f"gate must be a function or a matrix, got {type(gate).__name__}")
            gate = gate if _is_sparse(gate) else as_numbers("gate", gate)
            if tuple(gate.shape) != (rows, columns):
                raise ValueError(f"gate must be ({rows}, {columns}), got {tuple(gate.shape)}")
            self.matrix = (gate.tocsr() if _is_sparse(gate) else gate).astype(bool)
            if symmetric:
                other = self.matrix.T
                self.matrix = self.matrix + other if self.sparse else self.matrix | other

    @property
    def sparse(self) -> bool:
        return _is_sparse(self.matrix)

    def __call__(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        if self.matrix is not None:
            return np.asarray(self.matrix[i, j]).reshape(-1) if len(i) else np.zeros(0, bool)
        allowed = as_numbers("the result of gate", self.call(i, j))
        if allowed.shape != i.shape:
            raise ValueError(
                f"gate must return shape {i.shape}, one bool per pair, got {allowed.shape}"
            )
        return allowed.astype(bool)


def _is_sparse(matrix) -> bool:
    """Whether it is one of scipy.sparse, which is not imported before it is needed."""
    return hasattr(matrix, "tocsr")


def narrowed(allowed, rows: np.ndarray, columns: np.ndarray):
    """Restrict a gate to indices into these rows and columns; None stays None."""
    return None if allowed is None else lambda i, j: allowed(rows[i], columns[j])


def near_pairs(grid, centres: np.ndarray, scale: np.ndarray, limit: float) -> Iterator[tuple]:
    """Yield `pairs_within` in parts to bound the memory if all points are near each other."""
    step = max(1, 4_000_000 // max(len(grid[5]), 1))
    for first in range(0, len(centres), step):
        part = slice(first, first + step)
        point, centre, value = kernels.pairs_within(grid, centres[part], scale[part], limit)
        yield point, centre + first, value


def nearest_two(tags, centres, scale, limit, allowed=None):
    """Like the kernel of that name; excludes pairs for which allowed(points, centres) is False.

    tags (P, D), centres (S, D), scale (S,). limit: of scale * distance^2; it may be inf only if all
    scales are 1.
    """
    if allowed is None and np.isinf(limit):
        from scipy.spatial import cKDTree

        distance, index = cKDTree(centres).query(tags, k=2)
        return index[:, 0], distance[:, 0] ** 2, distance[:, 1] ** 2
    grid = kernels.sort_into_cells(tags, reach(scale, limit))
    if allowed is None:
        return kernels.nearest_two(grid, centres, scale, limit)
    index, best, second = nearest_none(len(tags), limit)
    for point, centre, value in near_pairs(grid, centres, scale, limit):
        keep = allowed(point, centre)
        kernels.rank_pairs(point[keep], centre[keep], value[keep], index, best, second)
    return index, best, second


def nearest_none(count: int, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The result of `nearest_two` for points that are near no centre."""
    return np.full(count, -1, np.int64), np.full(count, limit), np.full(count, limit)


def margin_of(chosen, square, index, best, second) -> np.ndarray:
    """Distance to the second-best centre minus distance to the chosen one, NaN without a centre.

    chosen (P,), the centre of each point or -1; square (P,), its squared distance; index, best and
    second: from `nearest_two`.
    """
    grouped = chosen >= 0
    other = np.where(index == chosen, second, best)
    out = np.full(len(chosen), np.nan)
    out[grouped] = np.sqrt(other[grouped]) - np.sqrt(square[grouped])
    return out


def reach(scale: np.ndarray, limit: float) -> float:
    """The largest distance with scale * distance^2 <= limit."""
    return float(np.sqrt(limit / scale.min())) if len(scale) else 1.0
