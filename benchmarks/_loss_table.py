"""The finished runs of `losses.py`, and the tables and the figure that are made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _loss_points import POSITION
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tagwise.errors import UserError
from tagwise.files import whole_file

FACTORS = (0.33, 1.0, 3.0)  # of the usual learning rate, and of the usual weight of the tag loss
USUAL, TRIPLED = (1.0, 1.0), (1.0, 3.0)  # factors of learning rate and weight
COLUMNS = 4  # of the figure
COLOURS = ("#3366cc", "#66aadd", "#dd7711", "#229955", "#aa44aa", "#999999")
MARKERS = "<!-- written by benchmarks/losses.py --report -->", "<!-- end -->"


class Key(NamedTuple):
    """What a run was: its task, loss and seed, and factors of learning rate and weight."""

    task: str
    loss: str
    seed: int
    lr: float = 1.0
    weight: float = 1.0


class Runs:
    """Finished runs by key."""

    def __init__(self) -> None:
        self.rows: dict[Key, dict[str, Any]] = {}

    @classmethod
    def read(cls, path: Path) -> Runs:
        """The runs in a file of JSON lines; none if there is no such file."""
        runs = cls()
        for line in path.read_text().splitlines() if path.is_file() else ():
            runs.add(json.loads(line))
        return runs

    def add(self, row: dict[str, Any]) -> None:
        self.rows[Key(*(row[name] for name in Key._fields))] = row

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def names(self, field: str) -> list[str]:
        """The tasks, or the losses, of the runs, in the order of the first run of each."""
        return list(dict.fromkeys(getattr(key, field) for key in self.rows))

    def of(self, task: str, loss: str, factors: tuple[float, float]) -> list[dict[str, Any]]:
        """The runs of a loss at factors of learning rate and weight, one per seed."""
        return [r for k, r in self.rows.items() if k[:2] == (task, loss) and k[3:] == factors]

    def grid(self, task: str, loss: str) -> dict[tuple[float, float], dict[str, Any]]:
        """The runs of seed 0 by their factors of learning rate and weight."""
        return {k[3:]: r for k, r in self.rows.items() if k[:3] == (task, loss, 0)}

    def losses(self, task: str) -> list[str]:
        """The losses that were run on a task."""
        ran = {key.loss for key in self.rows if key.task == task}
        return [loss for loss in self.names("loss") if loss in ran]

    def with_grid(self, task: str) -> list[str]:
        """The losses that were run on a task at several learning rates."""
        rates = {loss: {lr for lr, _ in self.grid(task, loss)} for loss in self.losses(task)}
        return [loss for loss, found in rates.items() if len(found) == len(FACTORS)]


def best_factors(runs: Runs, task: str, loss: str) -> tuple[float, float]:
    """The learning rate and weight of the best run of the grid, by the score that was tuned on.

    Of equal ones, the nearest to 1.
    """
    grid = runs.grid(task, loss)
    return max(grid, key=lambda f: (grid[f]["tuned"], -sum(factor != 1 for factor in f)))


def steps_to(curve: Sequence[Sequence[float]], share: float = 0.9) -> float:
    """The step at which a score first reaches a share of the last one, between measurements.

    >>> steps_to([[10, 0.2], [20, 0.8], [30, 0.8]])
    18.67
    """
    goal = share * curve[-1][1]
    before, low = 0, 0.0
    for step, score in curve:
        if score >= goal:
            part = (goal - low) / (score - low) if score > low else 1.0
            return round(before + part * (step - before), 2)
        before, low = step, score
    raise ValueError("a curve ends at its last score")


def write_report(runs: Runs, page: Path) -> str:
    """Write the tables into a page, between MARKERS, and the figure beside it; return the tables.

    Raises UserError if there are no runs, or the page has no place for the tables.
    """
    if not runs.rows:
        raise UserError("there is no finished run; start benchmarks/losses.py without --report")
    start, end = MARKERS
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    place = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not place.search(text):
        raise UserError(f"{page} has no lines {start} and {end}; add them where the tables go")
    found = tables(runs)
    with whole_file(page) as file:
        file.write(place.sub(lambda _: f"{start}\n\n{found}\n{end}", text).encode())
    with whole_file(page.parent / "images" / f"{page.stem}.png") as file:
        draw(runs).savefig(file, format="png", dpi=110)
    return found


def tables(runs: Runs) -> str:
    """A table of all tasks, and one table per task, in Markdown."""
    names, losses = runs.names("task"), runs.names("loss")
    rows = [[f"`{loss}`", *(scores(runs.of(t, loss, USUAL)) for t in names)] for loss in losses]
    parts = [table(["loss", *names], rows)]
    for task in names:
        columns, ran = columns_of(runs, task), runs.losses(task)
        rows = [[f"`{loss}`", *(make(loss) for make in columns.values())] for loss in ran]
        parts.append(f"**{task}**\n\n{table(['loss', *columns], rows)}")
    return "\n".join(parts)


def columns_of(runs: Runs, task: str) -> dict[str, Callable[[str], str]]:
    """The columns of the table of a task: from a loss to a cell."""

    def usual(cell: Callable[[list[dict]], str]) -> Callable[[str], str]:
        return lambda loss: cell(runs.of(task, loss, USUAL))

    columns = {
        "score": usual(scores),
        "steps to 90 %": usual(lambda rows: f"{mean(rows, lambda r: steps_to(r['curve'])):.0f}"),
        "extent of tags": usual(lambda rows: f"{mean(rows, lambda r: r['extent']):.1f}"),
        "bandwidth": usual(lambda rows: f"{np.median([row['bandwidth'] for row in rows]):g}"),
        "CPU s": usual(lambda rows: f"{mean(rows, lambda r: r['seconds']):.1f}"),
    }
    if any(runs.of(task, loss, TRIPLED) for loss in runs.losses(task)):
        columns["weight × 3"] = lambda loss: scores(runs.of(task, loss, TRIPLED))
    if grids := runs.with_grid(task):

        def of_grid(cell: Callable[[Runs, str, str], str]) -> Callable[[str], str]:
            return lambda loss: cell(runs, task, loss) if loss in grids else ""

        columns |= {
            "best of the grid": of_grid(best_of_grid),
            "grid: median, worst": of_grid(spread_of_grid),
        }
    return columns


def scores(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds in %; a note if there are fewer than three seeds."""
    values = [100 * row["score"] for row in rows]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    note = "" if len(values) > 2 else f" ({len(values)} seeds)"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}{note}"


