"""What to watch in a training run: rules over its log, each with the figures behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagwise.training.recipe import Recipe

Advice = tuple[str, str]
Row = dict[str, Any]

_FEW_PHOTOS = 40  # a fifth of 200
_EQUAL_TAGS = 0.25  # the push loss of equal tags is 1, or 1/2 in some published forms
_TOO_EQUAL = 0.8  # the share of its first value at which the push loss counts as stuck
_FALL = 0.02  # a difference of AP that is not a fluctuation


@dataclass(frozen=True)
class History:
    """What a run has logged so far.

    rows: of the loss. validations: rows with figures, in the order of the steps. tags: for each
    example image (N, R, D), the tags at its true detections at the last validation, NaN where one
    is missing. photos: the number of images of the validation set.
    """

    recipe: Recipe
    rows: Sequence[Row]
    validations: Sequence[Row]
    tags: Sequence[np.ndarray] = ()
    photos: int = 0

    def first(self, name: str) -> float:
        """The mean of a column in the first twentieth of the rows; NaN without rows."""
        return self._mean(name, slice(0, max(1, len(self.rows) // 20)))

    def last(self, name: str) -> float:
        """The mean of a column in the last tenth of the rows; NaN without rows."""
        return self._mean(name, slice(-max(1, len(self.rows) // 10), None))

    def _mean(self, name: str, part: slice) -> float:
        values = [row[name] for row in self.rows if name in row][part]
        return float(np.mean(values)) if values else float("nan")

    @property
    def best(self) -> str:
        """The column of the figure that chooses the best model."""
        return f"val_{self.recipe.run.best}"

    @property
    def share(self) -> float:
        """The share of the steps that are done."""
        steps = [row["step"] for row in (*self.rows[-1:], *self.validations[-1:])]
        return max(steps, default=0) / self.recipe.optim.steps


def advise(history: History) -> list[Advice]:
    """Say what needs attention in a run: (what, the figures behind it); an empty list if nothing.

    The rules compare means over the first and the last steps, so that single steps do not matter.
    """
    return [advice for rule in _RULES if (advice := rule(history)) is not None]


def _diverged(history: History) -> Advice | None:
    totals = [row["total"] for row in history.rows if "total" in row]
    if len(totals) < 20:
        return None
    width = max(3, len(totals) // 20)
    smooth = np.convolve(totals, np.ones(width) / width, "valid")
    if smooth[-1] <= 1.5 * smooth.min():
        return None
    return (
        "The loss has risen. Lower optim.lr, or raise optim.warmup.",
        f"It was {smooth.min():.3g} at its lowest and is {smooth[-1]:.3g} now.",
    )


def _push_stuck(history: History) -> Advice | None:
    if history.share < 0.1 or len(history.rows) < 5:
        return None
    push, pull = history.last("push"), history.last("pull")
    stuck = push > max(_EQUAL_TAGS, _TOO_EQUAL * history.first("push"))
    if not (stuck and pull < 0.2 * history.first("pull")):
        return None
    return (
        "All tags are becoming equal. Set task_options.position to about a quarter of the size of "
        "an instance in pixels, or raise task_options.weights.push.",
        f"The push loss is {push:.3f}, at first {history.first('push'):.3f}, while the pull loss "
        f"fell from {history.first('pull'):.3g} to {pull:.3g}.",
    )


def _not_separated(history: History) -> Advice | None:
    close, pairs = 0, 0
    for tags in history.tags:
        gaps, spreads = tag_gaps(tags)
        close += int((gaps < 2 * spreads).sum())
        pairs += len(gaps)
    if pairs < 4 or close < pairs / 4:
        return None
    return (
        "Tags of different instances lie close together. Look at the tag plots below: colours "
        "should not mix. Train longer, or add images in which instances are close to each other.",
        f"In the example images, {close} of {pairs} instances have a neighbour nearer than twice "
        "the spread of its tags.",
    )


def _falling(history: History) -> Advice | None:
    values = [row[history.best] for row in history.validations if history.best in row]
    if len(values) < 3:
        return None
    place = int(np.argmax(values))
    if place > len(values) - 3 or max(values[-2:]) > values[place] - _FALL:
        return None
    step = history.validations[place]["step"]
    around = [row["total"] for row in history.rows if "total" in row and row["step"] <= step]
    if not around or history.last("total") >= around[-1]:
        return None
    return (
        "The network is learning its training images by heart. Add images or augmentation, or stop "
        "earlier with run.patience. best.safetensors has the best model.",
        f"{history.recipe.run.best} fell from {_percent(values[place])} at step {step:,} to "
        f"{_percent(values[-1])}, while the loss fell from {around[-1]:.3g} to "
        f"{history.last('total'):.3g}.",
    )


def _nothing_found(history: History) -> Advice | None:
    values = [row[history.best] for row in history.validations if history.best in row]
    if not values or max(values) > 0.01 or history.share < 0.3:
        return None
    return (
        "Almost nothing is found. Compare the pictures below with the labels, and see which half "
        "is at fault: tagwise eval --oracle grouping.",
        f"{history.recipe.run.best} is {_percent(values[-1])} after {history.share:.0%} of the "
        "steps.",
    )


def _waiting(history: History) -> Advice | None:
    share = history.last("share_waiting")
    if not share > 0.1:
        return None
    return (
        "The network waits for images. Raise data.workers, or data.cache_gib if images are large.",
        f"It waited {share:.0%} of the time in the last steps.",
    )


def _still_rising(history: History) -> Advice | None:
    values = [row[history.best] for row in history.validations if history.best in row]
    if history.share < 1 or len(values) < 3 or values[-1] < max(values):
        return None
    earlier = values[: max(1, round(0.8 * len(values)))][-1]
    if values[-1] - earlier < 0.01:
        return None
    return (
        "The model was still getting better. Train again with more optim.steps.",
        f"{history.recipe.run.best} rose from {_percent(earlier)} to {_percent(values[-1])} in the "
        "last fifth of the steps.",
    )


def _few_photos(history: History) -> Advice | None:
    if not 0 < history.photos < _FEW_PHOTOS or history.recipe.data.fold is not None:
        return None
    return (
        "With so few images for validation, figures depend on which ones these are. "
        "tagwise train RECIPE --folds 5 measures by how much.",
        f"There {'is 1 image' if history.photos == 1 else f'are {history.photos} images'}.",
    )


_RULES: tuple[Callable[[History], Advice | None], ...] = (
    _diverged,
    _push_stuck,
    _nothing_found,
    _falling,
    _not_separated,
    _waiting,
    _still_rising,
    _few_photos,
)


def tag_gaps(tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far apart the tags of the instances of an image are.

    tags: (N, R, D), NaN where one is missing; instances without any tag are left out.
    Returns (N,) the distance of each instance's mean tag to the nearest other one, and (N,) its
    spread, the root mean square distance of its tags to their mean; empty for less than two
    instances.
    """
    present = np.isfinite(tags).all(2)
    kept = present.any(1)
    tags, present = np.where(present[..., None], tags, 0)[kept], present[kept]
    count = present.sum(1)
    means = tags.sum(1) / count[:, None]
    squares = ((tags - means[:, None]) ** 2).sum(2) * present
    spreads = np.sqrt(squares.sum(1) / count)
    if len(means) < 2:
        return np.zeros(0), np.zeros(0)
    distances = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.min(1), spreads


def _percent(figure: float) -> str:
    return f"{100 * figure:.1f}"
