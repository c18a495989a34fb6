"""Skeletons on photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from tagwise.plot.style import RIM, SUBPIXEL, instance_colour, line_widths
from tagwise.skeletons import Skeleton


class PosesLike(Protocol):
    """The attributes of poses that are drawn; `tagwise.Poses` has them."""

    def __len__(self) -> int: ...
    @property
    def keypoints(self) -> np.ndarray: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def skeleton(self) -> Skeleton: ...


def draw_poses(
    image: np.ndarray,
    poses: PosesLike,
    *,
    width: float | None = None,
    keypoint_threshold: float = 0.2,
    numbers: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw the skeleton of every instance in its own colour on a copy of the image.

    Instances with higher scores are drawn on top.

    image: (H, W, 3) uint8 RGB; it is not changed.
    width: the line width in pixels; by default, it depends on the sizes of the image and of the
        instance.
    keypoint_threshold: only keypoints with a higher score are drawn.
    numbers: the number of each instance's colour, such as the id of its track; by default its rank.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    extent = poses.boxes[:, 2:].max(axis=1, initial=0)
    sizes = line_widths(canvas.shape, extent) if width is None else [float(width)] * len(poses)
    numbers = range(len(poses)) if numbers is None else numbers
    for n in reversed(range(len(poses))):
        drawn = poses.keypoints[n, :, 2] > keypoint_threshold
        points = np.where(drawn[:, None], poses.keypoints[n, :, :2], np.nan)
        _draw_skeleton(canvas, points, poses.skeleton.edges, instance_colour(numbers[n]), sizes[n])
    return canvas


def _draw_skeleton(
    canvas: np.ndarray,
    points: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    colour: tuple[int, int, int],
    width: float,
) -> None:
    """Draw one instance in place. points: (K, 2), NaN for keypoints that are not drawn."""
    # Fixed-point coordinates far outside of the image would overflow, and are not visible anyway.
    height, across = canvas.shape[:2]
    inside = (np.abs(points - (across / 2, height / 2)) < 4 * max(height, across)).all(axis=1)
    fixed = np.rint(np.where(inside[:, None], points, 0) * 2**SUBPIXEL).astype(int)
    lines = [(tuple(fixed[a]), tuple(fixed[b])) for a, b in edges if inside[a] and inside[b]]
    dots = [tuple(point) for point in fixed[inside]]
    rim = max(1.0, width * 0.35)
    # All rims first, so that no rim cuts through a neighbouring limb of the same instance.
    for extra, shade in ((2 * rim, RIM), (0.0, colour)):
        for start, end in lines:
            thickness = max(1, round(width + extra))
            cv2.line(canvas, start, end, shade, thickness, cv2.LINE_AA, SUBPIXEL)
        for dot in dots:
            radius = round((0.95 * width + extra / 2) * 2**SUBPIXEL)
            cv2.circle(canvas, dot, radius, shade, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)
    if width >= 2:
        bright = tuple(int(255 - (255 - c) * 0.25) for c in colour)
        for dot in dots:
            radius = round(0.45 * width * 2**SUBPIXEL)
            cv2.circle(canvas, dot, radius, bright, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)
