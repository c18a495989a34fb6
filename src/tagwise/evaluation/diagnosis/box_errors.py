"""The errors of boxes.

The kinds follow TIDE (Bolya, Foley, Hays, Hoffman: A General Toolbox for Identifying Object
Detection Errors, ECCV 2020, arXiv:2008.08115), section 2.2, with its thresholds: a detection is
right from an IoU of .5, and in the background below .1. Unlike there, an instance that was missed
is added with a usual score, and boxes that are right but inexact are a kind of their own, since AP
is measured up to an IoU of .95.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tagwise.evaluation.diagnosis.image_errors import (
    FOUND,
    IGNORED,
    INEXACT,
    RIGHT,
    ImageErrors,
    greedy_match,
    kind_array,
)
from tagwise.geometry import iou, to_xyxy
from tagwise.results import Boxes

_BACKGROUND = 0.1


@dataclass(frozen=True)
class BoxErrors(ImageErrors):
    """The errors of the boxes of one image; see `ImageErrors`.

    targets: (N,) int64, the instance to which a detection with an error belongs, -1 for none.
    """

    targets: np.ndarray

    kinds: ClassVar[Mapping[str, str]] = {
        "missed": "an object that no detection describes",
        "background": "a detection that describes no object (IoU below .1)",
        "classification": "a box that is right, of a wrong class",
        "localisation": "a box of the right class with an IoU of .1 to .5",
        "both": "a box of a wrong class with an IoU of .1 to .5",
        "duplicate": "a second detection of an object that is found",
        "inexact": "a detection that is right, with an IoU of .5 to .9",
    }

    def counts(self) -> dict[str, int]:
        found, missed = Counter(self.found_kinds.tolist()), (self.truth_kinds == "missed").sum()
        return {kind: found[kind] for kind in self.kinds} | {"missed": int(missed)}

    def fixed(self, kind: str, score: float) -> Boxes:
        if kind == "missed":
            return self._with_truth(self.found, self.truth_kinds == kind, score)
        if kind in ("background", "both", "duplicate"):
            return self.found[self.found_kinds != kind]
        which = self.found_kinds == kind
        if kind == "inexact":
            return self._corrected(which, self.match)
        # The best detection of an instance that has no other one is corrected, and the rest go.
        best = np.zeros(len(self.found), bool)
        taken = set(self.match[self.match >= 0].tolist())
        for n in sorted(np.flatnonzero(which), key=lambda n: -self.found.scores[n]):
            if self.targets[n] not in taken:
                taken.add(int(self.targets[n]))
                best[n] = True
        return self._corrected(best, self.targets)[~which | best]

    def perfected(self, which: np.ndarray, score: float) -> Boxes:
        of_found = np.append(which, False)[self.match]
        moved = self._corrected(of_found, self.match)
        return self._with_truth(moved, which & (self.truth_kinds != RIGHT), score)

    def ranked(self) -> Boxes:
        return replace(self.found, scores=np.where(self.match >= 0, self.similarity, 0))

    def _corrected(self, which: np.ndarray, targets: np.ndarray) -> Boxes:
        """Give detections (N,) bool the box and the class of their instances."""
        boxes, classes = self.found.boxes.copy(), self.found.classes.copy()
        boxes[which] = self.truth.boxes[targets[which]]
        classes[which] = self.truth.classes[targets[which]]
        return replace(self.found, boxes=boxes, classes=classes)

    def _with_truth(self, found: Boxes, which: np.ndarray, score: float) -> Boxes:
        return Boxes(
            np.concatenate([found.boxes, self.truth.boxes[which]]),
            np.append(found.scores, np.full(which.sum(), score)),
            np.append(found.classes, self.truth.classes[which]),
            found.names,
        )


def sort_box_errors(found: Boxes, truth: Boxes, ignore: np.ndarray | None = None) -> BoxErrors:
    """Sort the errors of the boxes of one image.

    found, truth: boxes of the same classes. ignore: (H, W) bool, True where nothing counts; a
    detection with half of its area there is ignored unless it matches an object.
    """
    table = iou(to_xyxy(found.boxes), to_xyxy(truth.boxes))
    same = found.classes[:, None] == truth.classes[None]
    match = greedy_match(np.where(same, table, 0), found.scores, FOUND)
    matched = match >= 0
    similarity = np.zeros(len(found))
    similarity[matched] = table[matched, match[matched]]
    kinds, targets = kind_array(len(found)), np.full(len(found), -1)
    kinds[matched & (similarity < INEXACT)] = "inexact"
    for n in np.flatnonzero(~matched):
        kinds[n], targets[n] = _kind_of_extra(table[n], same[n])
        if ignore is not None and _ignored(found.boxes[n], ignore):
            kinds[n], targets[n] = IGNORED, -1
    truth_kinds = kind_array(len(truth), "missed")
    for kind in ("classification", "localisation"):
        truth_kinds[targets[kinds == kind]] = kind
    truth_kinds[match[matched]] = RIGHT
    areas = truth.boxes[:, 2:].prod(1).astype(float)
    return BoxErrors(found, truth, match, similarity, kinds, truth_kinds, areas, targets)


def _kind_of_extra(overlap: np.ndarray, same: np.ndarray) -> tuple[str, int]:
    """The kind of a detection that matches no object, and the object to which it belongs.

    overlap: (M,), IoU with every object. same: (M,) bool, objects of its class.
    """
    if not len(overlap):
        return "background", -1
    own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
    if own.max() >= FOUND:  # a better detection has it already
        return "duplicate", int(own.argmax())
    if other.max() >= FOUND:
        return "classification", int(other.argmax())
    if own.max() >= _BACKGROUND:
        return "localisation", int(own.argmax())
    if other.max() >= _BACKGROUND:
        return "both", int(other.argmax())
    return "background", -1


def _ignored(box: np.ndarray, ignore: np.ndarray) -> bool:
    x1, y1, x2, y2 = np.rint(to_xyxy(np.maximum(box, 0))).astype(int)
    inside = ignore[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    return bool(inside.size and inside.mean() >= 0.5)
