"""Regions of an image in the forms that COCO uses: run lengths, polygons and boxes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from tagwise.geometry import to_xyxy
from tagwise.label_maps import check_rle, rle_mask

Size = tuple[int, int]  # width, height
_FARTHEST = 1e6  # pixels from the image to a corner of a polygon


def check_region(region: Any, size: tuple[int | None, int | None]) -> None:
    """Raise ValueError, with the reason, unless `paint_region` can draw a region on an image.

    region: see `paint_region`. size: (width, height) of the image, None where it is unknown.
    """
    try:
        if isinstance(region, dict):
            height, width = check_rle(region)
            if any(known not in (None, side) for known, side in zip(size, (width, height))):
                raise ValueError(f"mask of {width}×{height} on an image of {size[0]}×{size[1]}")
        elif isinstance(region, tuple):
            np.array(region, float).reshape(4)
        else:
            for polygon in region:
                corners = np.reshape(np.array(polygon, float), (-1, 2))
                if not len(corners) or not (np.abs(corners) <= _FARTHEST).all():
                    raise ValueError("polygon without corners, or with one that is not in pixels")
    except (TypeError, KeyError, UnicodeEncodeError) as error:
        raise ValueError(f"not run lengths, polygons or a box ({error})") from None


def paint_region(mask: np.ndarray, region: Any) -> None:
    """Set mask (H, W) bool to True inside a region, in place.

    region: a COCO RLE, a list of polygons [x, y, x, y, ...], or a box as a tuple (x, y, width,
    height); all in pixels. Raises ValueError for a mask of another size.
    """
    if isinstance(region, dict):
        height, width = check_rle(region)
        if (height, width) != mask.shape:
            raise ValueError(f"mask of {(width, height)} on an image of {mask.shape[::-1]}")
        mask |= rle_mask(region)
    elif isinstance(region, tuple):
        low, high = np.split(to_xyxy(region), 2)
        x0, y0 = (max(0, int(v)) for v in np.floor(low))
        x1, y1 = (max(0, int(v)) for v in np.ceil(high))
        mask[y0:y1, x0:x1] = True
    else:
        for polygon in region:  # separately: together, OpenCV would cut out their overlap
            corners = np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32)
            cv2.fillPoly(mask.view(np.uint8), [corners], 1)
