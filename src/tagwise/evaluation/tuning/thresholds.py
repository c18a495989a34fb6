"""The threshold of scores from which instances are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tagwise.evaluation.diagnosis.reliability import f1_curve

_ALLOWED = 0.01  # share of the photos without instances in which one may appear
_COST = 0.02  # F1 that the threshold may cost to keep them empty


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it gives.

    value: scores of at least this are shown. precision, recall, f1: on the labelled images.
    false_photos: the photos without instances in which something is shown. None: there are none.
    """

    value: float
    precision: float
    recall: float
    f1: float
    false_photos: int | None = None


def best_f1(scores: np.ndarray, right: np.ndarray, instances: int, precision: float) -> float:
    """The best F1 over the thresholds whose precision is at least as wanted.

    scores: (N,), right: (N,) bool. instances: number of true ones. precision: 0 for any.
    If no threshold is so precise, returns the best precision minus 1, which is below 0.
    """
    curve = f1_curve(scores, right, instances)
    precise = curve["precision"] >= precision
    if precise.any():
        return float(curve["f1"][precise].max())
    return float(curve["precision"].max(initial=0.0)) - 1


def choose_threshold(
    scores: np.ndarray,
    right: np.ndarray,
    instances: int,
    precision: float = 0.0,
    negatives: Sequence[float] | None = None,
) -> Threshold:
    """Choose the threshold with the best F1.

    scores: (N,), right: (N,) bool. instances: number of true ones.
    precision: least precision; if no threshold has it, the most precise one is chosen.
    negatives: the largest score in each photo without instances, 0 for none. At most one in a
        hundred of these may show an instance. If that would cost more than .02 of F1, the
        threshold is the one that leaves the fewest such photos within this cost.

    The threshold is halfway to the next lower score, where one more would be shown.
    """
    largest = np.array(negatives if negatives is not None else [], np.float64)
    curve = f1_curve(scores, right, instances)
    if not len(curve["f1"]):
        return Threshold(0.5, 0.0, 0.0, 0.0, None if negatives is None else 0)
    values = _halfway(curve["threshold"], np.append(scores, largest))
    shown = (largest[None] >= values[:, None]).sum(1)
    allowed = curve["precision"] >= min(precision, curve["precision"].max())
    f1 = np.where(allowed, curve["f1"], -1.0)
    few = shown <= int(_ALLOWED * len(largest))
    chosen = int(f1.argmax())
    if (few & allowed).any() and np.where(few, f1, -1).max() >= f1.max() - _COST:
        chosen = int(np.where(few, f1, -1).argmax())
    elif len(largest):
        cheap = f1 >= f1.max() - _COST
        chosen = int(np.where(cheap, -shown + f1, -np.inf).argmax())
    return Threshold(
        float(values[chosen]),
        float(curve["precision"][chosen]),
        float(curve["recall"][chosen]),
        float(curve["f1"][chosen]),
        None if negatives is None else int(shown[chosen]),
    )


def _halfway(thresholds: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """For each threshold, the middle between it and the next lower score, rounded inside."""
    below = np.array([scores[scores < t].max(initial=0.0) for t in thresholds])
    middle = (thresholds + below) / 2
    rounded = np.round(middle, 3)
    inside = (rounded > below) & (rounded <= thresholds)
    return np.where(inside, rounded, middle)
