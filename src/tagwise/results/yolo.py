"""The rows of numbers that YOLO label files of Ultralytics have after the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tagwise.data.regions import Size


def box_numbers(box: Sequence[float], size: Size) -> list[float]:
    """x and y of the centre, width and height, as fractions of the image.

    box: x, y, width, height in pixels. size: width and height of the image.
    """
    x, y, width, height = box
    return fractions([x + width / 2, y + height / 2, width, height], size)


def keypoint_numbers(keypoints: np.ndarray, size: Size) -> list[float]:
    """x and y as fractions and visibility (0 or 2) of each keypoint (K, 3); 0 0 0 if missing."""
    row: list[float] = []
    for x, y, visible in keypoints.tolist():
        row += [*fractions([x, y], size), visible]
    return row


def fractions(values: Sequence[float] | np.ndarray, size: Size) -> list[float]:
    """Coordinates x, y, x, y, ... in pixels as fractions of the image, from 0 to 1."""
    return np.clip(np.reshape(values, (-1, 2)) / size, 0, 1).reshape(-1).tolist()


def yolo_line(number: int, values: Sequence[float]) -> str:
    """One line of a label file: the class, then the numbers."""
    return f"{number} {' '.join(f'{value:.6g}' for value in values)}\n"
