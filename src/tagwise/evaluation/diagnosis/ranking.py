"""Keypoint types and classes ranked by what their errors cost, and the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tagwise.evaluation.diagnosis.box_errors import BoxErrors
from tagwise.evaluation.diagnosis.image_errors import RIGHT
from tagwise.evaluation.diagnosis.measure import Case, Measure, found_instances
from tagwise.evaluation.diagnosis.pose_errors import PoseErrors
from tagwise.results import Boxes


def ranked_types(measure: Measure) -> list[dict[str, Any]]:
    """Keypoint types or classes, those whose errors cost most first; empty for masks.

    For poses: "name", "labelled", "right" (share of the labelled keypoints of instances that were
    found), the number of each kind of error, "distance" (median distance from the truth as a share
    of the instance's size) and "gain" (AP with all of them in their place). For boxes: "name",
    "labelled", "found" (share), "false" and "gain" (AP with this class perfect).
    """
    first = measure.cases[0].every
    if isinstance(first, PoseErrors):
        names = first.truth.skeleton.keypoints
        rows = [_keypoint_type(measure, k, name) for k, name in enumerate(names)]
    elif isinstance(first, BoxErrors) and len(first.truth.names) > 1:
        rows = [_class(measure, c, name) for c, name in enumerate(first.truth.names)]
    else:
        rows = []
    rows = [row for row in rows if row["labelled"]]
    return sorted(rows, key=lambda row: (-row["gain"], row["name"]))


def _keypoint_type(measure: Measure, k: int, name: str) -> dict[str, Any]:
    shown = [case.shown for case in measure.cases]
    kinds = np.concatenate([errors.keypoint_kinds[:, k] for errors in shown])
    away = np.concatenate([errors.distances[:, k] for errors in shown])
    away = away[np.isfinite(away)]
    labelled = kinds != "unlabelled"
    counts = {
        kind: int((kinds == kind).sum()) for kind in ("jitter", "inversion", "swap", "misplaced")
    }
    counts["swap"] += int((kinds == "merged").sum())
    return {
        "name": name,
        "labelled": int(labelled.sum()),
        "right": float((kinds[labelled] == RIGHT).mean()) if labelled.any() else None,
        **counts,
        "distance": float(np.median(away)) if len(away) else None,
        "gain": measure.gain(lambda case: case.every.with_type(k))["gain"],
    }


def _class(measure: Measure, c: int, name: str) -> dict[str, Any]:
    shown = [case.shown for case in measure.cases]
    found = np.concatenate([found_instances(e)[e.truth.classes == c] for e in shown])
    wrong = sum(int(((e.found.classes == c) & (e.match < 0)).sum()) for e in shown)
    return {
        "name": name,
        "labelled": len(found),
        "found": float(found.mean()) if len(found) else None,
        "false": wrong,
        "gain": measure.gain(lambda case: _perfect_class(case.every, c))["gain"],
    }


def _perfect_class(errors: BoxErrors, c: int) -> Boxes:
    """The detections of the other classes, and the truth of this one."""
    others, truth = errors.found[errors.found.classes != c], errors.truth
    own = truth[truth.classes == c]
    return Boxes(
        np.concatenate([others.boxes, own.boxes]),
        np.append(others.scores, own.scores),
        np.append(others.classes, own.classes),
        others.names,
    )


def worst_cases(cases: Sequence[Case], count: int = 8) -> list[Case]:
    """The images with the most errors above the model's threshold, the worst first."""
    ranked = sorted(cases, key=lambda case: -case.shown.errors)
    return [case for case in ranked[:count] if case.shown.errors]


def in_words(case: Case) -> str:
    """The errors of an image: "3 missed, 1 swap"; inexact places are left out."""
    counts = case.shown.counts()
    parts = [f"{n} {kind}" for kind, n in counts.items() if n and kind not in ("jitter", "inexact")]
    return ", ".join(parts) or "no errors"
