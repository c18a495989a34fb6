"""F1 and average precision of label maps, pooled over a set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tagwise.grouping.inputs import as_numbers

IOU_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def label_map_counts(
    found: np.ndarray, truth: np.ndarray, thresholds: Sequence[float] = IOU_THRESHOLDS
) -> np.ndarray:
    """Count true positives, false positives and misses of a label map at each IoU threshold.

    found, truth: (H, W) of any integer type. 0 and negative values are background; every other
        value is one instance. Numbers need not be consecutive.
    thresholds: in [0.5, 1). A found instance is a true positive if its intersection over union with
        a true one is above the threshold. Above .5 at most one pair can match, so no
        assignment is needed.
    Returns (T, 3) int64: true positives, false positives, misses. The cost is one pass over the
    pixels. Raises ValueError for maps of different shapes.

    >>> truth = np.array([[1, 1, 1, 0, 2, 2]])
    >>> label_map_counts(np.array([[7, 7, 0, 0, 3, 3]]), truth, [0.5, 0.7]).tolist()
    [[2, 0, 0], [1, 1, 1]]
    """
    found, truth = _label_map("found", found), _label_map("truth", truth)
    if found.shape != truth.shape:
        raise ValueError(f"found and truth have different shapes, {found.shape} and {truth.shape}")
    thresholds = _thresholds(thresholds)
    (found, found_area), (truth, true_area) = _numbered(found), _numbered(truth)
    both = (found > 0) & (truth > 0)
    pair, overlap = _counted(truth[both] * len(found_area) + found[both])
    t, f = np.divmod(pair, len(found_area))
    iou = overlap / (true_area[t] + found_area[f] - overlap)
    right = (iou[None] > thresholds[:, None]).sum(1)
    wrong, missed = len(found_area) - 1 - right, len(true_area) - 1 - right
    return np.stack([right, wrong, missed], 1)


def pooled_figures(
    counts: np.ndarray, thresholds: Sequence[float] = IOU_THRESHOLDS
) -> dict[str, float]:
    """Compute the figures of a set from the summed counts of its images.

    counts: (T, 3) tp, fp, fn over all images, see `label_map_counts`.

    Returns, at each IoU threshold ("@.5" and so on), F1 = 2 tp / (2 tp + fp + fn) and
    pooledAP = tp / (tp + fp + fn), which the 2018 Data Science Bowl and most work on nuclei call
    (average) precision. (Caicedo et al., Nature Methods 16, 2019. The Bowl averaged over images
    instead of pooling them.) Neither uses scores, unlike COCO's AP, see `mask_metrics`. A figure is
    -1 if nothing is labelled and nothing is found. Raises ValueError for counts of another shape.

    >>> pooled_figures(np.array([[3, 1, 1]]), [0.5])
    {'F1@.5': 0.75, 'pooledAP@.5': 0.6}
    """
    counts, thresholds = as_numbers("counts", counts), _thresholds(thresholds)
    if counts.shape != (len(thresholds), 3):
        raise ValueError(
            f"counts must be ({len(thresholds)}, 3) for thresholds ({len(thresholds)},), "
            f"got shape {counts.shape}"
        )
    figures = {}
    for threshold, (right, wrong, missed) in zip(thresholds, counts):
        at = f"@{threshold:g}".replace("@0.", "@.")
        every = right + wrong + missed
        figures[f"F1{at}"] = float(2 * right / (every + right)) if every else -1.0
        figures[f"pooledAP{at}"] = float(right / every) if every else -1.0
    return figures


def _label_map(name: str, values: np.ndarray) -> np.ndarray:
    labels = as_numbers(name, values)
    if labels.dtype.kind == "f":
        raise ValueError(f"{name} must be integer, got {labels.dtype}")
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def _thresholds(values: Sequence[float]) -> np.ndarray:
    thresholds = as_numbers("thresholds", values)
    if thresholds.ndim != 1:
        raise ValueError(f"thresholds must be (T,), got shape {thresholds.shape}")
    if thresholds.min(initial=1) < 0.5:
        raise ValueError(f"thresholds are {thresholds.tolist()}; they must be .5 or more")
    return thresholds


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber labels (H·W,) 0 to N, 0 for background; also return pixel counts (N + 1,)."""
    flat = np.maximum(labels.reshape(-1), 0)
    values, areas = _counted(flat)
    if values[:1] != 0:
        values, areas = np.append(0, values), np.append(0, areas)
    if values[-1] > _table_size(flat):
        return np.searchsorted(values, flat), areas
    table = np.zeros(values[-1] + 1, np.int64)
    table[values] = np.arange(len(values))
    return table[flat], areas


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct non-negative values in order, and their counts; int64."""
    if values.max(initial=0) > _table_size(values):
        found, counts = np.unique(values, return_counts=True)
        return found.astype(np.int64), counts
    counts = np.bincount(values)
    found = np.flatnonzero(counts)
    return found, counts[found]


def _table_size(values: np.ndarray) -> int:
    """Return the size of a lookup table above which sorting is faster."""
    return 8 * values.size + 256
