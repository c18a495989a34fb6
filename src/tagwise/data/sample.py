"""An image with its labelled instances, the data type that datasets and transforms return."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sample:
    """An image and its labels, in pixels of that image.

    image: (H, W, 3) uint8, RGB.
    keypoints: (N, K, 3) float32, x, y, v; v is 0 for unlabelled, 1 for labelled but hidden and 2
        for visible keypoints. K is 0 if instances have only boxes or masks.
    boxes: (N, 4) float32, x, y, width, height; 0 is the left edge of the first pixel.
    areas: (N,) float32, in squared pixels.
    ignore: (H, W) bool, True where nothing is learned (crowds, padding, unlabelled people).
    labelled: (K,) bool, the keypoint types that the dataset of this image labels.
    image_id, file: the id and the file name of the image.
    classes: (N,) int64, indices into the classes of the dataset; zeros by default.
    labels: (H, W) int32 label map or None; n + 1 is instance n, 0 is the background.
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
