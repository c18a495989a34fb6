"""The errors of poses: of whole instances, and of the keypoints of those that were found.

The kinds of keypoint errors follow Ronchi and Perona: Benchmarking and Error Diagnosis in
Multi-Instance Pose Estimation (ICCV 2017, arXiv:1707.05388), section 3: the similarity of a
keypoint is one term of the OKS; above .85 it is right, from .5 it is jitter, and below it is an
inversion or a swap if it lies on another keypoint of the same or of another instance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tagwise.evaluation.diagnosis.image_errors import (
    FOUND,
    IGNORED,
    RIGHT,
    ImageErrors,
    greedy_match,
    kind_array,
)
from tagwise.geometry import oks
from tagwise.results import Poses

EXACT, NEAR = 0.85, 0.5  # similarity of a keypoint that is right, and of one that is near
_LEAST = 0.1  # OKS from which a detection describes an instance, however badly
_UNLABELLED = "unlabelled"


@dataclass(frozen=True)
class PoseErrors(ImageErrors):
    """The errors of the poses of one image; see `ImageErrors`.

    keypoint_kinds: (N, K) str, the kind of each keypoint of a detection that matches an instance;
        "unlabelled" where there is no truth.
    distances: (N, K) float64, distance from the truth as a share of the instance's size (square
        root of its area), NaN where either is missing.
    holders: (M,) int64, for merged instances the detection that holds their keypoints, else -1.
    """

    keypoint_kinds: np.ndarray
    distances: np.ndarray
    holders: np.ndarray

    kinds: ClassVar[Mapping[str, str]] = {
        "missed": "an instance that no detection describes",
        "false": "a detection that describes no instance",
        "merged": "an instance whose keypoints are part of another instance's detection",
        "split": "a second detection on an instance that is found",
        "swap": "a keypoint that lies on another instance",
        "inversion": "a keypoint that lies on another keypoint of its instance, as left for right",
        "misplaced": "a keypoint that is not detected, or far from every keypoint",
        "jitter": "a keypoint near its place, but not on it",
    }

    def counts(self) -> dict[str, int]:
        found, truth = Counter(self.found_kinds.tolist()), Counter(self.truth_kinds.tolist())
        keypoints = Counter(self.keypoint_kinds.ravel().tolist())
        keypoints.pop("merged", None)  # counted as instances
        return {kind: found[kind] + truth[kind] + keypoints[kind] for kind in self.kinds}

    def fixed(self, kind: str, score: float) -> Poses:
        if kind == "missed":
            return self._with_truth(self.found, self.truth_kinds == kind, score)
        if kind == "false":
            return self.found[self.found_kinds != kind]
        if kind == "split":
            return self._joined()
        moved = self._moved(self.keypoint_kinds == kind)
        if kind == "merged":
            for m in np.flatnonzero(self.holders >= 0):
                holder = self.found.scores[self.holders[m]]
                moved = self._with_truth(moved, np.arange(len(self.truth)) == m, holder)
        return moved

    def perfected(self, which: np.ndarray, score: float) -> Poses:
        of_found = np.append(which, False)[self.match]
        labelled = self.keypoint_kinds != _UNLABELLED
        moved = self._moved(of_found[:, None] & labelled)
        return self._with_truth(moved, which & (self.truth_kinds != RIGHT), score)

    def with_type(self, k: int) -> Poses:
        """The detections with all keypoints of one type at their true places."""
        which = self.keypoint_kinds != _UNLABELLED
        return self._moved(which & (np.arange(which.shape[1]) == k))

    def ranked(self) -> Poses:
        return replace(self.found, scores=np.where(self.match >= 0, self.similarity, 0))

    def _moved(self, which: np.ndarray) -> Poses:
        """Move the keypoints (N, K) bool of detections to their true places."""
        keypoints = self.found.keypoints.copy()
        n, k = np.nonzero(which & (self.match >= 0)[:, None])
        keypoints[n, k, :2] = self.truth.keypoints[self.match[n], k, :2]
        keypoints[n, k, 2] = np.maximum(keypoints[n, k, 2], self.found.scores[n])
        return replace(self.found, keypoints=keypoints)

    def _with_truth(self, found: Poses, which: np.ndarray, score: float) -> Poses:
        """Add the true instances (M,) bool with a score."""
        added = self.truth.keypoints[which]
        return Poses(
            np.concatenate([found.keypoints, added]),
            np.append(found.scores, np.full(len(added), score)),
            None,
            found.skeleton,
        )

    def _joined(self) -> Poses:
        """Fill in the keypoints that the second detections have, and remove these."""
        keypoints = self.found.keypoints.copy()
        owners = _owners(self._similarity(), np.array(self.truth.skeleton.flip))
        for n in np.flatnonzero(self.found_kinds == "split"):
            m = _main_owner(owners[n])
            whole = int(np.flatnonzero(self.match == m)[0])
            fill = (keypoints[whole, :, 2] <= 0) & (keypoints[n, :, 2] > 0)
            keypoints[whole, fill] = keypoints[n, fill]
        return replace(self.found, keypoints=keypoints)[self.found_kinds != "split"]

    def _similarity(self) -> np.ndarray:
        sigmas = np.array(self.truth.skeleton.sigmas)
        return keypoint_similarity(self.found.keypoints, self.truth.keypoints, self.areas, sigmas)


def sort_pose_errors(
    found: Poses, truth: Poses, areas: np.ndarray, ignore: np.ndarray | None = None
) -> PoseErrors:
    """Sort the errors of the poses of one image.

    found, truth: poses with the same keypoint types; missing and unlabelled ones have score 0. The
        sigmas of `truth.skeleton` are used. areas: (M,), squared pixels.
    ignore: (H, W) bool, True where nothing counts; a detection with half of its keypoints there is
        ignored unless it matches an instance.
    """
    sigmas, flip = np.array(truth.skeleton.sigmas), np.array(truth.skeleton.flip)
    table = oks(found.keypoints, truth.keypoints, areas, sigmas)
    match = _matched(table, found.scores)
    similar = keypoint_similarity(found.keypoints, truth.keypoints, areas, sigmas)
    owners = _owners(similar, flip)
    holders = _holders(owners, match, truth.present.sum(1))
    truth_kinds = kind_array(len(truth))
    truth_kinds[~np.isin(np.arange(len(truth)), match)] = "missed"
    truth_kinds[holders >= 0] = "merged"
    similarity = np.zeros(len(found))
    matched = match >= 0
    similarity[matched] = table[matched, match[matched]]
    found_kinds = kind_array(len(found))
    for n in np.flatnonzero(~matched):
        found_kinds[n] = _kind_of_extra(found.keypoints[n], owners[n], match, ignore)
    kinds = _keypoint_kinds(similar, match, holders, found.present, truth.present, flip)
    offsets = np.full((len(found), truth.keypoints.shape[1]), np.nan)
    pairs = np.linalg.norm(
        found.keypoints[matched, :, :2] - truth.keypoints[match[matched], :, :2], axis=2
    )
    offsets[matched] = pairs / np.sqrt(np.maximum(areas[match[matched]], 1e-9))[:, None]
    return PoseErrors(
        found, truth, match, similarity, found_kinds, truth_kinds, areas, kinds, offsets, holders
    )


def keypoint_similarity(
    found: np.ndarray, truth: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """The similarity of every found keypoint with every true one, one term of the OKS.

    found: (N, K, 3), truth: (M, K, 3), areas: (M,), sigmas: (K,), as in `oks`.
    Returns (N, K, M, K) float64 in [0, 1]; 0 where either is missing.
    """
    offset = found[:, :, None, None, :2] - truth[None, None, :, :, :2]
    scale = 8 * np.square(sigmas)[None] * np.maximum(np.asarray(areas, float), 1e-9)[:, None]
    similar = np.exp(-np.square(offset).sum(-1) / scale)
    present = (found[:, :, 2] > 0)[:, :, None, None] & (truth[None, None, :, :, 2] > 0)
    return np.where(present, np.nan_to_num(similar), 0.0)


def _matched(table: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Match detections with instances (N,): first those that are right, then poor ones.

    A poor detection only matches the instance that it resembles most, so that a second detection
    of one instance does not count as a bad one of its neighbour.
    """
    match = greedy_match(table, scores, FOUND)
    if table.size:
        taken = np.isin(np.arange(table.shape[1]), match)
        own = np.arange(table.shape[1])[None] == table.argmax(1)[:, None]
        rest = np.where(own & ~taken[None] & (match < 0)[:, None], table, 0)
        match = np.where(match >= 0, match, greedy_match(rest, scores, _LEAST))
    return match


