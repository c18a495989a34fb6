"""Masks on photos, drawn as translucent fills with sharp outlines."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from tagwise.plot.labels import text_size, write
from tagwise.plot.style import PALETTE, RIM, SUBPIXEL


class MasksLike(Protocol):
    """The attributes of masks that are drawn; `tagwise.Masks` has them."""

    def __len__(self) -> int: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def boxes(self) -> np.ndarray: ...
    def polygons(self) -> list[list[np.ndarray]]: ...


_NEAR = 3  # pixels within which two instances are neighbours that must differ in colour


def draw_masks(
    image: np.ndarray,
    masks: MasksLike,
    *,
    opacity: float = 0.3,
    width: float | None = None,
    labels: bool = True,
    conf: bool = True,
) -> np.ndarray:
    """Fill and outline every instance on a copy of the image, neighbours in different colours.

    image: (H, W, 3) uint8 RGB of the size of the masks; it is not changed.
    opacity: the opacity of the fills, 0 to 1; faint instances have fainter fills.
    width: the width of the outlines in pixels; by default, it depends on the size of the image.
    labels, conf: write the score into each instance that is large enough, if both are true.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    if canvas.shape[:2] != masks.labels.shape:
        raise ValueError(f"masks are {masks.labels.shape}, but the image is {canvas.shape[:2]}")
    colours = np.array(PALETTE, np.uint8)[neighbour_colours(masks.labels, len(masks))]
    table = np.concatenate([np.zeros((1, 3), np.uint8), colours])
    cover = np.concatenate([[0], opacity * np.clip(masks.scores / 0.6, 1 / 3, 1)])
    inside = np.flatnonzero(masks.labels)
    numbers, pixels = masks.labels.ravel()[inside], canvas.reshape(-1, 3)
    share = cover.astype(np.float32)[numbers][:, None]
    under = pixels[inside].astype(np.float32)
    pixels[inside] = np.rint(under + (table[numbers] - under) * share).astype(np.uint8)
    if width is None:
        width = np.hypot(*canvas.shape[:2]) / 700
    thickness = max(1, round(width))
    for outlines, colour in zip(masks.polygons(), colours.tolist()):
        # From edges to centres of pixels, in OpenCV's fixed point.
        points = [np.rint((part - 0.5) * 2**SUBPIXEL).astype(int) for part in outlines]
        cv2.polylines(canvas, points, True, colour, thickness, cv2.LINE_AA, SUBPIXEL)
    if labels and conf:
        _write_scores(canvas, masks)
    return canvas


def _write_scores(canvas: np.ndarray, masks: MasksLike) -> None:
    """Write the scores in the middle of the instances that are wider and taller than the text."""
    for (x, y, w, h), score in zip(masks.boxes.tolist(), masks.scores.tolist()):
        text = f"{score:.2f}"
        scale, across, height, _ = text_size(canvas.shape, text)
        if across < 0.8 * w and height < 0.6 * h:
            at = (round(x + (w - across) / 2), round(y + (h + height) / 2))
            write(canvas, (at[0] + 1, at[1] + 1), text, scale, RIM)
            write(canvas, at, text, scale, (255, 255, 255))


def neighbour_colours(labels: np.ndarray, count: int) -> np.ndarray:
    """Choose a colour number for each instance (N,) that differs from those of its neighbours.

    labels: (H, W) int32 label map of instances 1 to N. Starting at its own number modulo the number
    of colours, each instance takes the first colour that no earlier neighbour has. Neighbours may
    share a colour only if an instance has more neighbours than there are colours.
    """
    near: list[set[int]] = [set() for _ in range(count)]
    for one, other in _neighbours(labels):
        near[max(one, other)].add(min(one, other))
    number, colours = len(PALETTE), []
    for n in range(count):
        taken = {colours[m] for m in near[n]}
        candidates = (each % number for each in range(n, n + number))
        colours.append(next((each for each in candidates if each not in taken), n % number))
    return np.array(colours, np.int64)


def _neighbours(labels: np.ndarray) -> np.ndarray:
    """Pairs (M, 2) of instances that come within a few pixels of each other."""
    numbers = labels.astype(np.float32)  # exact up to 16 million
    window = np.ones((2 * _NEAR + 1, 2 * _NEAR + 1), np.uint8)
    highest = cv2.dilate(numbers, window)
    lowest = -cv2.dilate(np.where(labels > 0, -numbers, -np.inf).astype(np.float32), window)
    # Pair each label with the highest and the lowest label of its neighbourhood. Where three labels
    # meet, the pairs that one pixel misses are found at the pixels of the other labels.
    pairs, base = [], int(labels.max(initial=0)) + 1
    for other in (highest, lowest):
        differs = np.flatnonzero((labels > 0) & (other != numbers) & np.isfinite(other))
        one, two = labels.ravel()[differs], other.ravel()[differs].astype(np.int64)
        pairs.append(one * np.int64(base) + two)  # a number for each pair sorts faster than pairs
    return np.column_stack(np.divmod(np.unique(np.concatenate(pairs)), base)) - 1
