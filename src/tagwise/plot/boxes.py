"""Boxes on photos, with the two corners that were paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import cv2
import numpy as np

from tagwise.geometry import to_xyxy
from tagwise.plot.labels import draw_label
from tagwise.plot.style import RIM, SUBPIXEL, instance_colour, line_widths

Colours = Literal["class", "instance", "tag"]


class BoxesLike(Protocol):
    """The attributes of boxes that are drawn; `tagwise.Boxes` has them."""

    def __len__(self) -> int: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def classes(self) -> np.ndarray: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def tags(self) -> np.ndarray | None: ...


def draw_boxes(
    image: np.ndarray,
    boxes: BoxesLike,
    *,
    colours: Colours = "class",
    corners: bool = False,
    labels: bool = True,
    conf: bool = True,
    width: float | None = None,
) -> np.ndarray:
    """Draw every box with its class and its score on a copy of the image, the best boxes on top.

    image: (H, W, 3) uint8 RGB; it is not changed.
    colours: one per class, one per instance, or by tag: corners with similar tags then have similar
        hues, and a wrong pair appears as a box with dots of two colours.
    corners: join the two paired corners by a line and mark them.
    labels: write the class and, with `conf`, the score.
    width: the line width in pixels; by default, it depends on the sizes of the image and of the
        box, and faint boxes have thinner lines.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    extent = boxes.boxes[:, 2:].max(axis=1, initial=0)
    usual = line_widths(canvas.shape, extent, boxes.scores)
    sizes = usual if width is None else [float(width)] * len(boxes)
    shades = _shades(boxes, colours)
    ends = _ends(boxes.boxes)
    for n in reversed(range(len(boxes))):
        draw_outline(canvas, ends[n], tuple(shades[n].mean(0).round().tolist()), sizes[n])
        if corners:
            _join(canvas, ends[n], shades[n], sizes[n])
    if labels:
        for n in reversed(range(len(boxes))):
            score = f" {boxes.scores[n]:.2f}" if conf else ""
            text = f"{boxes.names[boxes.classes[n]]}{score}"
            draw_label(canvas, boxes.boxes[n], text, tuple(shades[n].mean(0).round().tolist()))
    return canvas


def draw_outlines(
    image: np.ndarray, boxes: np.ndarray, scores: np.ndarray, numbers: Sequence[int]
) -> np.ndarray:
    """Draw an outline around each box on a copy of the image, in the colour of its number.

    image: (H, W, 3) uint8 RGB; it is not changed. boxes: (N, 4) x, y, width, height.
    scores: (N,); faint boxes have thinner lines. numbers: (N,), such as the ids of tracks.
    """
    canvas = np.array(image, np.uint8, order="C")
    widths = line_widths(canvas.shape, boxes[:, 2:].max(axis=1, initial=0), scores)
    for ends, number, width in zip(_ends(boxes), numbers, widths):
        draw_outline(canvas, ends, instance_colour(number), width)
    return canvas


def _ends(boxes: np.ndarray) -> np.ndarray:
    """The corners (N, 2, 2) of boxes (N, 4), in the coordinates of `fixed_point`."""
    corners = to_xyxy(np.asarray(boxes, np.float64)) - 0.5  # from edges to centres of pixels
    return fixed_point(corners).reshape(-1, 2, 2)


def tag_colours(tags: np.ndarray) -> np.ndarray:
    """Compute bright colours for tags, so that similar tags have similar colours.

    tags: (..., D). A single component determines the hue. With several components, the hue is the
    direction of the first two from the middle of all tags. Returns (..., 3) uint8 RGB.
    """
    if not tags.size:
        return np.full((*tags.shape[:-1], 3), 200, np.uint8)
    flat = np.nan_to_num(tags.reshape(-1, tags.shape[-1]).astype(np.float64))
    middle = flat - (flat.min(0) + flat.max(0)) / 2
    if flat.shape[1] == 1:
        # Not the full circle of hues, because its two ends look the same.
        turn = 0.4 + 0.4 * middle[:, 0] / max(np.abs(middle).max(), 1e-9)
    else:
        turn = np.arctan2(middle[:, 1], middle[:, 0]) / (2 * np.pi) % 1
    hsv = np.stack([turn * 179, np.full_like(turn, 175), np.full_like(turn, 255)], -1)
    rgb = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return rgb.reshape(*tags.shape[:-1], 3)


def _shades(boxes: BoxesLike, colours: Colours) -> np.ndarray:
    """RGB of the two corners of each box, (N, 2, 3)."""
    if colours == "tag":
        return tag_colours(boxes.tags)
    numbers = boxes.classes if colours == "class" else np.arange(len(boxes))
    shades = np.array([instance_colour(int(n)) for n in numbers]).reshape(-1, 1, 3)
    return np.repeat(shades, 2, axis=1)


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert positions in pixels to the fixed-point numbers of OpenCV's drawing functions."""
    # Fixed-point coordinates far outside of the image would overflow, and are not visible anyway.
    return np.rint(np.clip(points, -1e5, 1e5) * 2**SUBPIXEL).astype(int)


def draw_outline(canvas: np.ndarray, ends: np.ndarray, colour: tuple, width: float) -> None:
    """Draw a box with a dark rim, in place; ends: (2, 2) fixed-point corners."""
    rim = 0.35 * max(1.0, width)
    for extra, shade in ((2 * rim, RIM), (0.0, colour)):
        thickness = max(1, round(width + extra))
        cv2.rectangle(
            canvas, tuple(ends[0]), tuple(ends[1]), shade, thickness, cv2.LINE_AA, SUBPIXEL
        )


def _join(canvas: np.ndarray, ends: np.ndarray, shades: np.ndarray, width: float) -> None:
    """Draw the line between the corners, half in the colour of each, and a dot at each corner."""
    middle = tuple(ends.mean(0).astype(int))
    thin = max(1, round(width * 0.6))
    for end, shade in zip(ends, shades.tolist()):
        cv2.line(canvas, tuple(end), middle, shade, thin, cv2.LINE_AA, SUBPIXEL)
    for end, shade in zip(ends, shades.tolist()):
        for radius, fill in ((1.9 * width + 1, RIM), (1.9 * width, shade)):
            size = round(radius * 2**SUBPIXEL)
            cv2.circle(canvas, tuple(end), size, fill, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)
