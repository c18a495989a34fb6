"""Figures with axes: tags of instances, the shape of the push term, and curves of a training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tagwise.plot.style import (
    MARKERS,
    axis_colour,
    drawable,
    set_title,
    show_image,
    soft_colour,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 30  # instances that are numbered; more would hide each other
_MOST_PANELS = 3  # tags with more components are projected on their principal axes


class Tagged(Protocol):
    """The attributes that a plot of tags needs; every result of `tagwise.results` has them."""

    def __len__(self) -> int: ...
    @property
    def file(self) -> str | None: ...
    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]: ...


def plot_tags(found: Tagged, title: str | None = None, photo: np.ndarray | None = None) -> Figure:
    """Plot the tags of one image, with one panel per tag component and one row per keypoint type.

    If the tags separate the instances, each instance is a narrow vertical line apart from the
    others, as in figure 3 of Newell et al. 2017. Keypoints that were not detected are absent. For
    boxes, the rows are the two corners. Each instance has the hue of `draw_poses`, a marker and
    the number of its rank. All panels have the same scale, so that distances can be compared. Tags
    with more than three components are projected on their first two principal axes, and the labels
    of the axes say how much of the variance these hold.

    photo: (H, W, 3) uint8 RGB, with the instances drawn on it; it is shown on the left.
    """
    names, scores, tags = found.tag_rows()
    tags, labels = _panels(np.asarray(tags, np.float64))
    figure, axes = _tag_axes(len(labels), len(names), photo)
    values = [
        tags[..., d] if tags.shape[2] else np.empty((0, len(names))) for d in range(len(axes))
    ]
    for d, axis in enumerate(axes):
        _draw_tags(axis, values[d], scores)
        axis.set_xlabel(labels[d])
        axis.set_yticks(np.arange(len(names)), [""] * len(names))
        axis.set_ylim(len(names) - 0.4, -1.1)
    _same_scale(axes)
    for axis, shown in zip(axes, values):
        _number_lines(axis, shown)
    rows = [drawable(name.replace("_", " ")) for name in names]
    axes[0].set_yticks(np.arange(len(names)), rows, parse_math=False)
    instances = "1 instance" if len(found) == 1 else f"{len(found)} instances"
    name = Path(found.file).name if found.file else "tags"
    set_title(figure, title or f"{name}: {instances}")
    return figure


def _tag_axes(panels: int, rows: int, photo: np.ndarray | None) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel per tag component, and its axes, to the right of the photo."""
    from matplotlib.figure import Figure

    tall = max(2.6 if photo is not None else 0.0, 1.5 + 0.24 * rows)
    widths = [4.0 if photo is None else 3.4] * panels
    if photo is not None:
        height, width = photo.shape[:2]
        widths.insert(0, (tall - 0.4) * float(np.clip(width / height, 0.5, 2)))
    figure = Figure(figsize=(1.5 + sum(widths), tall), layout="constrained")
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    axes = [figure.add_subplot(grid[0, n]) for n in range(len(widths))]
    if photo is not None:
        show_image(axes.pop(0), photo)
    return figure, axes


def _panels(tags: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The values of each panel (N, R, panels), and the labels of the axes; tags: (N, R, D)."""
    dims = tags.shape[2]
    if dims <= _MOST_PANELS:
        one = ["tag"]
        return tags, one if dims <= 1 else [f"tag, component {d + 1}" for d in range(dims)]
    known = np.isfinite(tags).all(-1)
    middle = tags[known].mean(axis=0) if known.any() else np.zeros(dims)
    _, values, axes = np.linalg.svd(tags[known] - middle, full_matrices=False)
    values = np.append(values, [0.0, 0.0])[: max(2, len(values))]
    share = values**2 / max(float((values**2).sum()), 1e-12)
    shown = np.full((*tags.shape[:2], 2), np.nan)
    shown[known] = (tags[known] - middle) @ np.vstack([axes, np.zeros((2, dims))])[:2].T
    return shown, [f"tag, principal axis {i + 1} of {dims} ({share[i]:.0%})" for i in range(2)]


def _draw_tags(axis: Axes, values: np.ndarray, scores: np.ndarray) -> None:
    """Draw one panel: a line of markers per instance; values: (N, R), NaN where absent."""
    rows = np.arange(values.shape[1])
    for n in reversed(range(len(values))):
        colour, known = axis_colour(n), np.isfinite(values[n])
        if not known.any():
            continue
        x, y = values[n, known], rows[known]
        axis.plot(x, y, "-", color=colour, lw=1.2, alpha=0.6, zorder=2)
        axis.scatter(
            x,
            y,
            s=14 + 50 * scores[n, known],
            marker=MARKERS[n % len(MARKERS)],
            color=[colour],
            edgecolors=axis.get_facecolor(),
            linewidths=0.7,
            zorder=3,
        )
    tidy(axis)


def _number_lines(axis: Axes, values: np.ndarray) -> None:
    """Write the number of each instance above its line, side by side where lines are close."""
    known = [n for n in range(len(values)) if np.isfinite(values[n]).any()]
    if not 1 < len(known) <= MOST_NUMBERS:
        return
    place = {n: float(np.nanmedian(values[n])) for n in known}
    order = sorted(known, key=place.__getitem__)
    low, high = axis.get_xlim()
    gap = (high - low) / 25
    for before, n in pairwise(order):
        place[n] = max(place[n], place[before] + gap)
    for n in known:
        axis.annotate(
            str(n + 1), (place[n], -0.6), color=axis_colour(n), weight="bold", ha="center"
        )


def _same_scale(axes: Sequence[Axes]) -> None:
    """Give all panels the same scale, so that distances can be compared."""
    spans = [axis.get_xlim() for axis in axes]
    half = max(high - low for low, high in spans) / 2
    for axis, (low, high) in zip(axes, spans):
        axis.set_xlim((low + high) / 2 - half, (low + high) / 2 + half)


def plot_push(sigma: float = 1.0, margin: float = 1.0) -> Figure:
    """Plot both forms of the push term over the difference d of two mean tags, and its gradient.

    sigma: σ in exp(-d² / 2σ²) (Newell et al. 2017, equation 1). margin: the margin in
    max(0, margin - |d|) (Law and Deng 2018, equation 5).
    """
    from matplotlib.figure import Figure

    far = max(4 * sigma, 2 * margin)
    d = np.linspace(-far, far, 801)
    bell = np.exp(-(d**2) / (2 * sigma**2))
    near = np.abs(d) < margin
    forms = (
        (f"exp(-d²/2σ²), σ = {sigma:g}", bell, -d / sigma**2 * bell, "-"),
        (
            f"max(0, m - |d|), m = {margin:g}",
            np.maximum(0, margin - np.abs(d)),
            np.where(near, -np.sign(d), 0.0),
            "--",
        ),
    )
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    loss, gradient = figure.subplots(1, 2)
    for n, (label, value, slope, style) in enumerate(forms):
        loss.plot(d, value, style, color=axis_colour(n), lw=2.2, label=label)
        gradient.plot(d, slope, style, color=axis_colour(n), lw=2.2, label=label)
    for axis, name in ((loss, "push loss"), (gradient, "gradient of the push loss")):
        axis.set(xlabel="difference d of two mean tags", title=name)
        tidy(axis)
    gradient.axhline(0, color=soft_colour(), lw=0.8)
    loss.legend(frameon=False, loc="upper right", fontsize=9)
    return figure
