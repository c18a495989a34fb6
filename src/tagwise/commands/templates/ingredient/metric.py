"""The figures (place 5 of 5, with `plot.py`): how well found groups match the truth."""

import numpy as np


def pair_f1(found: np.ndarray, truth: np.ndarray) -> float:
    """Compute F1 over all pairs of points of a scene: are they in one group?

    found, truth: (B, P) groups, -1 for none. The pairs of all scenes count alike. The
    figure is 1 if all groups are right, and 1 if there is no group in either.
    """
    pairs_found, pairs_true = _pairs(found), _pairs(truth)
    total = pairs_found.sum() + pairs_true.sum()
    right = 2 * (pairs_found & pairs_true).sum()
    return float(right / total) if total else 1.0


def share_exact(found: np.ndarray, truth: np.ndarray) -> float:
    """Compute the share of true groups that are found point for point."""
    right = total = 0
    for own, true in zip(found, truth, strict=True):
        sets = {frozenset(np.flatnonzero(own == g)) for g in np.unique(own[own >= 0])}
        for g in np.unique(true[true >= 0]):
            right += frozenset(np.flatnonzero(true == g)) in sets
            total += 1
    return right / total if total else 1.0


def _pairs(group: np.ndarray) -> np.ndarray:
    """Whether each pair of points is in one group, (B, P, P) bool, each pair once."""
    same = (group[:, :, None] == group[:, None, :]) & (group[:, :, None] >= 0)
    return np.triu(same, 1)