def _owners(similar: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """The instance on which each found keypoint lies (N, K), on its type or its mirror image."""
    N, K, M, _ = similar.shape
    if not M:
        return np.full((N, K), -1)
    types = np.arange(K)
    same = similar[:, types, :, types].transpose(1, 0, 2)  # (N, K, M)
    mirrored = similar[:, types, :, flip].transpose(1, 0, 2)
    owners = np.where(mirrored.max(2) >= NEAR, mirrored.argmax(2), -1)
    return np.where(same.max(2) >= NEAR, same.argmax(2), owners)


def _holders(owners: np.ndarray, match: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """For each unmatched instance, the matched detection that holds its keypoints; (M,), -1: none.

    That is a quarter of its labelled keypoints, and two or more if it has so many.
    """
    holders = np.full(len(labelled), -1)
    for m in np.flatnonzero(~np.isin(np.arange(len(labelled)), match)):
        held = ((owners == m) & (match >= 0)[:, None]).sum(1)
        least = max(min(2, labelled[m]), labelled[m] / 4)
        if len(held) and held.max() >= least:
            holders[m] = held.argmax()
    return holders


def _main_owner(owners: np.ndarray) -> int:
    """The instance on which most of a detection's keypoints (K,) lie, -1 for none."""
    on_instance = owners[owners >= 0]
    return int(np.bincount(on_instance).argmax()) if len(on_instance) else -1


def _kind_of_extra(
    keypoints: np.ndarray, owners: np.ndarray, match: np.ndarray, ignore: np.ndarray | None
) -> str:
    """The kind of a detection (K, 3) that matches no instance."""
    present = keypoints[:, 2] > 0
    main = _main_owner(owners)
    if main in match and main >= 0 and (owners >= 0).sum() * 2 >= present.sum():
        return "split"
    if ignore is not None and present.any():
        height, width = ignore.shape
        x, y = np.clip(np.rint(keypoints[present, :2].T), 0, [[width - 1], [height - 1]])
        if ignore[y.astype(int), x.astype(int)].mean() >= 0.5:
            return IGNORED
    return "false"


def _keypoint_kinds(
    similar: np.ndarray,
    match: np.ndarray,
    holders: np.ndarray,
    found: np.ndarray,
    truth: np.ndarray,
    flip: Sequence[int],
) -> np.ndarray:
    """The kinds of keypoints (N, K); found (N, K) and truth (M, K) bool: where there is one."""
    N, K = found.shape
    kinds = kind_array((N, K), _UNLABELLED)
    for n in np.flatnonzero(match >= 0):
        m = match[n]
        for k in np.flatnonzero(truth[m]):
            own = similar[n, k, m, k]
            if own >= NEAR:
                kinds[n, k] = RIGHT if own >= EXACT else "jitter"
            elif not found[n, k]:
                kinds[n, k] = "misplaced"
            else:
                kinds[n, k] = _kind_of_far(similar[n, k], k, flip[k], m, holders == n)
    return kinds


def _kind_of_far(similar: np.ndarray, k: int, mirror: int, m: int, held: np.ndarray) -> str:
    """The kind of a found keypoint that is not near its true place.

    similar: (M, K), of the keypoint with every true one. held: (M,), instances that are merged into
    this detection.
    """
    of_others = np.maximum(similar[:, k], similar[:, mirror])
    of_others[m] = 0
    on_own = np.delete(similar[m], k).max(initial=0)
    if max(of_others.max(), on_own) < NEAR:
        return "misplaced"
    if on_own >= of_others.max():
        return "inversion"
    return "merged" if held[of_others.argmax()] else "swap"
