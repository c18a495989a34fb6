"""One image with its instances: what every dataset yields, transform changes and task encodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sample:
    """An image and everything known about it, in pixels of that image.

    image: (H, W, 3) uint8, RGB.
    keypoints: (N, K, 3) float32, x, y, v; v is 0 unlabelled, 1 labelled but hidden, 2 visible.
        K is 0 where instances have boxes or masks alone.
    boxes: (N, 4) float32, x, y, width, height; 0 is the left edge of the first pixel.
    areas: (N,) float32, in squared pixels.
    ignore: (H, W) bool, True where nothing is to be learned (crowds, padding, unlabelled people).
    labelled: (K,) bool, keypoint types that the source of this image labels at all.
    image_id, file: where it comes from.
    classes: (N,) int64, indices into the dataset's classes; zeros when left out.
    labels: (H, W) int32, where every pixel's instance is known: n + 1 is instance n, 0 none.
    """

    image: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignore: np.ndarray
    labelled: np.ndarray
    image_id: int = -1
    file: str = ""
    classes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not len(self.classes):
            self.classes = np.zeros(len(self.boxes), np.int64)
