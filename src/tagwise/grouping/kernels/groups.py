"""The compiled loop that finds duplicate groups, and the form of peaks for compiled loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.geometry import count_common, pair_oks
from tagwise.runtime import compiled


class TypedPeaks(NamedTuple):
    """The peaks of a batch, or of one image, ordered by image and keypoint type.

    xy (P, 2), tags (P, D) and scores (P,) float32.
    starts: (B, K + 1) int64, see `tagwise.grouping.peaks.Peaks`; (K + 1,) for one image.
    """

    xy: np.ndarray
    tags: np.ndarray
    scores: np.ndarray
    starts: np.ndarray

    def image(self, index: int) -> TypedPeaks:
        """The peaks of one image of a batch."""
        starts = self.starts[index]
        part = slice(starts[0], starts[-1])
        return TypedPeaks(self.xy[part], self.tags[part], self.scores[part], starts - starts[0])


@compiled()
def duplicates(images, keypoints, areas, sigmas, limit):
    """Find groups that have nearly the same pose as a better group of their image, (N,) bool.

    images: (N,) ascending. keypoints: (N, K, 3) x, y, score (0 for missing), best first within each
    image. areas: (N,) of their boxes. sigmas: (K,). The similarity is the object keypoint
    similarity of the worse group's keypoints to the better group's, where missing keypoints count
    0, and the area is the larger of the two.
    """
    count, first = len(keypoints), 0
    duplicate = np.empty(count, np.bool_)
    for n in range(count):
        duplicate[n] = False
        first = first if images[n] == images[first] else n
        pose, present = keypoints[n], count_common(keypoints[n], keypoints[n])
        for better in range(first, n):
            if not duplicate[better]:
                larger = max(areas[n], areas[better])
                if pair_oks(keypoints[better], pose, larger, sigmas, present, limit) > limit:
                    duplicate[n] = True
                    break
    return duplicate
