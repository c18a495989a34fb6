"""Clipping, covering and removing the instances of a sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tagwise.data.regions import Size, paint_region
from tagwise.data.sample import Sample
from tagwise.geometry import to_xywh, to_xyxy
from tagwise.label_maps import label_map_instances

MIN_VISIBLE = 0.3  # objects with a smaller visible fraction of their box are ignored


def keep_visible(sample: Sample, whole: np.ndarray) -> Sample:
    """Remove the instances of which too little is visible.

    sample: a sample whose boxes are already clipped to the visible part.
    whole: (N, 4) float32, the boxes before clipping.

    Instances of a label map are kept if they have a pixel, and get their box and area from their
    pixels. Instances with keypoints are kept if a keypoint is labelled. Other instances are kept
    if at least MIN_VISIBLE of the area of their box remains. The remainder of a removed box is
    added to sample.ignore, in place, because it is not background.
    """
    if sample.labels is not None:
        boxes, areas = label_map_instances(sample.labels, len(sample.boxes))
        return keep_instances(replace(sample, boxes=boxes, areas=areas), areas > 0)
    if sample.keypoints.shape[1]:
        return keep_instances(sample, (sample.keypoints[..., 2] > 0).any(1))
    left = sample.boxes[:, 2:].prod(1) / np.maximum(whole[:, 2:].prod(1), 1e-6)
    keep = left >= MIN_VISIBLE
    for box in sample.boxes[~keep]:
        paint_region(sample.ignore, tuple(box))
    return keep_instances(replace(sample, areas=sample.areas * left), keep)


def keep_instances(sample: Sample, keep: np.ndarray) -> Sample:
    """Select instances of a sample; keep: (N,) bool. The labels of a label map are renumbered."""
    if keep.all():
        return sample
    labels = sample.labels
    if labels is not None:
        numbers = np.zeros(len(keep) + 1, np.int32)
        numbers[1:][keep] = np.arange(1, keep.sum() + 1)
        labels = numbers.take(labels)
    return replace(
        sample,
        keypoints=sample.keypoints[keep],
        boxes=sample.boxes[keep],
        areas=sample.areas[keep],
        classes=sample.classes[keep],
        labels=labels,
    )


def inside(keypoints: np.ndarray, size: Size) -> np.ndarray:
    """Whether keypoints (..., 3) are inside a canvas of `size` (width, height); bool (...)."""
    x, y = keypoints[..., 0], keypoints[..., 1]
    return (x >= -0.5) & (x < size[0] - 0.5) & (y >= -0.5) & (y < size[1] - 0.5)


def hide_keypoints(keypoints: np.ndarray, hidden: np.ndarray) -> None:
    """Set keypoints (..., 3) to (0, 0, 0), unlabelled, in place where hidden (...) is True."""
    keypoints[hidden | (keypoints[..., 2] <= 0)] = 0.0


def clip_boxes(boxes: np.ndarray, size: Size) -> np.ndarray:
    """Clip boxes (N, 4) x, y, width, height to a canvas of `size` (width, height)."""
    corners = np.clip(to_xyxy(boxes), 0, (*size, *size))
    return to_xywh(corners).astype(boxes.dtype, copy=False)


def uncovered_boxes(boxes: np.ndarray, patch: tuple[int, int, int, int]) -> np.ndarray:
    """Shrink boxes (N, 4) to the part that a patch (x, y, width, height) does not cover.

    A box becomes shorter where the patch covers its full width, and narrower where the patch
    covers its full height. A box that is completely covered becomes empty.
    """
    corners = to_xyxy(boxes)
    low, high = corners[:, :2], corners[:, 2:]
    start, end = np.split(to_xyxy(patch), 2)
    spans = (start <= low) & (end >= high)
    for axis in (0, 1):
        cut = spans[:, 1 - axis]
        left = cut & (start[axis] <= low[:, axis])
        right = cut & (end[axis] >= high[:, axis])
        low[left, axis] = np.clip(end[axis], low[left, axis], high[left, axis])
        high[right, axis] = np.clip(start[axis], low[right, axis], high[right, axis])
    return to_xywh(corners)
