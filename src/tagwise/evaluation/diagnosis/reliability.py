"""Whether scores mean what they say: precision by score, and the threshold of the best F1."""

from __future__ import annotations

from typing import Any

import numpy as np


def reliability(scores: np.ndarray, right: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Compare the scores of detections with the share of them that is right.

    scores: (N,) in [0, 1]. right: (N,) bool. bins: of equal width.
    Returns "bins", rows of "from", "to", "count", "score" (mean) and "precision" (None if empty);
    "ece", the expected calibration error: the mean of |score - precision| of the bins, weighted by
    their counts (Guo et al. 2017, arXiv:1706.04599, equation 3), None without detections.

    >>> found = reliability(np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, True, True, False]))
    >>> round(found["ece"], 6)
    0.25
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, bool)
    number = np.clip((scores * bins).astype(int), 0, bins - 1)
    rows, total = [], 0.0
    for n in range(bins):
        part = number == n
        count = int(part.sum())
        score = float(scores[part].mean()) if count else None
        precision = float(right[part].mean()) if count else None
        total += count * abs(score - precision) if count else 0
        edges = {"from": n / bins, "to": (n + 1) / bins}
        rows.append({**edges, "count": count, "score": score, "precision": precision})
    return {"bins": rows, "ece": total / len(scores) if len(scores) else None}


def f1_curve(scores: np.ndarray, right: np.ndarray, instances: int) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of the detections above each score.

    scores: (N,), right: (N,) bool. instances: number of true ones.
    Returns arrays in the order of falling "threshold", one entry for each different score.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked, hits = np.asarray(scores, np.float64)[order], np.cumsum(np.asarray(right)[order])
    last = np.flatnonzero(np.append(np.diff(ranked) != 0, True)) if len(ranked) else []
    last = np.asarray(last, np.int64)
    found, hits = last + 1, hits[last] if len(ranked) else np.zeros(0)
    return {
        "threshold": ranked[last] if len(ranked) else np.zeros(0),
        "precision": hits / np.maximum(found, 1),
        "recall": hits / max(instances, 1),
        "f1": 2 * hits / np.maximum(found + instances, 1),
    }


def f1_at(scores: np.ndarray, right: np.ndarray, instances: int, threshold: float) -> float:
    """F1 of the detections with a score of at least the threshold; 0 without any instance."""
    kept = np.asarray(scores) >= threshold
    hits = int(np.asarray(right)[kept].sum())
    return 2 * hits / max(int(kept.sum()) + instances, 1)
