"""The picture (place 5 of 5, with `metric.py`): scenes, coloured by group."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from .data import Batch

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
NOISE = "#cccccc"


def plot_groups(path: Path, batch: Batch, rows: dict[str, np.ndarray]) -> None:
    """Draw the first four scenes of a batch, with one row of pictures per grouping.

    rows: the title of each row, and the group of each point, (B, P), -1 for none. A
        group has the colour of the true group with which it shares most points.
    """
    scenes = min(4, len(batch.group))
    size = (2.5 * scenes, 2.7 * len(rows))
    figure, axes = plt.subplots(len(rows), scenes, figsize=size, squeeze=False)
    for line, (title, groups) in zip(axes, rows.items(), strict=True):
        line[0].set_title(title, loc="left")
        for scene, axis in enumerate(line):
            used = batch.used[scene].cpu().numpy()
            truth = batch.group[scene].cpu().numpy()[used]
            colours = match_colours(groups[scene][used], truth)
            _draw_scene(axis, batch.features[scene].cpu().numpy()[used], colours)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def match_colours(found: np.ndarray, truth: np.ndarray) -> list[str]:
    """Return a colour for each point of a scene; found, truth: (P,), -1 for none.

    The largest groups choose first. Two groups share a colour only if none is left.
    """
    names, sizes = np.unique(found[found >= 0], return_counts=True)
    numbers: dict[int, int] = {-1: -1}
    for name in names[np.argsort(-sizes, kind="stable")].tolist():
        own = truth[(found == name) & (truth >= 0)]
        wanted = np.argsort(-np.bincount(own, minlength=len(COLOURS)), kind="stable")
        free = [n for n in wanted.tolist() if n not in numbers.values()]
        numbers[name] = free[0] if free else name
    colours = [*COLOURS, NOISE]  # number -1 is the last
    return [
        colours[numbers[name] % len(COLOURS) if name >= 0 else -1]
        for name in found.tolist()
    ]


def _draw_scene(axis: Axes, features: np.ndarray, colours: list[str]) -> None:
    """Draw each point as a short line in its direction."""
    for (x, y, cosine, sine), colour in zip(features.tolist(), colours, strict=True):
        angle = np.arctan2(sine, cosine) / 2
        dx, dy = 0.07 * np.cos(angle), 0.07 * np.sin(angle)
        axis.plot([x - dx, x + dx], [y - dy, y + dy], color=colour, linewidth=2)
    limits = (-1.15, 1.15)
    axis.set(aspect="equal", xticks=[], yticks=[], xlim=limits, ylim=limits)
