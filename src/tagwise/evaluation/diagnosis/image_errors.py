"""The errors of one image, sorted into kinds, and the result with the errors of one kind fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from tagwise.results import Result

RIGHT = "right"
"""The kind of a detection, a true instance or a keypoint without an error."""
IGNORED = "ignored"
"""The kind of a detection in a region that the labels exclude."""

INEXACT = 0.9  # a detection below this similarity can be made more exact
FOUND = 0.5  # similarity from which a detection is right


class Kinds(Protocol):
    """What the report needs of a task's errors: the meaning of each kind, by its name."""

    kinds: ClassVar[Mapping[str, str]]


@dataclass(frozen=True)
class ImageErrors:
    """The errors of one image; a subclass for each type of result sorts and fixes them.

    found, truth: the N detections and the M true instances, as results in pixels of the image.
    match: (N,) int64, the true instance that each detection describes, -1 for none.
    similarity: (N,) float64, with that instance (IoU or OKS), 0 for none.
    found_kinds: (N,) str, the kind of each detection. truth_kinds: (M,) str, that of each instance.
    areas: (M,) float64, of the true instances, in squared pixels of the image.
    kinds: meaning of each kind of error by its name, in the order of reports.
    """

    found: Result
    truth: Result
    match: np.ndarray
    similarity: np.ndarray
    found_kinds: np.ndarray
    truth_kinds: np.ndarray
    areas: np.ndarray

    kinds: ClassVar[Mapping[str, str]] = {}

    def counts(self) -> dict[str, int]:
        """The number of errors of each kind."""
        raise NotImplementedError

    def fixed(self, kind: str, score: float) -> Result:
        """The detections without the errors of one kind.

        score: that of instances that are added, as a detection that is right usually has.
        """
        raise NotImplementedError

    def perfected(self, which: np.ndarray, score: float) -> Result:
        """The detections with those of some true instances (M,) bool replaced by the truth."""
        raise NotImplementedError

    def ranked(self) -> Result:
        """The detections with their similarity as score, 0 for those that match nothing."""
        raise NotImplementedError

    @property
    def right(self) -> np.ndarray:
        """(N,) bool, the detections that describe an instance with a similarity of .5 or more."""
        return (self.match >= 0) & (self.similarity >= FOUND)

    @property
    def errors(self) -> int:
        """The number of all errors, by which images are ranked; inexact places do not count."""
        return sum(
            count for kind, count in self.counts().items() if kind not in ("jitter", "inexact")
        )


def kind_array(count: int | tuple[int, ...], kind: str = RIGHT) -> np.ndarray:
    """An array of kinds, all the same at first."""
    return np.full(count, kind, dtype="<U16")


def greedy_match(similarity: np.ndarray, scores: np.ndarray, least: float) -> np.ndarray:
    """Match detections with instances: each takes its best one that is free, best scores first.

    similarity: (N, M). scores: (N,). least: similarity of a match, inclusive.
    Returns (N,) int64, the instance of each detection, -1 for none; the rule of pycocotools.
    """
    match = np.full(len(scores), -1)
    free = np.ones(similarity.shape[1], bool)
    for n in np.argsort(-scores, kind="stable"):
        candidates = np.where(free, similarity[n], -1)
        best = int(candidates.argmax()) if len(candidates) else -1
        if best >= 0 and candidates[best] >= least:
            match[n] = best
            free[best] = False
    return match
