"""A search for better settings: one at a time in smaller and smaller steps, then a few at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from tagwise.errors import UserError
from tagwise.evaluation.tuning.space import Steps
from tagwise.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)

_SPREADS = (1.6, 1.25, 1.1)
_BETTER = 1e-3  # a smaller gain is noise


class Found(NamedTuple):
    """The best settings, their value, and the number of trials."""

    settings: Settings
    value: float
    trials: int


class _Trials:
    """Evaluates settings, each once, until the trials are used up."""

    def __init__(self, objective: Callable[[Settings], float], most: int) -> None:
        self.objective, self.most = objective, most
        self.known: dict[Settings, float] = {}

    @property
    def left(self) -> int:
        return self.most - len(self.known)

    def value(self, settings: Settings) -> float:
        """The value of settings, -inf for those that are not valid or come too late."""
        if settings not in self.known:
            if not self.left:
                return -np.inf
            self.known[settings] = self.objective(settings)
        return self.known[settings]


def search(
    objective: Callable[[AnySettings], float],
    start: AnySettings,
    space: Mapping[str, Steps],
    *,
    trials: int = 150,
    seed: int = 0,
) -> Found:
    """Search for the settings with the largest value, from `start`.

    objective: from settings to a number, larger is better; called at most `trials` times.
    space: the settings that may change, see `search_space`. The same seed gives the same result.

    Each setting is changed in turn, in random order, while that helps. When no change helps, the
    steps get smaller. The trials that are left change two or three settings at once.
    """
    rng = np.random.default_rng(seed)
    tried = _Trials(objective, trials)
    best, value = start, tried.value(start)
    for spread in _SPREADS:
        improved = True
        while improved and tried.left:
            improved = False
            for name in rng.permutation(sorted(space)):
                better, gained = _along(tried, best, value, str(name), space[name], spread)
                improved |= gained > value
                best, value = better, gained
    attempts = 3 * tried.left
    while tried.left and attempts and len(space) > 1:
        attempts -= 1
        candidate = _changed(best, space, rng)
        if candidate is not None and tried.value(candidate) > value + _BETTER:
            best, value = candidate, tried.value(candidate)
    return Found(best, value, len(tried.known))


def _along(
    tried: _Trials, best: Settings, value: float, name: str, steps: Steps, spread: float
) -> tuple[Settings, float]:
    """Change one setting in each direction for as long as the value grows."""
    for direction in range(len(steps.near(getattr(best, name), spread))):
        while True:
            options = steps.near(getattr(best, name), spread)
            if direction >= len(options):
                break
            candidate = _with(best, **{name: options[direction]})
            gained = -np.inf if candidate is None else tried.value(candidate)
            if gained <= value + _BETTER:
                break
            best, value = candidate, gained
    return best, value


def _changed(
    best: Settings, space: Mapping[str, Steps], rng: np.random.Generator
) -> Settings | None:
    """Change two or three settings at once by random steps."""
    names = rng.permutation(sorted(space))[: rng.integers(2, 4)]
    changes = {}
    for name in map(str, names):
        options = space[name].near(getattr(best, name), float(rng.uniform(1.05, 1.5)))
        if options:
            changes[name] = options[rng.integers(len(options))]
    return _with(best, **changes)


def _with(settings: Settings, **changes: object) -> Settings | None:
    """Settings with changes; None if these are not valid together."""
    try:
        return replace(settings, **changes)
    except UserError:
        return None
