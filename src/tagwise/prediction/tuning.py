"""Settings of a decoder measured on cached maps, and fitted to one half or to all of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.evaluation.tuning.search import search
from tagwise.evaluation.tuning.space import search_space
from tagwise.evaluation.tuning.thresholds import best_f1
from tagwise.prediction.cached import CachedImage
from tagwise.settings import Settings
from tagwise.tasks import Task

AnySettings = TypeVar("AnySettings", bound=Settings)
_BLOCKS = 8  # runs of neighbouring images that stay in one half, as frames of a video should


class Detections(NamedTuple):
    """The detections of a set: scores (N,), whether each is right (N,), number of instances."""

    scores: np.ndarray
    right: np.ndarray
    instances: int


@dataclass(frozen=True)
class Objective:
    """Measures settings of a task's decoder on images whose maps are known.

    task: with the settings to start from. stride: pixels of the network's input per cell.
    dataset, images: the labelled set, and the cached ones of its images.
    scoring: options of the task's scorer. precision: None measures AP; a number, the best F1 with
    at least this precision.
    """

    task: Task
    stride: int
    dataset: Photos
    images: Sequence[CachedImage]
    scoring: dict[str, Any]
    precision: float | None = None

    @property
    def start(self) -> Settings:
        """The settings of the task's decoder."""
        return getattr(self.task, self.task.decoder)

    def with_settings(self, settings: Settings) -> Task:
        """The task with other settings of its decoder."""
        return replace(self.task, **{self.task.decoder: settings})

    def part(self, chosen: Sequence[int]) -> Objective:
        """The same on some of the images, by their place in `images`."""
        images = [self.images[number] for number in chosen]
        dataset = copy(self.dataset)
        dataset.keep([image.index for image in images])
        images = [replace(image, index=number) for number, image in enumerate(images)]
        return replace(self, dataset=dataset, images=images)

    def __call__(self, settings: Settings) -> float:
        """AP, or F1, in [0, 1]; larger is better."""
        if self.precision is not None:
            return best_f1(*self.detections(settings), self.precision)
        task, scorer = self.with_settings(settings), self._scorer()
        for image in self.images:
            scorer.add(image.index, image.decode(task, self.stride))
        return scorer.figures()[scorer.main]

    def detections(self, settings: Settings) -> Detections:
        """The detections with these settings, without those in ignored regions."""
        task, scorer = self.with_settings(settings), self._scorer()
        scores, right, instances = [np.zeros(0)], [np.zeros(0, bool)], 0
        for image in self.images:
            errors = scorer.sort_errors(image.sample, image.decode(task, self.stride))
            counted = errors.found_kinds != "ignored"
            scores.append(errors.found.scores[counted])
            right.append(errors.right[counted])
            instances += len(errors.truth)
        return Detections(np.concatenate(scores), np.concatenate(right), instances)

    def _scorer(self) -> Any:
        return self.task.make_scorer(self.dataset, **self.scoring)


@dataclass(frozen=True)
class Fit:
    """The result of `fit`.

    best: the settings to use; those of the start if the held-out gain is not above 0.
    fitted: (start, fitted) values on all images, with the settings that were fitted to them.
    held_out: the same as means over both halves, with settings fitted to the other half.
    """

    best: Settings
    fitted: tuple[float, float]
    held_out: tuple[float, float]


def fit(objective: Objective, trials: int, seed: int, tell: Callable[[], None]) -> Fit:
    """Fit the settings of a decoder, and measure the gain on images that it was not fitted to.

    trials: settings to try on each half, and on all images. tell: is called after each trial.
    Raises UserError if the task has no settings to fit, or a half has no labelled instance.
    """
    start = objective.start
    space = search_space(start)
    if not space:
        raise UserError(f"the {objective.task.name} task has no settings that can be fitted")
    halves = [objective.part(chosen) for chosen in split(len(objective.images), seed)]
    before, after = [], []
    for fitted_to, other in (halves, halves[::-1]):
        found = search(_told(fitted_to, tell), start, space, trials=trials, seed=seed)
        before.append(other(start))
        after.append(other(found.settings))
    held_out = float(np.mean(before)), float(np.mean(after))
    found = search(_told(objective, tell), start, space, trials=trials, seed=seed)
    gained = held_out[1] > held_out[0]
    best = found.settings if gained else start
    return Fit(best, (objective(start), found.value), held_out)


def split(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Two halves of the numbers up to `count`, in runs of neighbours; at least one in each.

    Raises UserError for fewer than 2.

    >>> split(5, 0)
    ([1, 3], [0, 2, 4])
    """
    if count < 2:
        raise UserError("tune needs at least two labelled images that can be read")
    size = max(1, -(-count // _BLOCKS))
    first = np.random.default_rng(seed).integers(2)
    halves: tuple[list[int], list[int]] = ([], [])
    for number in range(count):
        halves[(number // size + first) % 2].append(number)
    return halves


def _told(objective: Objective, tell: Callable[[], None]) -> Callable[[Settings], float]:
    def measured(settings: Settings) -> float:
        tell()
        return objective(settings)

    return measured
