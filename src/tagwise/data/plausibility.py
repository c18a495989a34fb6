"""Labels in other units than pixels, told by their values and refused with a hint."""

from __future__ import annotations

import numpy as np

from tagwise.errors import UserError
from tagwise.geometry import to_xyxy

_ENOUGH = 4  # coordinates; of fewer, nothing can be said


def check_pixels(points: np.ndarray, what: str, where: str) -> None:
    """Raises UserError if points lie between 0 and 1, all of them, as normalised ones do.

    points: (P, 2) x, y of all labelled points of a set. what: "keypoints" or "boxes".
    """
    if len(points) * 2 < _ENOUGH or not np.isfinite(points).all():
        return
    if points.min() >= 0 and points.max() <= 1 and len(np.unique(points)) > 2:
        raise UserError(
            f"the {what} of {where} all lie between 0 and 1: they look normalised. COCO counts "
            "pixels: multiply x by the width and y by the height of the image"
        )


def check_corner_form(boxes: np.ndarray, sizes: np.ndarray, where: str) -> None:
    """Raises UserError if boxes look like corners x1, y1, x2, y2 in place of x, y, width, height.

    boxes: (N, 4) as the file has them. sizes: (N, 2) width and height of each one's image, NaN
    where unknown. They look so if most would leave their image as x, y, width, height and all lie
    in it as corners.
    """
    known = np.isfinite(sizes).all(1)
    boxes, sizes = boxes[known], sizes[known]
    if len(boxes) < 2:
        return
    outside = (to_xyxy(boxes)[:, 2:] > sizes + 1).any(1)
    as_corners = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes[:, 2:] <= sizes + 1).all(1)
    if outside.mean() > 0.5 and as_corners.all():
        raise UserError(
            f"the boxes of {where} look like corners x1, y1, x2, y2: {int(outside.sum())} of "
            f"{len(boxes)} would leave their image otherwise. COCO wants x, y, width, height: "
            "subtract x1 from x2 and y1 from y2"
        )