def mean(rows: list[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> float:
    return float(np.mean([value(row) for row in rows]))


def best_of_grid(runs: Runs, task: str, loss: str) -> str:
    """The score where the tuned score is best, and the factors of learning rate and weight."""
    factors = best_factors(runs, task, loss)
    lr, weight = (f"{factor:g}" for factor in factors)
    return f"{scores(runs.of(task, loss, factors))}, lr × {lr}, weight × {weight}"


def spread_of_grid(runs: Runs, task: str, loss: str) -> str:
    values = [100 * row["score"] for row in runs.grid(task, loss).values()]
    return f"{np.median(values):.1f}, {min(values):.1f}"


def table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), ""])


def draw(runs: Runs) -> Figure:
    """Curves of all tasks, and for those with a grid the scores of all places of the grid."""
    names, losses = runs.names("task"), runs.names("loss")
    grids = [task for task in names if runs.with_grid(task)]
    count = len(names) + len(grids)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.9 * columns + 1, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    looks = {loss: look_of(loss, losses) for loss in losses}
    for axis, task in zip(axes.flat, names):
        for loss in losses:
            draw_curve(axis, runs.of(task, loss, USUAL), looks[loss])
        axis.set(title=task, xlabel="training step", ylim=(0, 100))
        axis.grid(alpha=0.3)
    for axis, task in zip(axes.flat[len(names) :], grids):
        draw_grid(axis, runs, task, {loss: looks[loss] for loss in runs.with_grid(task)})
    for axis in axes.flat[count:]:
        axis.axis("off")
    for axis in axes[:, 0]:
        axis.set_ylabel("score in %, mean over seeds")
    lines = [Line2D([], [], **look) for look in looks.values()]
    figure.legend(lines, losses, loc="outside right", frameon=False)
    return figure


def look_of(loss: str, losses: list[str]) -> dict[str, str]:
    """Each loss has its colour; its line is dashed if its tags start from the position."""
    form = loss.removesuffix(POSITION)
    forms = [name for name in losses if not name.endswith(POSITION)]
    style = "-" if form == loss else "--"
    return {"color": COLOURS[forms.index(form)], "linestyle": style, "marker": "."}


def draw_curve(axis, rows: list[dict[str, Any]], look: dict[str, str]) -> None:
    if rows:
        curves = np.array([row["curve"] for row in rows]).mean(0)
        axis.plot(curves[:, 0], 100 * curves[:, 1], **look)


def draw_grid(axis, runs: Runs, task: str, looks: dict[str, dict[str, str]]) -> None:
    for place, (loss, look) in enumerate(looks.items()):
        for (lr, _), row in runs.grid(task, loss).items():
            shift = 0.22 * (FACTORS.index(lr) - 1)
            axis.plot(place + shift, 100 * row["score"], ".", color=look["color"])
    axis.set_xticks(range(len(looks)), list(looks), rotation=60)
    axis.set(title=f"{task}: rate × weight")
    axis.grid(alpha=0.3, axis="y")
