"""Match found poses with labelled ones as pycocotools does, in compiled loops.

The rules are those of `COCOeval` with "keypoints": `computeOks`, `evaluateImg` and `accumulate`
(https://github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tagwise.geometry import count_common, pair_oks
from tagwise.runtime import compiled

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
# The ranges of areas in squared pixels: all, medium, large.
AREAS = np.array([[0, 1e10], [32**2, 96**2], [96**2, 1e10]], np.float64)
_SPACING = float(np.spacing(1.0))
_UNCOUNTED, _HIT, _FALSE = 0, 1, 2  # what a detection is at one OKS threshold


@dataclass(frozen=True)
class PoseTruth:
    """The labelled poses of I images, G in all, with K keypoint types.

    image_ids: I ids, in the order that decides between detections of equal score.
    category: the id of the category. images: (G,) int64, the index of the image of each pose.
    keypoints: (G, K, 3) float64 x, y, v; a type with v > 0 is labelled.
    boxes: (G, 4) float64 x, y, width, height. areas: (G,) float64 in squared pixels.
    crowds: (G,) bool. A crowd, and a pose without labelled types, counts neither as found nor as
    missed; a crowd may be found several times. crowd_index: (I,) float64, NaN where not given.
    """

    image_ids: list[Any]
    category: Any
    images: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray
    crowd_index: np.ndarray

    def part(self, image_ids: Iterable[Any]) -> PoseTruth:
        """Return the images with these ids, and their poses."""
        chosen = set(image_ids)
        kept = np.array([each in chosen for each in self.image_ids], bool)
        of_pose, numbers = kept[self.images], np.cumsum(kept) - 1
        return replace(
            self,
            image_ids=[each for each, is_kept in zip(self.image_ids, kept) if is_kept],
            images=numbers[self.images[of_pose]],
            keypoints=self.keypoints[of_pose],
            boxes=self.boxes[of_pose],
            areas=self.areas[of_pose],
            crowds=self.crowds[of_pose],
            crowd_index=self.crowd_index[kept],
        )


@dataclass(frozen=True)
class FoundPoses:
    """N detections. images: (N,) int64, indices of `PoseTruth.image_ids`. scores: (N,) float64.

    keypoints: (N, K, 3) float64 x, y, and a third value that does not matter.
    areas: (N,) float64 in squared pixels, NaN for those of the box around all keypoints.
    """

    images: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class Matches:
    """What each of N detections is at 10 OKS thresholds, for 3 ranges of areas.

    verdicts: (N, 3, 10) uint8, best detection first. images: (N,) int64 of the detections.
    positives: (3, I) int64, the number of poses that count in each image.
    """

    verdicts: np.ndarray
    images: np.ndarray
    positives: np.ndarray

    def tables(self, images: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return precision (3, 10, 101) at 101 recalls, and recall (3, 10), of all detections.

        images: (I,) bool, the images that count; None: all. Values are -1 for ranges of areas
        without any pose that counts.
        """
        verdicts, positives = self.verdicts, self.positives
        if images is not None:
            verdicts, positives = verdicts[images[self.images]], positives[:, images]
        return _tables(verdicts, positives.sum(1), RECALLS)


def match_poses(found: FoundPoses, truth: PoseTruth, sigmas: np.ndarray, max_dets: int) -> Matches:
    """Match the best `max_dets` detections of each image with its labelled poses.

    sigmas: (K,) float64, the OKS constant of each keypoint type.
    """
    count = len(truth.image_ids)
    by_image, _ = _grouped(found.images, count)
    # Of equal scores, those of earlier images come first, then those of earlier rows.
    best_first = by_image[np.argsort(-found.scores[by_image], kind="stable")]
    images = found.images[best_first]
    unlabelled = ~(truth.keypoints[..., 2] > 0).any(1) | truth.crowds
    low, high = AREAS[:, :1], AREAS[:, 1:]
    skipped = unlabelled | (truth.areas < low) | (truth.areas > high)
    verdicts = np.zeros((len(images), len(AREAS), len(THRESHOLDS)), np.uint8)
    poses = (np.ascontiguousarray(truth.keypoints), truth.boxes, truth.areas, truth.crowds, skipped)
    _match(
        (found.keypoints, found.areas, best_first),
        _grouped(images, count),
        poses,
        _grouped(truth.images, count),
        sigmas,
        max_dets,
        np.minimum(THRESHOLDS, 1 - 1e-10),
        AREAS,
        verdicts,
    )
    positives = [np.bincount(truth.images[~each], minlength=count) for each in skipped]
    return Matches(verdicts, images, np.stack(positives))


# ---------------------------------------------------------------------- compiled loops


@compiled()
def _grouped(groups, count):
    """Indices in the order of their groups (N,), stable, and where each begins (count + 1,)."""
    starts = np.zeros(count + 1, np.int64)
    for n in range(len(groups)):
        starts[groups[n] + 1] += 1
    for group in range(count):
        starts[group + 1] += starts[group]
    order, places = np.empty(len(groups), np.int64), starts.copy()
    for n in range(len(groups)):
        order[places[groups[n]]] = n
        places[groups[n]] += 1
    return order, starts


