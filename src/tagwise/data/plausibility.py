"""Checks that refuse labels in the wrong units or the wrong form, with a hint how to fix them."""

from __future__ import annotations

import numpy as np

from tagwise.errors import UserError
from tagwise.geometry import to_xyxy

_MIN_COORDINATES = 4  # fewer coordinates are not enough to detect normalised labels


def check_pixels(points: np.ndarray, what: str, where: str) -> None:
    """Raise UserError if all points are between 0 and 1, as normalised points are.

    points: (P, 2), x, y of all labelled points of a dataset. what: "keypoints" or "boxes".
    where: the file, for the message.
    """
    if len(points) * 2 < _MIN_COORDINATES or not np.isfinite(points).all():
        return
    if points.min() >= 0 and points.max() <= 1 and len(np.unique(points)) > 2:
        raise UserError(
            f"the {what} of {where} are all between 0 and 1: they look normalised. COCO uses "
            "pixels: multiply x by the width and y by the height of the image"
        )


def check_corner_form(boxes: np.ndarray, sizes: np.ndarray, where: str) -> None:
    """Raise UserError if boxes look like x1, y1, x2, y2 instead of x, y, width, height.

    This is assumed if most boxes extend beyond their image when read as x, y, width, height, and
    none does when read as corners.

    boxes: (N, 4) as given in the file. sizes: (N, 2), the width and height of the image of each
    box, NaN where unknown. where: the file, for the message.
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
            f"{len(boxes)} would extend beyond their image otherwise. COCO uses x, y, width, "
            "height: subtract x1 from x2 and y1 from y2"
        )
