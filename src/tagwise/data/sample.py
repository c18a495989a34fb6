"""One image with its instances: what every dataset yields, transform changes and task encodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Sample:
    """An image and everything known about it, in pixels of that image.

    image: (H, W, 3) uint8, RGB.
    keypoints: (N, K, 3) float32, x, y, v; v is 0 unlabelled, 1 labelled but hidden, 2 visible.
    boxes: (N, 4) float32, x, y, width, height.
    areas: (N,) float32, in squared pixels.
    ignore: (H, W) bool, True where nothing is to be learned (crowds, padding, unlabelled people).
    labelled: (K,) bool, keypoint types that the source of this image labels at all.
    image_id, file: where it comes from.
    """

    image: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignore: np.ndarray
    labelled: np.ndarray
    image_id: int = -1
    file: str = ""
