"""The compiled loops that gather the keypoints of groups, and find duplicate groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.geometry import count_common, pair_oks
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
    dims = peaks.tags.shape[1]
    keypoints = np.empty((count, types, 3), np.float32)
    tags = np.empty((count, types, dims), np.float32)
    members = np.empty((count, types), np.int64)
    for n in range(count):
        for k in range(types):
            members[n, k] = -1
            keypoints[n, k, 0], keypoints[n, k, 1], keypoints[n, k, 2] = np.nan, np.nan, 0.0
            for d in range(dims):
                tags[n, k, d] = np.nan
    for k in range(types):
        for p in range(peaks.starts[k], peaks.starts[k + 1]):
            n = group[p]
            if n >= 0:
                members[n, k] = p
                keypoints[n, k, 0], keypoints[n, k, 1] = peaks.xy[p, 0], peaks.xy[p, 1]
                keypoints[n, k, 2] = peaks.scores[p]
                for d in range(dims):
                    tags[n, k, d] = peaks.tags[p, d]
    return keypoints, tags, members


@compiled()
def duplicates(keypoints, areas, sigmas, limit):
    """Find groups that have nearly the same pose as a better group, (N,) bool.

    keypoints: (N, K, 3) x, y, score (0 for missing), best group first. areas: (N,) of their boxes.
    sigmas: (K,). The similarity is the object keypoint similarity of the worse group's keypoints to
    the better group's, where missing keypoints count 0, and the area is the larger of the two.
    """
    count = len(keypoints)
    duplicate = np.empty(count, np.bool_)
    for n in range(count):
        duplicate[n] = False
        pose, present = keypoints[n], count_common(keypoints[n], keypoints[n])
        for better in range(n):
            if not duplicate[better]:
                larger = max(areas[n], areas[better])
                if pair_oks(keypoints[better], pose, larger, sigmas, present, limit) > limit:
                    duplicate[n] = True
                    break
    return duplicate
