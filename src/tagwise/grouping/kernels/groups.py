"""The compiled loops that gather the keypoints of groups, and find duplicate groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.geometry import boxes_around, count_common, pair_oks
from tagwise.runtime import compiled


class TypedPeaks(NamedTuple):
    """The peaks of one image, ordered by keypoint type.

    xy (P, 2), tags (P, D) and scores (P,) float32; starts (K + 1,) int64, the first peak of each
    type, then P.
    """

    xy: np.ndarray
    tags: np.ndarray
    scores: np.ndarray
    starts: np.ndarray


@compiled()
def gather_groups(peaks, group, count):
    """Gather the keypoints (N, K, 3), tags (N, K, D) and peaks (N, K) of groups.

    peaks: TypedPeaks. group: (P,) int64, the group of each peak, -1 for none. count: N. A missing
    keypoint has x = y = NaN and score 0, tag NaN, peak -1.
    """
    types = len(peaks.starts) - 1
    keypoints = np.full((count, types, 3), np.nan, np.float32)
    keypoints[:, :, 2] = 0
    tags = np.full((count, types, peaks.tags.shape[1]), np.nan, np.float32)
    members = np.full((count, types), -1, np.int64)
    for k in range(types):
        for p in range(peaks.starts[k], peaks.starts[k + 1]):
            n = group[p]
            if n >= 0:
                members[n, k] = p
                keypoints[n, k, 0], keypoints[n, k, 1] = peaks.xy[p, 0], peaks.xy[p, 1]
                keypoints[n, k, 2] = peaks.scores[p]
                tags[n, k] = peaks.tags[p]
    return keypoints, tags, members


@compiled()
def duplicates(keypoints, sigma, limit):
    """Find groups that have nearly the same pose as a better group, (N,) bool.

    keypoints: (N, K, 3) x, y, score (0 for missing), best group first. The similarity is the object
    keypoint similarity of the worse group's keypoints to the better group's. Missing keypoints
    count 0, all types have the same sigma, and the area is that of the larger bounding box.
    """
    count, types = keypoints.shape[:2]
    boxes, sigmas = boxes_around(keypoints, 1.0), np.full(types, sigma)
    area = boxes[:, 2] * boxes[:, 3]
    duplicate = np.zeros(count, np.bool_)
    for n in range(count):
        pose, present = keypoints[n], count_common(keypoints[n], keypoints[n])
        for better in range(n):
            if not duplicate[better]:
                larger = max(area[n], area[better])
                if pair_oks(keypoints[better], pose, larger, sigmas, present, limit) > limit:
                    duplicate[n] = True
                    break
    return duplicate
