"""Skeletons on photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from tagwise.plot.labels import draw_label
from tagwise.plot.style import RIM, SUBPIXEL, instance_colour, line_widths, side_colours
from tagwise.skeletons import Skeleton


class PosesLike(Protocol):
    """The attributes of poses that are drawn; `tagwise.Poses` has them."""

    def __len__(self) -> int: ...
    @property
    def keypoints(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
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
    labels: bool = True,
    conf: bool = True,
) -> np.ndarray:
    """Draw the skeleton of every instance in its own colour on a copy of the image.

    Instances with higher scores are drawn on top. Limbs of the left side are lighter than the
    colour of the instance, and limbs of the right side are darker.

    image: (H, W, 3) uint8 RGB; it is not changed.
    width: the line width in pixels; by default, it depends on the sizes of the image and of the
        instance, and faint instances have thinner lines.
    keypoint_threshold: only keypoints with a higher score are drawn.
    numbers: the number of each instance's colour, such as the id of its track; by default its rank.
    labels, conf: write the score above each instance, if both are true.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    boxes = poses.boxes
    usual = line_widths(canvas.shape, boxes[:, 2:].max(axis=1, initial=0), poses.scores)
    sizes = usual if width is None else [float(width)] * len(poses)
    numbers = range(len(poses)) if numbers is None else numbers
    drawn = poses.keypoints[..., 2] > keypoint_threshold
    points = np.where(drawn[..., None], poses.keypoints[..., :2], np.nan)
    for n in reversed(range(len(poses))):
        _draw_skeleton(canvas, points[n], poses.skeleton, instance_colour(numbers[n]), sizes[n])
    if labels and conf:
        for n in reversed(np.flatnonzero(_inside(points, canvas.shape).any(axis=1))):
            text = f"{poses.scores[n]:.2f}"
            draw_label(canvas, boxes[n], text, instance_colour(numbers[n]))
    return canvas


def _inside(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whether points (..., 2) are in the image or near it; False where they are NaN.

    Fixed-point coordinates far outside of the image would overflow, and are not visible anyway.
    """
    height, across = shape[:2]
    far = 4 * max(height, across)
    return (np.abs(points - np.array([across / 2, height / 2])) < far).all(axis=-1)


def _draw_skeleton(
    canvas: np.ndarray,
    points: np.ndarray,
    skeleton: Skeleton,
    colour: tuple[int, int, int],
    width: float,
) -> None:
    """Draw one instance in place. points: (K, 2), NaN for keypoints that are not drawn."""
    inside = _inside(points, canvas.shape)
    fixed = np.rint(np.where(inside[:, None], points, 0) * 2**SUBPIXEL).astype(int)
    shades, sides = side_colours(colour), skeleton.sides
    lines = [
        (tuple(fixed[a]), tuple(fixed[b]), shades[_edge_side(sides[a], sides[b])])
        for a, b in skeleton.edges
        if inside[a] and inside[b]
    ]
    dots = [(tuple(fixed[k]), shades[sides[k]]) for k in np.flatnonzero(inside)]
    # All rims first, so that no rim cuts through a neighbouring limb of the same instance.
    for rim in (0.35 * max(width, 1.0), 0.0):
        for start, end, shade in lines:
            thickness = max(1, round(width + 2 * rim))
            ink = RIM if rim else shade
            cv2.line(canvas, start, end, ink, thickness, cv2.LINE_AA, SUBPIXEL)
        for dot, shade in dots:
            radius = round((0.95 * width + rim) * 2**SUBPIXEL)
            ink = RIM if rim else shade
            cv2.circle(canvas, dot, radius, ink, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)
    if width >= 2:
        bright = tuple(255 - (255 - c) // 4 for c in colour)
        for dot, _ in dots:
            radius = round(0.45 * width * 2**SUBPIXEL)
            cv2.circle(canvas, dot, radius, bright, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)


def _edge_side(one: int, other: int) -> int:
    """The side of an edge: that of its ends, the middle for an edge between both sides."""
    return 0 if one and other and one != other else one or other