@compiled()
def _match(found, found_groups, truth, truth_groups, sigmas, max_dets, limits, ranges, verdicts):
    keypoints, found_areas, best_first = found
    order, starts = found_groups
    poses, boxes, areas, crowds, skipped = truth
    truth_order, truth_starts = truth_groups
    most = 0
    for image in range(len(starts) - 1):
        most = max(most, truth_starts[image + 1] - truth_starts[image])
    taken = np.zeros((len(ranges), len(limits), most), np.bool_)
    near, similarity = np.empty(most, np.int64), np.empty(most)
    pose = np.ones((poses.shape[1], 3))
    counts = np.zeros(most, np.int64)
    for image in range(len(starts) - 1):
        of_image = truth_order[truth_starts[image] : truth_starts[image + 1]]
        taken[:, :, : len(of_image)] = False
        for index in range(len(of_image)):
            counts[index] = count_common(poses[of_image[index]], poses[of_image[index]])
        for place in range(starts[image], min(starts[image + 1], starts[image] + max_dets)):
            n = best_first[order[place]]
            area = _copy_pose(keypoints[n], pose)
            if not np.isnan(found_areas[n]):
                area = found_areas[n]
            close = 0
            for index in range(len(of_image)):
                g = of_image[index]
                if counts[index]:
                    value = pair_oks(pose, poses[g], areas[g], sigmas, counts[index], limits[0])
                else:
                    value = _box_similarity(pose, boxes[g], areas[g], sigmas)
                if value >= limits[0]:
                    near[close], similarity[close] = index, value
                    close += 1
            for a in range(len(ranges)):
                outside = area < ranges[a, 0] or area > ranges[a, 1]
                for t in range(len(limits)):
                    index, best = -1, limits[t]
                    # Poses that count take precedence over those that do not.
                    for skip in (False, True):
                        if index >= 0:
                            break
                        for c in range(close):
                            g = of_image[near[c]]
                            free = not taken[a, t, near[c]] or crowds[g]
                            if skipped[a, g] == skip and free and similarity[c] >= best:
                                index, best = near[c], similarity[c]
                    if index < 0:
                        verdict = _UNCOUNTED if outside else _FALSE
                    else:
                        verdict = _UNCOUNTED if skipped[a, of_image[index]] else _HIT
                        taken[a, t, index] = True
                    verdicts[order[place], a, t] = verdict


@compiled(inline="always")
def _box_similarity(found, box, area, sigmas):
    """OKS of a pose (K, 3) and one without labelled keypoints, which has only a box (4,).

    The distance of a keypoint is that to the box, extended by its width and height on each side.
    """
    total = 0.0
    for k in range(len(found)):
        x = max(0.0, box[0] - box[2] - found[k, 0], found[k, 0] - box[0] - 2 * box[2])
        y = max(0.0, box[1] - box[3] - found[k, 1], found[k, 1] - box[1] - 2 * box[3])
        total += np.exp(-(x * x + y * y) / (8 * sigmas[k] ** 2 * (area + _SPACING)))
    return total / len(found)


@compiled(inline="always")
def _copy_pose(keypoints, pose):
    """Copy x and y of keypoints (K, 3) to a pose, and return the area of the box around them."""
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for k in range(len(pose)):
        x, y = keypoints[k, 0], keypoints[k, 1]
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
        pose[k, 0], pose[k, 1] = x, y
    return (right - left) * (bottom - top)


@compiled()
def _tables(verdicts, positives, recalls):
    """Precision (A, T, R) and recall (A, T) of verdicts (N, A, T); positives: (A,)."""
    N, A, T = verdicts.shape
    precision, recall = np.full((A, T, len(recalls)), -1.0), np.full((A, T), -1.0)
    hits, wrong = np.zeros((A, T), np.int64), np.zeros((A, T), np.int64)
    at_hit = np.empty((A, T, max(positives) + 1))  # the precision at each hit
    for n in range(N):
        for a in range(A):
            for t in range(T):
                if verdicts[n, a, t] == _HIT:
                    hits[a, t] += 1
                    share = hits[a, t] / (hits[a, t] + wrong[a, t] + _SPACING)
                    at_hit[a, t, hits[a, t] - 1] = share
                elif verdicts[n, a, t] == _FALSE:
                    wrong[a, t] += 1
    for a in range(A):
        for t in range(T):
            if positives[a] == 0:
                continue
            recall[a, t] = hits[a, t] / positives[a]
            best = at_hit[a, t]  # the best precision from each hit on
            for hit in range(hits[a, t] - 2, -1, -1):
                best[hit] = max(best[hit], best[hit + 1])
            hit = 0
            for r in range(len(recalls)):
                while hit < hits[a, t] and (hit + 1) / positives[a] < recalls[r]:
                    hit += 1
                precision[a, t, r] = best[hit] if hit < hits[a, t] else 0.0
    return precision, recall
