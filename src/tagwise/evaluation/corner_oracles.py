"""Which part of a corner model limits it: oracles put the truth in place of one part.

Law and Deng: CornerNet (arXiv:1808.01244), section 4.4, "Error analysis". With "corners" the true
corners take the tags and offsets that the network predicts in their cells: what is still missing
then is not the heatmaps' fault. With "offsets" the corners that the heatmaps show lie exactly where
the nearest true corner does. With "grouping" they are paired by the truth: what is missing then is
not the tags' fault.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.corners import CornerBoxes, pair_by_truth, pair_corners
from tagwise.grouping.settings import CornerSettings

CORNER_ORACLES = ("grouping", "corners", "offsets")

# A found corner is that of an object if it is this near, in cells: offsets of a cell's neighbours
# reach no farther.
_NEAR = 1.5


def pair_with_truth(
    oracle: str,
    outputs: dict[str, Tensor],
    boxes: np.ndarray,
    classes: np.ndarray,
    settings: CornerSettings,
) -> CornerBoxes:
    """The boxes of one image, in cells, had the model an oracle's help.

    oracle: "grouping", "corners" or "offsets". outputs: raw maps by name, of a batch of one.
    boxes: (N, 4), x1, y1, x2, y2 of the truth in cells. classes: (N,).
    """
    if oracle == "corners":
        peaks = true_corners(boxes, classes, outputs)
    else:
        peaks = _found_corners(outputs, settings)
    if oracle == "offsets":
        peaks = with_true_offsets(peaks, boxes, classes)
    if oracle == "grouping":
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
    """Corners of one image as perfect heatmaps would give them, with the network's other maps.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). outputs: the network's maps, by name, of
    a batch of one. Scores are 1; corners outside the maps count in the nearest cell, as in
    training.
    """
    parts = []
    for corner, xy in (("tl", boxes[:, :2]), ("br", boxes[:, 2:])):
        tags, offsets = (outputs[f"{corner}_{what}"][0].float().cpu() for what in ("tag", "off"))
        last = np.array(tags.shape[:0:-1]) - 1
        cell = np.clip(np.floor(xy), 0, last).astype(np.int64)
        # By place, for in the order of objects equal tags would be dealt out rightly by chance.
        order = np.lexsort(cell.T)
        x, y = cell[order].T
        offset = offsets.numpy()[:, y, x].T
        parts.append((cell[order] + offset, cell[order], classes[order], tags.numpy()[:, y, x].T))
    xy, cell, kinds, tag = (np.concatenate(values) for values in zip(*parts))
    starts = np.array([[0, len(parts[0][0]), len(xy)]])
    score = np.ones(len(xy), np.float32)
    return CornerPeaks(xy.astype(np.float32), cell, score, kinds, tag.astype(np.float32), starts)


def with_true_offsets(peaks: CornerPeaks, boxes: np.ndarray, classes: np.ndarray) -> CornerPeaks:
    """Corners of one image, moved to the true corner of their class that lies within 1.5 cells.

    boxes: (N, 4), x1, y1, x2, y2 in cells. classes: (N,). Each true corner draws one, the nearest
    in the sum of all distances; corners without any stay where the network saw them.
    """
    xy, middle = peaks.xy.copy(), peaks.starts[0, 1]
    for part, true in (
        (np.arange(middle), boxes[:, :2]),
        (np.arange(middle, len(peaks)), boxes[:, 2:]),
    ):
        centre = peaks.cells[part] + 0.5
        distance = np.linalg.norm(centre[:, None] - true[None], axis=2)
        near = (distance <= _NEAR) & (peaks.classes[part][:, None] == classes[None])
        peak, corner = linear_sum_assignment(np.where(near, distance, 1e6))
        drawn = near[peak, corner]
        xy[part[peak[drawn]]] = true[corner[drawn]]
    return replace(peaks, xy=xy)
