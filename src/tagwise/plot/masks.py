"""Masks on photos: see-through fills with crisp outlines."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from tagwise.plot.style import PALETTE, SUBPIXEL


class MasksLike(Protocol):
    """What is drawn of masks; `tagwise.Masks` has it."""

    def __len__(self) -> int: ...
    @property
    def labels(self) -> np.ndarray: ...
    def polygons(self) -> list[list[np.ndarray]]: ...


_NEAR = 3  # pixels within which two instances are neighbours that must differ in colour


def draw_masks(
    image: np.ndarray, masks: MasksLike, *, opacity: float = 0.3, width: float | None = None
) -> np.ndarray:
    """The image with every instance filled and outlined, neighbours in different colours.

    image: (H, W, 3) uint8 RGB of the masks' size; it is not changed.
    opacity: of the fills, 0 to 1. width: of outlines in pixels; by default it follows the image.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    if canvas.shape[:2] != masks.labels.shape:
        raise ValueError(f"masks are {masks.labels.shape}, but the image is {canvas.shape[:2]}")
    colours = np.array(PALETTE, np.uint8)[neighbour_colours(masks.labels, len(masks))]
    table = np.concatenate([np.zeros((1, 3), np.uint8), colours])
    inside = masks.labels > 0
    filled = canvas[inside] * (1 - opacity) + table[masks.labels[inside]] * opacity
    canvas[inside] = np.rint(filled).astype(np.uint8)
    if width is None:
        width = np.hypot(*canvas.shape[:2]) / 700
    thickness = max(1, round(width))
    for outlines, colour in zip(masks.polygons(), colours.tolist()):
        # From edges to centres of pixels, in OpenCV's fixed point.
        points = [np.rint((part - 0.5) * 2**SUBPIXEL).astype(int) for part in outlines]
        cv2.polylines(canvas, points, True, colour, thickness, cv2.LINE_AA, SUBPIXEL)
    return canvas


def neighbour_colours(labels: np.ndarray, count: int) -> np.ndarray:
    """A colour number (N,) for each instance, another than those of its neighbours.

    labels: (H, W) int32 label map of instances 1 to N. Each takes the first colour, from one that
    goes round with its number, that no earlier neighbour has; with more neighbours than colours
    some must agree.
    """
    near: list[set[int]] = [set() for _ in range(count)]
    for one, other in _neighbours(labels):
        near[max(one, other)].add(min(one, other))
    colours = np.zeros(count, np.int64)
    for n in range(count):
        taken = {int(colours[m]) for m in near[n]}
        turns = [(n + step) % len(PALETTE) for step in range(len(PALETTE))]
        colours[n] = next((colour for colour in turns if colour not in taken), turns[0])
    return colours


def _neighbours(labels: np.ndarray) -> np.ndarray:
    """Pairs (M, 2) of instances that come within a few pixels of each other."""
    numbers = labels.astype(np.float32)  # exact to 16 million
    window = np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8)
    highest = cv2.dilate(numbers, window)
    lowest = -cv2.dilate(np.where(labels > 0, -numbers, -np.inf).astype(np.float32), window)
    # The own label with the greatest and the least around: of three at one place, all pairs
    # that matter are met from one side or the other.
    pairs = []
    for other in (highest, lowest):
        met = (labels > 0) & (other != numbers) & np.isfinite(other)
        pairs.append(np.column_stack([labels[met], other[met].astype(np.int64)]) - 1)
    return np.unique(np.concatenate(pairs), axis=0)
