"""report.html of a training run: curves, example images, tags, and what to watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.files import trim_lines, whole_file
from tagwise.plot import page
from tagwise.plot.figures import plot_tags
from tagwise.results import Result
from tagwise.tasks import Task
from tagwise.training.examples import Examples, TrueTags
from tagwise.training.recipe import Recipe
from tagwise.training.watch import History, advise

_NOT_TERMS = ("step", "lr", "images_per_second", "share_waiting")
_EARLIER = 5  # earlier validations whose pictures are shown
_POINTS = 200  # the most points of a curve

_MEANING = {
    "total": "total: the weighted sum of all terms, which training lowers",
    "heatmaps": "heatmaps: how well keypoints are found",
    "pull": "pull: how far the tags of one instance are spread; it should fall",
    "push": "push: how similar the tags of different instances are; it should fall",
    "offsets": "offsets: how far found places are from the true ones, in cells",
    "gradient": "gradient: its norm before clipping; peaks mean that optim.lr is high",
}


def write_report(folder: Path, recipe: Recipe, examples: Examples, task: Task) -> None:
    """Write report.html in the folder of a run, completely or not at all.

    Raises UserError if it cannot be written.
    """
    logged, _ = trim_lines(folder / "log.jsonl")
    rows = [row for row in logged if "total" in row]
    validations = [row for row in logged if any(name.startswith("val_") for name in row)]
    steps = examples.steps()
    tags = [examples.tags(index, steps[-1]) for index in examples.indices] if steps else []
    count = len(examples.val)
    history = History(recipe, rows, validations, [t.tags for t in tags if t is not None], count)
    sections = [
        _summary(history),
        _figures(history),
        _losses(rows),
        *_images(examples, steps, task),
    ]
    title = f"Training of {folder.name}"
    text = page.page(title, sections, _subtitle(history))
    with whole_file(folder / "report.html") as file:
        file.write(text.encode())


def _subtitle(history: History) -> str:
    recipe = history.recipe
    sets = ", ".join(config.annotations for config in recipe.data.train)
    return (
        f"{recipe.model.name}, {recipe.task}, trained on {sets}. This page is written again at "
        "each validation; reload it."
    )


# ---------------------------------------------------------------------- figures and losses


def _summary(history: History) -> page.Markup:
    done = max((row["step"] for row in (*history.rows, *history.validations)), default=0)
    cards = [(f"{done:,}", f"of {history.recipe.optim.steps:,} steps")]
    name, column = history.recipe.run.best, history.best
    measured = [row for row in history.validations if column in row]
    if measured:
        best = max(measured, key=lambda row: row[column])
        cards.append((_percent(best[column]), f"best {name}, at step {best['step']:,}"))
        cards.append((_percent(measured[-1][column]), f"{name} now"))
    if history.rows:
        cards.append(
            (f"{history.last('total'):.3g}", f"loss, {history.first('total'):.3g} at first")
        )
    items = advise(history)
    calm = "Nothing unusual so far: the loss falls, and the tags of different instances differ."
    return page.section("What to watch", page.cards(cards), page.advice(items) if items else calm)


def _figures(history: History) -> page.Markup:
    names = _columns(history.validations, "val_")
    shown = [name for name in names if "/" not in name and "@" not in name]
    first = [name for name in (history.best, *shown) if name in names]
    chosen = list(dict.fromkeys(first))[:3]
    figure, axes = page.chart(9.0, 3.0)
    for number, name in enumerate(chosen):
        points = [(row["step"], 100 * row[name]) for row in history.validations if name in row]
        style = {"lw": 2.2 if number == 0 else 1.3, "alpha": 1 if number == 0 else 0.7}
        colour = page.chart_colour(number)
        label = name.removeprefix("val_")
        axes.plot(*zip(*points), "-o", ms=4, color=colour, label=label, **style)
    axes.set(xlabel="step", xlim=(0, history.recipe.optim.steps), ylim=(0, 100))
    if chosen:
        axes.legend(frameon=False, loc="upper left", ncols=3)
    caption = f"in percent, on the validation set; {history.recipe.run.best} chooses the best model"
    latest = history.validations[-1:] and history.validations[-1]
    table = page.table(
        ["figure", "now", "best"],
        [
            [
                name.removeprefix("val_"),
                _percent(latest[name]),
                _percent(max(row[name] for row in history.validations if name in row)),
            ]
            for name in names
            if latest.get(name, -1) >= 0
        ],
    )
    return page.section("Figures of the validation set", page.figure_svg(figure, caption), table)


def _losses(rows: Sequence[dict[str, Any]]) -> page.Markup:
    charts = []
    names = [name for name in _columns(rows) if name not in _NOT_TERMS]
    for number, name in enumerate(names):
        figure, axes = page.chart(4.4, 2.4)
        steps, values = _thinned([(row["step"], row[name]) for row in rows if name in row])
        axes.plot(steps, values, color=page.chart_colour(number), lw=1.6)
        top = float(np.max(values[len(values) // 20 :]))  # the first steps may be far above
        axes.set(xlabel="step", ylim=(0, 1.15 * top or 1))
        charts.append(page.figure_svg(figure, _MEANING.get(name, name)))
    return page.section("Terms of the loss", page.side_by_side(*charts))


def _columns(rows: Sequence[dict[str, Any]], prefix: str = "") -> list[str]:
    """The names of columns with numbers, in the order in which they occur."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(prefix))
    return list(names)


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of a curve, as means over parts if there are many points."""
    parts = np.array_split(np.array(points, float), min(len(points), _POINTS))
    return tuple(np.array([part.mean(0) for part in parts]).T)


# ---------------------------------------------------------------------- example images


def _images(examples: Examples, steps: Sequence[int], task: Task) -> list[page.Markup]:
    """One section per example image: labels, what is found now, its tags, and earlier results."""
    if not steps:
        return []
    places = np.linspace(0, len(steps) - 2, min(_EARLIER, len(steps) - 1))
    shown = [*(steps[round(place)] for place in places), steps[-1]]
    sections = []
    for number, index in enumerate(examples.indices, 1):
        drawn = examples.pictures(index, shown, task)
        if drawn is None:
            continue
        truth, pictures = drawn
        file = Path(examples.val.info(index).file).name
        title = f"Example {number}: {file}"
        found = [examples.found(index, step) for step in shown]
        now = f"{_count(shown[-1], found[-1])}, with scores of at least {examples.threshold:g}"
        parts = [
            page.side_by_side(
                page.photo(truth, f"labels: {examples.truth_count(index)}"),
                page.photo(pictures[-1], now),
            )
        ]
        parts += _tags(examples.tags(index, shown[-1]))
        if len(shown) > 1:
            earlier = [
                page.photo(picture[::2, ::2], _count(step, result), 75)
                for step, picture, result in zip(shown[:-1], pictures, found)
            ]
            parts += ["The same image at earlier validations:", page.strip(*earlier)]
        sections.append(page.section(title, *parts))
    return sections


def _count(step: int, found: Result | None) -> str:
    return f"step {step:,}: {0 if found is None else len(found)} found"


def _tags(tags: TrueTags | None) -> list[page.Markup]:
    """The plot of the tags of an image; none if the task has no such measure."""
    if tags is None or not tags.tags.shape[2]:
        return []
    caption = (
        "Tags that the network gives to the labelled instances, in the colours of the labels. "
        "Instances can be told apart if each is a narrow vertical line, away from the others."
    )
    return [page.wide(page.figure_svg(plot_tags(tags, title="tags at the true places"), caption))]


def _percent(figure: float) -> str:
    return "–" if figure < 0 else f"{100 * figure:.1f}"
