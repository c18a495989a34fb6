"""The result of grouping keypoints: the instances of one image, in cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class KeypointGroups:
    """The grouped keypoints of one image, best instance first.

    keypoints: (N, K, 3) float32, x and y in cells and score; NaN, NaN, 0 where missing.
    scores: (N,) float32 in [0, 1], the mean keypoint score with missing ones as 0.
    tags: (N, K, D) float32, NaN where no peak was found.
    peaks: (N, K) int64, the index of the keypoint's peak among the peaks of the image, -1 for none.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    tags: np.ndarray
    peaks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: np.ndarray) -> KeypointGroups:
        """Select instances by an index array or a mask, in its order."""
        return KeypointGroups(
            self.keypoints[index], self.scores[index], self.tags[index], self.peaks[index]
        )
