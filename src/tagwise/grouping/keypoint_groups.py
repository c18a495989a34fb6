"""The results of grouping keypoints: the instances of one image, or of a batch, in cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self, TypeVar

import numpy as np

from tagwise.grouping.rows import Rows


@dataclass(frozen=True)
class KeypointGroups(Rows):
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

    def best_first(self, scores: np.ndarray) -> np.ndarray:
        """The indices of the instances (N,), highest score first."""
        return np.argsort(-scores, kind="stable")

    def ranked(self, scores: np.ndarray) -> Self:
        """The same instances with new scores (N,), best first."""
        return replace(self, scores=scores).take(self.best_first(scores))


@dataclass(frozen=True)
class BatchGroups(KeypointGroups):
    """The grouped keypoints of a batch, sorted by image; those of an image best instance first.

    images: (N,) int64, the index of the image of each instance.
    peaks: the index among the peaks of the batch.

    Each step of grouping is done for all images together, so that a batch needs few calls.
    """

    images: np.ndarray

    def best_first(self, scores: np.ndarray) -> np.ndarray:
        return np.lexsort((-scores, self.images))

    def parts(self, count: int) -> list[slice]:
        """The instances of each of `count` images."""
        starts = np.searchsorted(self.images, np.arange(count + 1)).tolist()
        return [slice(*bounds) for bounds in pairwise(starts)]

    def split(self, first_peaks: np.ndarray) -> list[KeypointGroups]:
        """The groups of each image. first_peaks: (B,), the index of its first peak."""
        groups = []
        for part, first in zip(self.parts(len(first_peaks)), first_peaks):
            peaks = self.peaks[part]
            peaks = np.where(peaks < 0, peaks, peaks - first)
            groups.append(
                KeypointGroups(self.keypoints[part], self.scores[part], self.tags[part], peaks)
            )
        return groups


AnyGroups = TypeVar("AnyGroups", bound=KeypointGroups)
