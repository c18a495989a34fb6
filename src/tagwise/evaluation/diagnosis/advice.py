"""The things most worth doing, in words, each with the figure behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tagwise.evaluation.diagnosis.box_errors import BoxErrors
from tagwise.evaluation.diagnosis.measure import CROWDED, Case, Measure, found_instances
from tagwise.evaluation.diagnosis.pose_errors import PoseErrors
from tagwise.geometry import to_xyxy

_LEAST_GAIN = 0.005
_FEW = 5  # instances, below which a share says nothing
_CLEARLY = 0.85  # a group of instances is worse if its share found is below this part of the rest's
_SIDES = (128.0, 64.0, 32.0, 16.0)


@dataclass(frozen=True)
class Advice:
    """One thing worth doing.

    what: to do. why: the figure behind it, in words. gain: AP (or F1) to be won if it succeeds
    completely. share: the part of the gain that such a step usually brings, which ranks advice.
    """

    what: str
    why: str
    gain: float
    share: float


def advise(
    measure: Measure, report: Mapping[str, Any], types: Sequence[Mapping[str, Any]], size: str
) -> list[dict[str, Any]]:
    """The two things most worth doing, the first first; fewer if less would help.

    report: see `measured`. types: see `ranked_types`. size: of the network's input, in words.
    Returns the fields of `Advice` as plain values.
    """
    found = [
        _input_size(measure, report, size),
        _crowds(measure),
        _grouping(report),
        _types(report, types),
        _missed(report),
        _false(report),
        _threshold(report),
    ]
    useful = [one for one in found if one is not None and one.gain >= _LEAST_GAIN]
    best = sorted(useful, key=lambda one: -one.gain * one.share)
    return [asdict(one) for one in best[:2]]


def _input_size(measure: Measure, report: Mapping[str, Any], size: str) -> Advice | None:
    """A larger input, if small instances are missed, or keypoints are off by less than a cell."""
    what = f"Raise the input size (now {size}), with --imgsz or in the recipe"
    small = [
        _group(measure, lambda case, side=side: case.sides < side, what, f"below {side:g} pixels")
        for side in _SIDES
    ]
    candidates = [one for one in (*small, _fine(measure, report, what)) if one is not None]
    return max(candidates, key=lambda one: one.gain * one.share, default=None)


def _group(
    measure: Measure, chosen: Callable[[Case], np.ndarray], what: str, which: str
) -> Advice | None:
    """Advice for a group of instances that are found clearly less often than the others."""
    groups = [chosen(case) for case in measure.cases]
    found = np.concatenate([found_instances(case.shown) for case in measure.cases])
    every = np.concatenate(groups)
    inside, outside = found[every], found[~every]
    if min(len(inside), len(outside)) < _FEW or inside.mean() >= _CLEARLY * outside.mean():
        return None
    chosen_of = dict(zip((case.index for case in measure.cases), groups))
    gain = measure.gain(lambda case: case.every.perfected(chosen_of[case.index], measure.usual))[
        "gain"
    ]
    why = (
        f"Of the {len(inside)} instances {which}, {_percent(inside.mean())} are found, of the "
        f"others {_percent(outside.mean())}. If all of them were right, AP would be "
        f"{_points(gain)} higher."
    )
    return Advice(what, why.replace("pixels,", "pixels of the network's input,"), gain, 0.5)


def _fine(measure: Measure, report: Mapping[str, Any], what: str) -> Advice | None:
    """Positions that are off by about a cell or less are limited by the grid of cells."""
    gains = {row["kind"]: row["gain"] for row in report["errors"]}
    if "jitter" in gains:
        away = _jitter_in_cells(measure.cases)
        if not len(away) or np.median(away) > 1.5:
            return None
        why = (
            f"Keypoints near their place are off by {np.median(away):.1f} cells of the network's "
            f"maps (median). If they were exact, AP would be {_points(gains['jitter'])} higher."
        )
        return Advice(what, why, gains["jitter"], 0.3)
    away = _corners_in_cells(measure.cases)
    if not len(away) or np.median(away) > 1.5:
        return None
    why = (
        f"Corners of boxes that are right are off by {np.median(away):.1f} cells of the network's "
        f"maps (median). If they were exact, AP would be {_points(gains['inexact'])} higher."
    )
    return Advice(what, why, gains["inexact"], 0.2)


def _jitter_in_cells(cases: Sequence[Case]) -> np.ndarray:
    """The distance from the truth of each keypoint with jitter, in cells."""
    parts = [np.zeros(0)]
    for case in cases:
        errors = case.every
        if isinstance(errors, PoseErrors):
            n, k = np.nonzero(errors.keypoint_kinds == "jitter")
            cells = case.sides[errors.match[n]] / case.stride
            parts.append(errors.distances[n, k] * cells)
    return np.concatenate(parts)


def _corners_in_cells(cases: Sequence[Case]) -> np.ndarray:
    """The distance from the truth of both corners of each box that is right but inexact."""
    parts = [np.zeros(0)]
    for case in cases:
        errors = case.every
        if isinstance(errors, BoxErrors):
            which = errors.found_kinds == "inexact"
            truth = to_xyxy(errors.truth.boxes[errors.match[which]])
            offset = (to_xyxy(errors.found.boxes[which]) - truth).reshape(-1, 2)
            parts.append(np.linalg.norm(offset, axis=1) * case.scale / case.stride)
    return np.concatenate(parts)


def _crowds(measure: Measure) -> Advice | None:
    return _group(
        measure,
        lambda case: case.overlaps >= CROWDED,
        "Label more photos of crowds, where instances overlap",
        "whose boxes overlap others by an IoU of .1 or more",
    )


def _grouping(report: Mapping[str, Any]) -> Advice | None:
    gain = next((row["gain"] for row in report["ablation"] if row["name"] == "grouping"), None)
    if gain is None:
        return None
    tags = report["tags"]
    wrong = tags["other"]["wrong"] if tags else None
    told = (
        f"; {_percent(wrong, 1)} of the tags of neighbours are nearer than the threshold"
        if wrong
        else ""
    )
    return Advice(
        "Improve the grouping: train on more photos with instances side by side, or raise the "
        "weight of the push loss",
        f"With perfect grouping of the same detections, AP would be {_points(gain)} higher{told}.",
        gain,
        0.5,
    )


def _types(report: Mapping[str, Any], types: Sequence[Mapping[str, Any]]) -> Advice | None:
    if len(types) < 2:
        return None
    worst = types[0]
    usual = np.median([row["gain"] for row in types])
    if worst["gain"] < 1.5 * usual:
        return None  # no type stands out
    name = str(worst["name"]).replace("_", " ")
    if "right" in worst and worst["right"] is not None:
        told = f"{_percent(worst['right'])} of its {worst['labelled']} keypoints are right"
    else:
        told = f"{_percent(worst['found'] or 0)} of its {worst['labelled']} objects are found"
    return Advice(
        f"Label more of {name}, and check its labels",
        f"{told}. If all were, AP would be {_points(worst['gain'])} higher, more than with any "
        "other.",
        worst["gain"],
        0.5,
    )


def _missed(report: Mapping[str, Any]) -> Advice | None:
    row = next(row for row in report["errors"] if row["kind"] == "missed")
    return Advice(
        "Label more photos like those in which instances are missed, see the worst images",
        f"{row['count']} of {report['instances']} instances are missed. If all were found, AP "
        f"would be {_points(row['gain'])} higher.",
        row["gain"],
        0.4,
    )


def _false(report: Mapping[str, Any]) -> Advice | None:
    rows = {row["kind"]: row for row in report["errors"]}
    row = rows.get("false") or rows["background"]
    return Advice(
        "Add photos with such things in the background to the training set, also without any "
        "instance, and look for instances that are not labelled",
        f"{row['count']} detections describe nothing that is labelled. Without them, AP would be "
        f"{_points(row['gain'])} higher.",
        row["gain"],
        0.4,
    )


def _threshold(report: Mapping[str, Any]) -> Advice | None:
    scores = report["scores"]
    gain = scores["best_f1"] - scores["f1"]
    best, now = scores["best_threshold"], report["threshold"]
    return Advice(
        f"Use another threshold, {best:.2f} in place of {now:.2f}: run tagwise tune",
        f"F1 of the instances that are shown is {100 * scores['f1']:.1f} now, and "
        f"{100 * scores['best_f1']:.1f} at the best threshold.",
        gain,
        1.0,
    )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * float(share):.{digits}f} %"


def _points(gain: float) -> str:
    """A difference of AP in points."""
    return f"{100 * gain:.1f} points"
