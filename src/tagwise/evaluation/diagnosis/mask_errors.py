"""The errors of masks: instances that were missed, merged or split, and masks of a wrong shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tagwise.evaluation.diagnosis.image_errors import INEXACT, RIGHT, ImageErrors, kind_array
from tagwise.results import Masks

_MOST = 0.5  # share of a mask that belongs to another one
_TOUCHING = 0.1


@dataclass(frozen=True)
class MaskErrors(ImageErrors):
    """The errors of the masks of one image; see `ImageErrors`.

    targets: (M,) int64, the detection that stands for an instance with an error, -1 for none.
    """

    targets: np.ndarray

    kinds: ClassVar[Mapping[str, str]] = {
        "missed": "an instance that no mask describes",
        "false": "a mask that describes no instance",
        "merged": "an instance that shares its mask with another one",
        "split": "a mask that is only a part of its instance, next to other parts",
        "shape": "a mask of one instance with an IoU below .5",
        "inexact": "a mask that is right, with an IoU of .5 to .9",
    }

    def counts(self) -> dict[str, int]:
        found, truth = Counter(self.found_kinds.tolist()), Counter(self.truth_kinds.tolist())
        by_truth = ("missed", "merged")
        return {kind: (truth if kind in by_truth else found)[kind] for kind in self.kinds}

    def fixed(self, kind: str, score: float) -> Masks:
        if kind == "inexact":
            return self._repainted(self.found_kinds != kind, self._truth_of(kind), score)
        return self._repainted(self.found_kinds != kind, self.truth_kinds == kind, score)

    def perfected(self, which: np.ndarray, score: float) -> Masks:
        return self._repainted(~np.append(which, False)[self.match], which, score)

    def ranked(self) -> Masks:
        return replace(self.found, scores=np.where(self.match >= 0, self.similarity, 0))

    def _truth_of(self, kind: str) -> np.ndarray:
        which = np.zeros(len(self.truth), bool)
        which[self.match[self.found_kinds == kind]] = True
        return which

    def _repainted(self, keep: np.ndarray, added: np.ndarray, score: float) -> Masks:
        """Keep some detections (N,) bool, and paint true instances (M,) bool over them.

        A true instance takes the score of the detection that stands for it, else `score`.
        """
        kept = self.found[keep]
        labels, scores = kept.labels.copy(), kept.scores.tolist()
        stands = self.targets.copy()
        stands[self.match[self.match >= 0]] = np.flatnonzero(self.match >= 0)
        for m in np.flatnonzero(added):
            scores.append(float(self.found.scores[stands[m]]) if stands[m] >= 0 else score)
            labels[self.truth.labels == m + 1] = len(scores)
        painted = Masks(labels, np.array(scores, np.float32))
        return painted[np.bincount(labels.ravel(), minlength=len(scores) + 1)[1:] > 0]


def sort_mask_errors(found: Masks, truth: Masks) -> MaskErrors:
    """Sort the errors of the masks of one image; found, truth: label maps of the same shape."""
    N, M = len(found), len(truth)
    cells = truth.labels.ravel().astype(np.int64) * (N + 1) + found.labels.ravel()
    table = np.bincount(cells, minlength=(M + 1) * (N + 1)).reshape(M + 1, N + 1)
    of_truth, of_found = table.sum(1)[1:, None], table.sum(0)[None, 1:]
    shared = table[1:, 1:]
    overlap = shared / np.maximum(of_truth + of_found - shared, 1)
    inside = shared / np.maximum(of_found, 1)  # share of a detection in each instance
    covered = shared / np.maximum(of_truth, 1)  # share of an instance in each detection
    match, similarity = np.full(N, -1), np.zeros(N)
    m, n = np.nonzero(overlap > 0.5)  # at most one pair for each
    match[n], similarity[n] = m, overlap[m, n]
    found_kinds = _kinds_of_found(match, similarity, overlap, inside, covered)
    truth_kinds, targets = _kinds_of_truth(match, found_kinds, overlap, inside, covered)
    areas = of_truth[:, 0].astype(float)
    return MaskErrors(found, truth, match, similarity, found_kinds, truth_kinds, areas, targets)


def _kinds_of_found(
    match: np.ndarray,
    similarity: np.ndarray,
    overlap: np.ndarray,
    inside: np.ndarray,
    covered: np.ndarray,
) -> np.ndarray:
    """The kinds of detections (N,); the tables are (M, N)."""
    kinds = kind_array(len(match))
    kinds[(match >= 0) & (similarity < INEXACT)] = "inexact"
    if not len(overlap):
        kinds[:] = "false"
        return kinds
    free = match < 0
    pieces = (inside >= _MOST) & free[None]  # parts of an instance that match nothing
    for n in np.flatnonzero(free):
        m = int(inside[:, n].argmax())
        has_others = m in match or pieces[m].sum() > 1
        if (covered[:, n] >= _MOST).sum() > 1:
            kinds[n] = "merged"
        elif inside[m, n] >= _MOST and has_others:
            kinds[n] = "split"
        elif inside[m, n] >= _MOST or overlap[:, n].max() >= _TOUCHING:
            kinds[n] = "shape"
        else:
            kinds[n] = "false"
    return kinds


def _kinds_of_truth(
    match: np.ndarray,
    found_kinds: np.ndarray,
    overlap: np.ndarray,
    inside: np.ndarray,
    covered: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The kinds of instances (M,), and the detection that stands for each, -1 for none."""
    M = len(overlap)
    kinds, targets = kind_array(M, "missed"), np.full(M, -1)
    for m in range(M):
        if m in match:
            kinds[m] = RIGHT
            continue
        holds = (covered[m] >= _MOST) & ((match >= 0) | (found_kinds == "merged"))
        parts = (inside[m] >= _MOST) & (found_kinds == "split")
        shapes = (found_kinds == "shape") & (
            (overlap[m] >= _TOUCHING) | (inside[m] >= _MOST)
        )  # a detection of a wrong shape may stand for one instance only
        shapes &= overlap.argmax(0) == m if M else shapes
        for kind, which in (("merged", holds), ("split", parts), ("shape", shapes)):
            if which.any():
                kinds[m] = kind
                targets[m] = int(np.where(which, overlap[m], -1).argmax())
                break
    return kinds, targets
