"""Oracles for corner models, which replace one part of a model by the ground truth.

Law and Deng: CornerNet (arXiv:1808.01244), section 4.4, "Error analysis". With "corners", the true
corners take the tags and offsets that the network predicts in their cells; the remaining errors are
not caused by the heatmaps. With "offsets", the corners found in the heatmaps move to the position
of the nearest true corner. With "grouping", they are paired by the ground truth; the remaining
errors are not caused by the tags. With "both", the true corners are at their true positions and are
paired by the ground truth, which shows what the maps can express.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.corners import CornerBoxes, pair_by_truth, pair_corners
from tagwise.grouping.settings import CornerSettings

if TYPE_CHECKING:
    from torch import Tensor

CORNER_ORACLES = ("grouping", "corners", "offsets", "both")

# The largest distance, in cells, of a found corner from its true corner: the offsets of a
# neighbouring cell do not reach farther.
_NEAR = 1.5


def pair_with_truth(
    oracle: str,
    outputs: dict[str, Tensor],
    boxes: np.ndarray,
    classes: np.ndarray,
    settings: CornerSettings,
) -> CornerBoxes:
    """The boxes of one image, in cells, with the help of an oracle.

    oracle: "grouping", "corners", "offsets" or "both". outputs: raw maps by name, of a batch
        of one.
    boxes: (N, 4), x1, y1, x2, y2 of the truth in cells. classes: (N,).
    """
    if oracle in ("corners", "both"):
        peaks = true_corners(boxes, classes, outputs)
    else:
        peaks = _found_corners(outputs, settings)
    if oracle in ("offsets", "both"):
        peaks = with_true_offsets(peaks, boxes, classes)
    if oracle in ("grouping", "both"):
        return pair_by_truth(peaks, [boxes], [classes])[0]
    centres = outputs["centre_heat"].float().sigmoid() if "centre_heat" in outputs else None
    return pair_corners(peaks, settings, centres)[0]


def _found_corners(outputs: dict[str, Tensor], settings: CornerSettings) -> CornerPeaks:
    maps = {name: values.float() for name, values in outputs.items()}
    return find_corners(
        maps["tl_heat"].sigmoid(),
        maps["br_heat"].sigmoid(),
        maps["tl_tag"],
        maps["br_tag"],
        maps["tl_off"],
        maps["br_off"],
        settings,
    )


def true_corners(boxes: np.ndarray, classes: np.ndarray, outputs: dict[str, Tensor]) -> CornerPeaks:
    """The corners of one image that perfect heatmaps would give, with the network's other maps.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). outputs: the network's maps, by name, of
    a batch of one. Scores are 1; corners outside the maps are moved to the nearest cell, as in
    training.
    """
    parts = []
    for corner, xy in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        tags, offsets = (outputs[f"{corner}_{what}"][0].float().cpu() for what in ("tag", "off"))
        last = np.array(tags.shape[:0:-1]) - 1
        cell = np.clip(np.floor(xy), 0, last).astype(np.int64)
        # Sorted by position, because in the order of objects, corners of equal tags would be
        # paired correctly by chance.
        order = np.lexsort(cell.T)
        x, y = cell[order].T
        offset = offsets.numpy()[:, y, x].T
        parts.append((cell[order] + offset, cell[order], classes[order], tags.numpy()[:, y, x].T))
    xy, cell, labels, tag = (np.concatenate(values) for values in zip(*parts))
    starts = np.array([[0, len(parts[0][0]), len(xy)]])
    score = np.ones(len(xy), np.float32)
    return CornerPeaks(xy.astype(np.float32), cell, score, labels, tag.astype(np.float32), starts)


def with_true_offsets(peaks: CornerPeaks, boxes: np.ndarray, classes: np.ndarray) -> CornerPeaks:
    """Move the corners of one image to true corners of their class within 1.5 cells.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). Corners and true corners are matched
    one-to-one with the least sum of distances; corners without a match keep their position.
    """
    from scipy.optimize import linear_sum_assignment

    xy, middle = peaks.xy.copy(), peaks.starts[0, 1]
    for part, true in (
        (np.arange(middle), boxes[:, :2]),
        (np.arange(middle, len(peaks)), boxes[:, 2:]),
    ):
        centre = peaks.cells[part] + 0.5
        distance = np.linalg.norm(centre[:, None] - true[None], axis=2)
        near = (distance <= _NEAR) & (peaks.classes[part][:, None] == classes[None])
        peak, corner = linear_sum_assignment(np.where(near, distance, 1e6))
        matched = near[peak, corner]
        xy[part[peak[matched]]] = true[corner[matched]]
    return replace(peaks, xy=xy)


def corner_tags(boxes: np.ndarray, outputs: dict[str, Tensor]) -> np.ndarray:
    """The tags that a network predicts at the true corners of one image.

    boxes: (N, 4), x1, y1, x2, y2 in cells. outputs: raw maps by name, of a batch of one.
    Returns (N, 2, D) float32, of the top-left and the bottom-right corner; corners outside the maps
    are moved to the nearest cell, as in training.
    """
    found = []
    for corner, xy in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        tags = outputs[f"{corner}_tag"][0].float().cpu().numpy()
        last = np.array(tags.shape[:0:-1]) - 1
        x, y = np.clip(np.floor(xy), 0, last).astype(np.int64).T
        found.append(tags[:, y, x].T)
    return np.stack(found, 1).astype(np.float32)
