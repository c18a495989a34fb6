"""What becomes of grouped peaks: their keypoints are gathered, and duplicates are found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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
    """Keypoints (N, K, 3), tags (N, K, D) and peaks (N, K) of groups from their peaks.

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
    """Which groups are nearly the same pose as a better one, (N,) bool.

    keypoints: (N, K, 3) x, y, score (0 for missing), best group first. The similarity is the object
    keypoint similarity of the poorer group's keypoints to the better group's. Missing ones count 0,
    all types have one sigma, and the area is that of the larger bounding box.
    """
    count = len(keypoints)
    area, found = np.ones(count), np.zeros(count)
    duplicate = np.zeros(count, np.bool_)
    for n in range(count):
        area[n], found[n] = _area(keypoints[n])
        for better in range(n):
            if not duplicate[better]:
                scale = 8 * sigma**2 * max(area[n], area[better])
                allowed = found[n] * (1.0 - limit)
                if _similar(keypoints[n], keypoints[better], scale, allowed):
                    duplicate[n] = True
                    break
    return duplicate


@compiled()
def _area(keypoints):
    """The area around the present keypoints of (K, 3), at least 1, and how many are present."""
    found = 0
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for k in range(len(keypoints)):
        x, y, score = keypoints[k]
        if score > 0:
            found += 1
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
    return (max(right - left, 1.0) * max(bottom - top, 1.0) if found else 1.0), found


@compiled()
def _similar(keypoints, others, scale, allowed):
    """Whether keypoints (K, 3) lack less similarity to the others than is allowed.

    Two people are told apart after a few keypoints, mostly without an exponential.
    """
    lacking = 0.0
    for k in range(len(keypoints)):
        if keypoints[k, 2] > 0:
            x, y = keypoints[k, 0] - others[k, 0], keypoints[k, 1] - others[k, 1]
            away = (x * x + y * y) / scale
            near = others[k, 2] > 0 and away < 20.0
            lacking += 1.0 - np.exp(-away) if near else 1.0
            if lacking >= allowed:
                break
    return lacking < allowed
