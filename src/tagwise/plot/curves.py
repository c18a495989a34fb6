"""Curves of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tagwise.plot.style import axis_colour, set_title, soft_colour, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOT_TERMS = ("step", "lr", "gradient", "images_per_second", "share_waiting")
_STYLES = ("-", "--", ":", "-.")
_POINTS = 300  # the most points of a curve


def plot_curves(rows: Sequence[Mapping[str, Any]], title: str | None = None) -> Figure:
    """Plot the terms of the loss, the figures of the validations and the learning rate of a run.

    rows: of log.jsonl: {"step": 50, "total": 1.2, "pull": .3, "lr": .001}; those of validations
        have figures whose names start with "val_". Panels without figures are left out. Curves
        differ in colour and in line style, and each has its name at its end.
    """
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for name in row)
    terms = [n for n in names if n not in _NOT_TERMS and not n.startswith("val_")]
    measured = [n for n in names if n.startswith("val_") and "/" not in n and "@" not in n]
    panels = [("terms of the loss", terms, 1.0), ("validation, %", measured[:3], 100.0)]
    panels.append(("learning rate", [n for n in ("lr",) if n in names], 1.0))
    panels = [panel for panel in panels if panel[1]]
    figure = Figure(figsize=(4.6 * max(1, len(panels)), 3.6), layout="constrained")
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axis, (name, columns, factor) in zip(axes, panels):
        # Negative figures have no labels in the set, and an axis of logarithms has no zero.
        least = 0.0 if name == "validation, %" else 1e-12
        for n, column in enumerate(columns):
            points = [(row["step"], factor * row[column]) for row in rows if column in row]
            points = [point for point in points if point[1] >= least] or [(np.nan, np.nan)]
            _draw_curve(axis, np.array(points, float), column.removeprefix("val_"), n)
        axis.set(xlabel="step", title=name)
        if name == "terms of the loss":
            axis.set_yscale("log")
        if name == "validation, %":
            axis.set_ylim(bottom=0)
        if len(columns) > 1:
            axis.legend(frameon=False, fontsize=9)
        tidy(axis)
    set_title(figure, title or "training")
    return figure


def _draw_curve(axis: Axes, points: np.ndarray, label: str, number: int) -> None:
    """Draw one curve, as means over parts if there are many points; points: (P, 2)."""
    parts = np.array_split(points, min(len(points), _POINTS))
    steps, values = np.array([part.mean(0) for part in parts]).T
    few = len(steps) < 30
    axis.plot(
        *(steps, values, _STYLES[number % len(_STYLES)]),
        color=axis_colour(number) if label != "lr" else soft_colour(),
        lw=2.2 if label == "total" else 1.6,
        marker="osD^v"[number % 5] if few else None,
        ms=4,
        label=label,
    )
