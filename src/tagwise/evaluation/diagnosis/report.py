"""The page of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tagwise.evaluation.diagnosis import charts
from tagwise.plot.page import (
    Markup,
    advice,
    bar,
    cards,
    page,
    photo,
    section,
    side_by_side,
    table,
)


class Compared(NamedTuple):
    """One of the worst images: its file, its errors in words, the truth beside the prediction."""

    file: str
    errors: str
    image: np.ndarray


def diagnosis_page(report: Mapping[str, Any], worst: Sequence[Compared], subtitle: str) -> str:
    """Return the page of a diagnosis as HTML.

    report: the content of diagnosis.json, see `tagwise.diagnose`. subtitle: model and data.
    """
    parts = [
        _summary(report),
        _advice(report),
        _ablation(report),
        _errors(report),
        _tags(report["tags"]) if report["tags"] else None,
        _scores(report),
        _instances(report),
        _types(report["types"]) if report["types"] else None,
        _worst(worst) if worst else None,
    ]
    title = f"Diagnosis of {report['settings']['weights']}"
    return page(title, [part for part in parts if part is not None], subtitle)


def _summary(report: Mapping[str, Any]) -> Markup:
    figures, main = report["metrics"], report["main"]
    half = main.replace("AP", "AP50", 1)
    below = (
        f"{report['detections']} detections with a score of {report['threshold']:.2f} or more, "
        "the model's threshold for pictures."
    )
    shown = [
        (_percent(figures[main]), main),
        (_percent(figures[half]), half),
        (_percent(report["scores"]["f1"]), "F1 of what is shown"),
        (str(report["instances"]), "labelled instances"),
        (str(report["images"]), "images"),
    ]
    return section("In short", cards(shown), below)


def _advice(report: Mapping[str, Any]) -> Markup:
    found = [(one["what"], one["why"]) for one in report["advice"]]
    if not found:
        return section("What to do next", "No step would gain half a point of AP on this set.")
    return section("What to do next", advice(found))


def _ablation(report: Mapping[str, Any]) -> Markup:
    rows = [
        (row["meaning"], _percent(row["AP"]), bar(row["AP"]), _percent(row["AP50"]), _gain(row))
        for row in report["ablation"]
    ]
    lost = any(row["gain"] < 0 for row in report["ablation"])
    below = (
        "A negative gain: the decoder does more than this part, such as filling in keypoints and "
        "dropping duplicates, which the truth does not."
    )
    return section(
        "Which part limits the model",
        "The truth replaces one part of the model in each row. The larger the gain, the more that "
        "part costs.",
        table(("", "AP", "", "AP50", "gain"), rows),
        *([below] if lost else []),
    )


def _errors(report: Mapping[str, Any]) -> Markup:
    largest = max([row["gain"] for row in report["errors"]] + [0.01])
    rows = [
        (
            Markup(f"<b>{row['kind']}</b><br>{row['meaning']}"),
            row["count"],
            _gain(row),
            bar(row["gain"] / largest),
            _gain(row, "gain50"),
        )
        for row in report["errors"]
    ]
    perfect = report["scores"]["perfect"]
    return section(
        "Errors by kind",
        "How often each error occurs among the detections that are shown, and the AP to be won if "
        "the model made none of it. Gains do not add up: one error can hide another.",
        table(("error", "count", "AP to be won", "", "AP50 to be won"), rows),
        f"If scores ranked the detections by how good they are, AP would be "
        f"{_percent(perfect['AP'])} ({_gain(perfect)}).",
    )


def _tags(tags: Mapping[str, Any]) -> Markup:
    figures = [
        (_number(tags["spread"]), "spread within an instance"),
        (_number(tags["gap"]), "gap to the nearest instance"),
        (_number(tags["margin"]), "margin"),
        (_share(tags["same"]["wrong"]), "pairs of one instance too far"),
        (_share(tags["other"]["wrong"]), "pairs of neighbours too near"),
    ]
    by = tags["other"]["by"]
    drawn = [charts.tag_histogram(tags)]
    if tags["other"]["pairs"]:
        drawn += [
            charts.wrong_pairs(
                by["distance"],
                "distance of two neighbours, in their sizes",
                "Confused pairs by the distance of the two instances.",
            ),
            charts.wrong_pairs(
                by["overlap"],
                "overlap of their boxes (IoU)",
                "Confused pairs by the overlap of the two instances.",
            ),
            charts.wrong_pairs(
                by["size"],
                "size of the smaller one, pixels of the input",
                "Confused pairs by size.",
            ),
        ]
    below = tags["below_margin"]
    told = "" if below is None else f" For {_share(below)} of the instances it is below 0."
    return section(
        "Tags",
        f"Tags at the true detections. The decoder separates tags that are farther apart than "
        f"{tags['threshold']:g}. Spread, gap and margin are medians; the margin is the distance of "
        f"the nearest tag of another instance minus that of the farthest of its own, both from "
        f"the mean of an instance.{told}",
        cards(figures),
        side_by_side(*drawn),
    )


def _scores(report: Mapping[str, Any]) -> Markup:
    scores = report["scores"]
    drawn = (
        charts.reliability_chart(scores),
        charts.threshold_chart(scores, report["threshold"]),
    )
    told = (
        f"Scores differ from the share of right detections by {_percent(scores['ece'], 1)} points "
        "on average (expected calibration error)."
        if scores["ece"] is not None
        else "Nothing was detected."
    )
    return section("Scores", told, side_by_side(*drawn))


def _instances(report: Mapping[str, Any]) -> Markup:
    drawn = (
        charts.found_shares(
            report["sizes"],
            "size, pixels of the network's input",
            "Instances found by size; in brackets, their number.",
        ),
        charts.found_shares(
            report["overlaps"],
            "overlap with a neighbour (IoU of boxes)",
            "Instances found by overlap with others.",
        ),
    )
    return section("Sizes and crowds", side_by_side(*drawn))


def _types(types: Sequence[Mapping[str, Any]]) -> Markup:
    kinds = ("jitter", "inversion", "swap", "misplaced")
    largest = max([row["gain"] for row in types] + [0.01])
    if "right" in types[0]:
        columns = ("keypoint type", "labelled", "right", *kinds, "distance", "AP to be won", "")
        rows = [
            (
                str(row["name"]).replace("_", " "),
                row["labelled"],
                _share(row["right"]),
                *(row[kind] for kind in kinds),
                _share(row["distance"]),
                _gain(row),
                bar(row["gain"] / largest),
            )
            for row in types
        ]
        told = (
            "Keypoints of instances that were found. Distance: median distance from the truth as a "
            "share of the instance's size."
        )
        return section("Keypoint types", told, table(columns, rows))
    rows = [
        (
            row["name"],
            row["labelled"],
            _share(row["found"]),
            row["false"],
            _gain(row),
            bar(row["gain"] / largest),
        )
        for row in types
    ]
    columns = ("class", "labelled", "found", "false", "AP to be won", "")
    return section("Classes", table(columns, rows))


def _worst(worst: Sequence[Compared]) -> Markup:
    pictures = [photo(one.image, f"{one.file}: {one.errors}") for one in worst]
    return section(
        "The worst images",
        "Those with the most errors. The truth is on the left, the prediction on the right.",
        *pictures,
    )


def _percent(value: float | None, digits: int = 1) -> str:
    if value is None or value == -1:
        return "–"
    return f"{100 * value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{_percent(value)} %"


def _gain(row: Mapping[str, Any], name: str = "gain") -> str:
    return f"{100 * row[name]:+.1f}".replace("-", "−")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
