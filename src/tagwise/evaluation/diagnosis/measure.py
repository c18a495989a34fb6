"""The figures of a diagnosis: what each part of a model and each kind of error costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from tagwise.evaluation.diagnosis.image_errors import ImageErrors
from tagwise.evaluation.diagnosis.reliability import f1_at, f1_curve, reliability
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags, tag_separation
from tagwise.geometry import iou, to_xyxy
from tagwise.results import Result

CROWDED = 0.1  # IoU of two boxes from which an instance counts as crowded
SIZES = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, np.inf)
OVERLAPS = (0.0, 1e-9, 0.1, 0.3, 1.0)

# What the truth replaces in each row of the ablation.
ABLATION = {
    "keypoints": "true keypoints, predicted tags",
    "corners": "true corners, predicted tags and offsets",
    "foreground": "true foreground, predicted tags",
    "grouping": "predicted detections, true grouping",
    "offsets": "predicted corners at their true places",
    "both": "true detections, true grouping",
}


class Measuring(Protocol):
    """The part of a task's scorer that the figures need; see `tagwise.evaluation.scoring`."""

    @property
    def main(self) -> str: ...
    def add(self, index: int, result: Any) -> None: ...
    def figures(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Case:
    """One labelled image of a diagnosis.

    index, file: in its set. every: the errors of all detections. shown: those of the detections
    above the model's threshold, as in pictures. oracles: results with the help of the truth.
    tags: at the true detections, if the task has them. scale: pixels of the network's input per
    pixel of the image. stride: pixels of the network's input per cell.
    """

    index: int
    file: str
    every: ImageErrors
    shown: ImageErrors
    oracles: Mapping[str, Result] = field(default_factory=dict)
    tags: InstanceTags | None = None
    scale: float = 1.0
    stride: int = 4

    @property
    def sides(self) -> np.ndarray:
        """(M,), the square roots of the instances' areas in pixels of the network's input."""
        return np.sqrt(self.every.areas) * self.scale

    @property
    def overlaps(self) -> np.ndarray:
        """(M,), the largest IoU of each true instance's box with that of another one."""
        corners = to_xyxy(self.every.truth.boxes)
        table = iou(corners, corners)
        np.fill_diagonal(table, 0)
        return table.max(1, initial=0)


class Measure:
    """Computes the figures of a set with some results replaced by better ones.

    cases: its images. scorer: makes the task's scorer of the set, see `Measuring`.
    """

    def __init__(self, cases: Sequence[Case], scorer: Callable[[], Measuring]) -> None:
        self.cases, self._scorer = cases, scorer
        self.main = scorer().main
        self.half = self.main.replace("AP", "AP50", 1)
        scores = [case.every.found.scores[case.every.right] for case in cases]
        every = np.concatenate(scores) if scores else np.zeros(0)
        self.usual = float(np.median(every)) if len(every) else 0.5
        self.predicted = self.of(lambda case: case.every.found)

    def of(self, result: Callable[[Case], Result]) -> dict[str, float]:
        """All figures of the set with these results."""
        scorer = self._scorer()
        for case in self.cases:
            scorer.add(case.index, result(case))
        return scorer.figures()

    def gain(self, result: Callable[[Case], Result]) -> dict[str, float]:
        """AP and AP50 with these results, and the difference to the prediction."""
        figures = self.of(result)
        found = {"AP": figures[self.main], "AP50": figures[self.half]}
        return found | {
            "gain": figures[self.main] - self.predicted[self.main],
            "gain50": figures[self.half] - self.predicted[self.half],
        }


def measured(measure: Measure, threshold: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """All figures of a diagnosis except rankings and advice, as plain values for JSON.

    threshold: the model's, which decides what counts as shown. progress: is told what comes next.
    """
    cases = measure.cases
    first = cases[0]
    progress("ablation")
    ablation = [{"name": "prediction", "meaning": "prediction", **measure.gain(_every_found)}]
    for name in sorted(first.oracles, key=list(ABLATION).index):
        figures = measure.gain(lambda case, name=name: case.oracles[name])
        ablation.append({"name": name, "meaning": ABLATION[name], **figures})
    errors = []
    for kind, meaning in first.every.kinds.items():
        progress(kind)
        gain = measure.gain(lambda case, kind=kind: case.every.fixed(kind, measure.usual))
        counts = {
            "count": sum(case.shown.counts()[kind] for case in cases),
            "count_all": sum(case.every.counts()[kind] for case in cases),
        }
        errors.append({"kind": kind, "meaning": meaning, **counts, **gain})
    progress("scores and tags")
    tags = [case.tags for case in cases if case.tags is not None]
    return {
        "main": measure.main,
        "metrics": measure.predicted,
        "threshold": threshold,
        "instances": sum(len(case.every.truth) for case in cases),
        "detections": sum(len(case.shown.found) for case in cases),
        "ablation": ablation,
        "errors": errors,
        "scores": _scores(measure, threshold),
        "tags": tag_separation(tags) if tags else None,
        "sizes": _found_by([case.sides for case in cases], cases, SIZES),
        "overlaps": _found_by([case.overlaps for case in cases], cases, OVERLAPS),
    }


def _every_found(case: Case) -> Result:
    return case.every.found


def _scores(measure: Measure, threshold: float) -> dict[str, Any]:
    """Reliability of scores, and F1 at the model's threshold and at the best one."""
    counted = [case.every.found_kinds != "ignored" for case in measure.cases]
    pairs = [(c.every.found.scores[k], c.every.right[k]) for c, k in zip(measure.cases, counted)]
    scores, right = (np.concatenate(values) for values in zip(*pairs))
    instances = sum(len(case.every.truth) for case in measure.cases)
    curve = f1_curve(scores, right, instances)
    best = int(curve["f1"].argmax()) if len(curve["f1"]) else -1
    return {
        **reliability(scores, right),
        "f1": f1_at(scores, right, instances, threshold),
        "best_f1": float(curve["f1"][best]) if best >= 0 else 0.0,
        "best_threshold": float(curve["threshold"][best]) if best >= 0 else threshold,
        "curve": _thinned(curve),
        "perfect": measure.gain(lambda case: case.every.ranked()),
    }


def _thinned(curve: dict[str, np.ndarray], most: int = 200) -> dict[str, list[float]]:
    count = len(curve["f1"])
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)) if count else []
    return {name: np.round(values[chosen], 5).tolist() for name, values in curve.items()}


def _found_by(
    values: Sequence[np.ndarray], cases: Sequence[Case], edges: Sequence[float]
) -> list[dict[str, Any]]:
    """The share of true instances that are found (similarity of .5), by a value of theirs."""
    value = np.concatenate(values)
    found = np.concatenate([found_instances(case.shown) for case in cases])
    number = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for n, (low, high) in enumerate(pairwise(edges)):
        part = found[number == n]
        share = float(part.mean()) if len(part) else None
        end = None if np.isinf(high) else high
        rows.append({"from": low, "to": end, "instances": len(part), "found": share})
    return rows


def found_instances(errors: ImageErrors) -> np.ndarray:
    """(M,) bool, the true instances that a detection describes with a similarity of .5."""
    found = np.zeros(len(errors.truth), bool)
    found[errors.match[errors.right]] = True
    return found
