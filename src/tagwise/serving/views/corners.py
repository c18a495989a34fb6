"""The view of boxes: their corners, and why two corners are a pair or not."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from tagwise.geometry import edges_to_pixels
from tagwise.serving.views.base import (
    LETTERS,
    Answer,
    Detections,
    Grouped,
    Slider,
    View,
    check_pair,
)
from tagwise.tasks import CornerTask

_SLIDERS = (
    Slider(
        "corner_threshold",
        "Corner threshold",
        "A local maximum of a corner heatmap is a corner if it is above this value.",
        *(0, 1, 0.01),
    ),
    Slider(
        "tag_threshold",
        "Tag threshold",
        "Corners whose tags are farther apart are not paired.",
        *(0.02, 8, 0.02),
    ),
    Slider(
        "box_threshold",
        "Box threshold",
        "Boxes with a lower score are dropped before overlaps are resolved.",
        *(0, 1, 0.01),
    ),
    Slider(
        "overlap",
        "Overlap",
        "Intersection over union above which the worse of two boxes loses.",
        *(0, 1, 0.01),
    ),
    Slider("max_boxes", "Number of boxes", "The best boxes are kept.", *(1, 500, 1), whole=True),
)


class CornerView(View):
    """Corners and their pairs."""

    settings_name: ClassVar[str] = "pairing"
    task: CornerTask

    @classmethod
    def own_sliders(cls, task: CornerTask) -> list[Slider]:
        return [s for s in _SLIDERS if s.least <= getattr(task.pairing, s.name) <= s.most]

    @cached_property
    def _decoded(self) -> tuple:
        corners, pairs = self.task.decode_pairs(self.maps)
        return corners, self.calibrated(pairs[0])

    def group(self) -> Grouped:
        boxes = self.placement.place(self.task.boxes(self._decoded[1], self.stride))
        return Grouped(boxes.above(self.threshold), self._detections())

    def _detections(self) -> Detections:
        corners, pairs = self._decoded
        kept = pairs.scores >= self.threshold
        owner = np.full(len(corners), -1, np.int64)
        # With pairing "all", a corner may have several boxes: the best one is its instance.
        for n in reversed(np.flatnonzero(kept)):
            owner[pairs.corners[n]] = n
        second = np.arange(len(corners)) >= corners.starts[0, 1]
        names = [f"{word} corner of {c}" for c in self.task.classes for word in _SIDES]
        edges = edges_to_pixels(corners.xy.astype(np.float64), self.stride)
        return Detections(
            tuple(names),
            corners.classes * 2 + second,
            self.placement.affine.inverse().points(edges - 0.5),
            corners.scores.clip(0, 1),
            corners.tags,
            owner,
        )

    # ------------------------------------------------------------------ why (not) together

    def why(self, a: int, b: int) -> Answer:
        found, (corners, pairs) = self._detections(), self._decoded
        check_pair(len(found), a, b)
        a, b = sorted((a, b))  # top-left corners come first
        rules = self.task.pairing
        distance = float(np.linalg.norm(found.tags[a] - found.tags[b]))
        sides = corners.xy[b] - corners.xy[a]
        threshold = rules.tag_threshold
        if (sides > 0).all():
            threshold *= 1 + rules.tag_growth * float(np.sqrt(sides.prod()))
        base = {"distance": distance, "threshold": threshold}
        if found.types[a] % 2 == found.types[b] % 2:
            word = _SIDES[found.types[a] % 2]
            return Answer(False, f"Both are {word} corners: a box has one of each.", **base)
        if (pairs.corners == (a, b)).all(axis=1).any():
            return self._paired(found, a, b, base)
        return self._apart(found, a, b, sides, base)

    def _paired(self, found: Detections, a: int, b: int, base: dict) -> Answer:
        row = int(np.flatnonzero((self._decoded[1].corners == (a, b)).all(axis=1))[0])
        score = float(self._decoded[1].scores[row])
        others = np.flatnonzero((found.types == found.types[b]) & (np.arange(len(found)) != b))
        margin, reasons = None, [f"The score of the box is {score:.2f}."]
        if len(others):
            nearest = np.linalg.norm(found.tags[others] - found.tags[a], axis=1).min()
            margin = float(nearest) - base["distance"]
            reasons.append(f"The next {found.name(b)} by tag is {nearest:.2f} away.")
        if score < self.threshold:
            reasons.append(f"It is not shown: the instance score is {self.threshold:.2f}.")
        return Answer(
            True, "Together: they are the corners of one box.", reasons, margin=margin, **base
        )

    def _apart(self, found: Detections, a: int, b: int, sides: np.ndarray, base: dict) -> Answer:
        if found.types[a] // 2 != found.types[b] // 2:
            return Answer(False, "Not a pair: their classes differ.", **base)
        if not (sides >= self.task.pairing.min_side).all():
            words = "Not a pair: the bottom-right corner is not right of and below the other."
            return Answer(False, words, **base)
        if base["distance"] > base["threshold"]:
            words = f"Not a pair: their tags are {base['distance']:.2f} apart"
            return Answer(False, f"{words}, more than {base['threshold']:.2f}.", **base)
        reasons, takers = [], []
        for one in (a, b):
            for row in np.flatnonzero((self._decoded[1].corners == one).any(axis=1)):
                if len(takers) == 2:  # with pairing "all", there may be many
                    break
                takers.append(int(self._decoded[1].corners[row].sum() - one))
                away = float(np.linalg.norm(found.tags[takers[-1]] - found.tags[one]))
                reasons.append(
                    f"The {found.name(one)} is paired with another corner "
                    f"({LETTERS[len(takers) + 1]}), whose tag is {away:.2f} away."
                )
        words = "Not a pair: another pairing is more likely."
        if not takers:
            words = "Not a pair: their box overlaps a better one, or its score is too low."
        return Answer(False, words, reasons, takers=takers, **base)


_SIDES = ("top-left", "bottom-right")
