"""The charts of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagwise.plot.page import Markup, chart, chart_colour, figure_svg

_BLUE, _ORANGE, _GREY = chart_colour(0), "#e07b2f", "#808080"


def tag_histogram(tags: Mapping[str, Any]) -> Markup:
    """The distances of tags of the same instance and of neighbours, with the threshold."""
    figure, axes = chart()
    same, other = (np.array(tags["drawn"][name]) for name in ("same", "other"))
    limit = 3 * tags["threshold"]
    if len(other):
        limit = max(limit, float(np.quantile(other, 0.6)))
    edges = np.linspace(0, limit, 41)
    for values, name, colour in (
        (same, "same instance", _BLUE),
        (other, "two neighbours", _ORANGE),
    ):
        if len(values):
            weights = np.full(len(values), 100 / len(values))
            clipped = np.minimum(values, limit)
            axes.hist(clipped, edges, weights=weights, color=colour, alpha=0.75, label=name)
    axes.axvline(tags["threshold"], color="0.5", ls="--", lw=1.2, label="tag threshold")
    axes.set(xlabel="distance of two tags (the last bar has all larger ones)", ylabel="% of pairs")
    axes.legend(frameon=False, loc="upper center")
    return figure_svg(figure, "Tags separate instances if the two colours do not overlap.")


def wrong_pairs(
    rows: Sequence[Mapping[str, Any]], what: str, caption: str, unit: float = 1.0
) -> Markup:
    """The share of pairs of neighbours on the wrong side of the threshold, by one value."""
    known = [row for row in rows if row["pairs"]]
    return _bars(
        [_interval(row, unit) for row in known],
        [100 * row["wrong"] for row in known],
        (what, "% of pairs confused"),
        caption,
        _ORANGE,
    )


def found_shares(rows: Sequence[Mapping[str, Any]], what: str, caption: str) -> Markup:
    """The share of instances that are found, by one value of theirs."""
    known = [row for row in rows if row["instances"]]
    names = [f"{_interval(row)}\n({row['instances']})" for row in known]
    shares = [100 * row["found"] for row in known]
    return _bars(names, shares, (what, "% of instances found"), caption, _BLUE, top=100)


def _bars(
    names: Sequence[str],
    values: Sequence[float],
    axes_names: tuple[str, str],
    caption: str,
    colour: str,
    top: float | None = None,
) -> Markup:
    figure, axes = chart()
    axes.bar(range(len(names)), values, color=colour, width=0.7)
    axes.set_xticks(range(len(names)), names)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
    axes.grid(False, axis="x")
    axes.set_ylim(0, top or max([1.0, *values]) * 1.1)
    return figure_svg(figure, caption)


def _interval(row: Mapping[str, Any], unit: float = 1.0) -> str:
    """The name of a bin: "16–32", "256+", "none"."""
    low, high = row["from"] * unit, row["to"]
    if high is not None and high * unit < 1e-6:
        return "none"
    low = 0 if low < 1e-6 else low
    return f"{low:g}+" if high is None else f"{low:g}–{high * unit:g}"


def reliability_chart(scores: Mapping[str, Any]) -> Markup:
    """Precision by score, beside the line of scores that mean what they say."""
    figure, axes = chart()
    known = [row for row in scores["bins"] if row["count"]]
    axes.plot([0, 1], [0, 1], color="0.5", ls="--", lw=1.2, label="reliable scores")
    x, y = [row["score"] for row in known], [row["precision"] for row in known]
    largest = max([row["count"] for row in known], default=1)
    sizes = [20 + 160 * np.sqrt(row["count"] / largest) for row in known]
    axes.plot(x, y, color=_BLUE, lw=1.2, alpha=0.6)
    axes.scatter(x, y, s=sizes, color=_BLUE, zorder=3, label="detections (area: their number)")
    axes.set(xlabel="score", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(frameon=False, loc="upper left")
    below = "Points below the line: scores are too high; above: too low."
    return figure_svg(figure, below)


def threshold_chart(scores: Mapping[str, Any], threshold: float) -> Markup:
    """Precision, recall and F1 by the threshold of scores."""
    figure, axes = chart()
    curve = scores["curve"]
    for name, colour, width in (
        ("precision", _GREY, 1.2),
        ("recall", _ORANGE, 1.2),
        ("f1", _BLUE, 2.2),
    ):
        label = "F1" if name == "f1" else name
        style = ":" if name == "precision" else "-"
        axes.plot(curve["threshold"], curve[name], style, color=colour, lw=width, label=label)
    axes.axvline(threshold, color="0.5", ls="--", lw=1.2, label="threshold now")
    axes.set(xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.03))
    axes.legend(frameon=False, loc="lower left")
    best = scores["best_threshold"]
    return figure_svg(figure, f"The best F1 is {100 * scores['best_f1']:.1f}, at {best:.2f}.")
