"""Figures with axes: tags of instances, and the shape of the push term."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tagwise.plot.style import drawable, instance_colour, set_title, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Tagged(Protocol):
    """The attributes that a plot of tags needs; every result of `tagwise.results` has them."""

    def __len__(self) -> int: ...
    @property
    def file(self) -> str | None: ...
    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]: ...


def plot_tags(found: Tagged, title: str | None = None) -> Figure:
    """Plot the tags of one image, with one panel per tag component and one row per keypoint type.

    If the tags separate the instances, each instance is a narrow vertical line apart from the
    others, as in figure 3 of Newell et al. 2017. For boxes, the rows are the two corners. Colours
    are those of `draw_poses`. At most four components are shown, all at the same scale, so that
    distances can be compared.
    """
    from matplotlib.figure import Figure

    names, scores, tags = found.tag_rows()
    D = tags.shape[2]
    panels = min(max(D, 1), 4)
    figure = Figure(figsize=(1.5 + 4 * panels, 1.5 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for d, axis in enumerate(axes):
        for n in reversed(range(len(found) if D else 0)):
            colour = np.array(instance_colour(n)) / 255 * 0.85
            values = tags[n, :, d]
            found_rows = np.isfinite(values)
            x, y = values[found_rows], rows[found_rows]
            axis.plot(x, y, "-", color=colour, lw=1.2, alpha=0.6, zorder=2)
            axis.scatter(
                x,
                y,
                s=12 + 50 * scores[n, found_rows],
                color=[colour],
                edgecolors="white",
                linewidths=0.7,
                zorder=3,
            )
        axis.set_xlabel("tag" if panels == 1 else f"tag, component {d + 1}")
        tidy(axis)
    spans = [axis.get_xlim() for axis in axes]
    half = max(high - low for low, high in spans) / 2
    for axis, (low, high) in zip(axes, spans):
        axis.set_xlim((low + high) / 2 - half, (low + high) / 2 + half)
    labels = [drawable(name.replace("_", " ")) for name in names]
    axes[0].set_yticks(rows, labels, parse_math=False)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    instances = "1 instance" if len(found) == 1 else f"{len(found)} instances"
    name = Path(found.file).name if found.file else "tags"
    set_title(figure, title or f"{name}: {instances}")
    return figure


def plot_push(sigma: float = 1.0, margin: float = 1.0) -> Figure:
    """Plot both forms of the push term of two instances against the distance d of their tags.

    sigma: σ in exp(-d² / 2σ²) (Newell et al. 2017, equation 1). margin: the margin in
    max(0, margin - d) (Law and Deng 2018, equation 5).
    """
    from matplotlib.figure import Figure

    distance = np.linspace(0, max(4 * sigma, 2 * margin), 400)
    forms = (
        (f"exp(-d²/2σ²), σ = {sigma:g}", np.exp(-(distance**2) / (2 * sigma**2)), 0),
        (f"max(0, m - d), m = {margin:g}", np.maximum(0, margin - distance), 1),
    )
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for label, loss, n in forms:
        colour = np.array(instance_colour(n)) / 255 * 0.85
        axis.plot(distance, loss, color=colour, lw=2.2, label=label)
        axis.plot(distance, -np.gradient(loss, distance), color=colour, lw=1.2, ls=":")
    axis.plot([], [], color="0.4", lw=1.2, ls=":", label="repulsion (negative slope)")
    axis.set(xlabel="distance d between the tags of two instances", ylabel="push")
    axis.legend(frameon=False)
    tidy(axis)
    return figure
