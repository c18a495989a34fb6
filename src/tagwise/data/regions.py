"""Regions of an image as COCO writes them: run lengths, polygons and boxes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Size = tuple[int, int]  # width, height


def rle_counts(text: str | bytes) -> np.ndarray:
    """Run lengths of COCO's compressed text form, int64.

    Each number is a chain of 6-bit characters: 5 bits of value, lowest first, and one that says
    that more follow; from the third on a number is the difference to the one two places before
    (cocodataset/cocoapi, maskApi.c, rleFrString).

    >>> rle_counts("111").tolist()
    [1, 1, 1]
    """
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        char = byte - 48
        if not 0 <= char < 64:
            raise ValueError(f"character {chr(byte)!r} does not belong in run lengths")
        value |= (char & 31) << shift
        shift += 5
        if char & 32:
            continue
        if char & 16:
            value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end in the middle of a number")
    return np.array(counts, np.int64)


def rle_mask(rle: dict[str, Any]) -> np.ndarray:
    """The mask (H, W) bool of a COCO RLE, whose "counts" are compressed text or a list.

    Raises ValueError when the runs do not fill the "size" (height, width).
    """
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    runs = rle_counts(counts) if isinstance(counts, str | bytes) else np.asarray(counts, np.int64)
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        raise ValueError(f"runs of {runs.sum()} pixels do not fill a mask of {width}×{height}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T  # COCO counts down the columns


def check_region(region: Any, size: tuple[int | None, int | None]) -> None:
    """Raise ValueError, saying why, unless paint_region can paint this on an image of `size`.

    size: (width, height), None where it is unknown.
    """
    try:
        if isinstance(region, dict):
            height, width = (int(side) for side in region["size"])
            if any(known not in (None, side) for known, side in zip(size, (width, height))):
                raise ValueError(f"mask of {width}×{height} on an image of {size[0]}×{size[1]}")
            rle_mask(region)
        elif isinstance(region, tuple):
            np.array(region, float).reshape(4)
        else:
            for polygon in region:
                if not np.isfinite(np.reshape(np.array(polygon, float), (-1, 2))).all():
                    raise ValueError("polygon with a corner that is not finite")
    except (TypeError, KeyError, UnicodeEncodeError) as error:
        raise ValueError(f"neither run lengths, polygons nor a box ({error})") from None


def paint_region(mask: np.ndarray, region: Any) -> None:
    """Set mask (H, W) bool True over a region, in place.

    region: a COCO RLE, a list of polygons [x, y, x, y, ...], or a box as a tuple (x, y, width,
    height); all in pixels. Raises ValueError for a mask of another size.
    """
    if isinstance(region, dict):
        painted = rle_mask(region)
        if painted.shape != mask.shape:
            raise ValueError(f"mask of {painted.shape[::-1]} on an image of {mask.shape[::-1]}")
        mask |= painted
    elif isinstance(region, tuple):
        x0, y0 = (max(0, int(np.floor(v))) for v in region[:2])
        x1, y1 = (int(np.ceil(region[axis] + region[axis + 2])) for axis in (0, 1))
        mask[y0 : max(y1, 0), x0 : max(x1, 0)] = True
    else:
        for polygon in region:  # one by one: together, OpenCV would cut out where they overlap
            corners = np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32)
            cv2.fillPoly(mask.view(np.uint8), [corners], 1)
