"""The settings of decoders that are worth fitting, and the steps in which they are changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tagwise.grouping.settings import CornerSettings, GroupingSettings, PixelSettings
from tagwise.settings import Settings


class Steps(Protocol):
    """How one setting may be changed."""

    def near(self, value: Any, spread: float) -> list[Any]:
        """Values around a value, one per direction; spread: how far, as a factor above 1."""
        ...


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`, changed by a factor; zero: whether it may be 0 too."""

    low: float
    high: float
    zero: bool = False

    def near(self, value: float, spread: float) -> list[float]:
        """The value times the factor, and divided by it."""
        if value == 0:
            return [self.low * spread]
        up, down = min(value * spread, self.high), max(value / spread, self.low)
        steps = [round(up, 4), round(down, 4)]
        if self.zero and down == self.low:
            steps[1] = 0.0
        return [step for step in steps if step != value]


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, changed by `step` or by a factor if that is more."""

    low: int
    high: int
    step: int = 1

    def near(self, value: int, spread: float) -> list[int]:
        """The next larger and the next smaller value."""
        away = max(self.step, round(value * (spread - 1) / self.step) * self.step)
        steps = [min(value + away, self.high), max(value - away, self.low)]
        return [step for step in steps if step != value]


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def near(self, value: Any, spread: float) -> list[Any]:
        """The other values."""
        return [other for other in self.values if other != value]


_PEAKS: dict[str, Steps] = {
    "peak_threshold": Number(0.01, 0.6),
    "tag_threshold": Number(0.1, 20.0),
    "nms_window": Whole(3, 11, 2),
    "min_keypoints": Whole(1, 8),
}
_SWEEPS: dict[str, Steps] = {
    **_PEAKS,
    "founder_threshold": Number(0.01, 0.9),
    "tag_tolerance": Number(0.1, 10.0, zero=True),
    "compactness": Number(0.01, 5.0, zero=True),
    "inertia": Number(0.02, 5.0, zero=True),
    "score_power": Number(0.1, 4.0, zero=True),
    "duplicate_similarity": Number(0.2, 1.0),
    "fill_threshold": Number(0.003, 0.5),
    "fill_reach": Number(0.05, 4.0),
    "score_filled": Choice((False, True)),
}
_PAIRS: dict[str, Steps] = {
    "corner_threshold": Number(0.005, 0.6),
    "tag_threshold": Number(0.05, 20.0),
    "nms_window": Whole(3, 9, 2),
}
_ONE_TO_ONE: dict[str, Steps] = {
    **_PAIRS,
    "tag_growth": Number(0.005, 2.0),
    "tag_spread": Number(0.03, 5.0),
    "size_weight": Number(0.05, 5.0, zero=True),
    "share_power": Number(0.01, 1.0, zero=True),
    "centre_part": Number(0.1, 1.0),
    "centre_weight": Number(0.05, 1.0, zero=True),
    "overlap": Number(0.2, 1.0),
    "box_threshold": Number(0.005, 0.5),
}
_PIXELS: dict[str, Steps] = {
    "foreground": Number(0.1, 0.95),
    "seed": Number(0.05, 0.98),
    "bandwidth": Number(0.1, 20.0),
    "join": Number(0.05, 20.0, zero=True),
    "least_area": Whole(1, 2000),
}


def search_space(settings: Settings) -> Mapping[str, Steps]:
    """The settings of a decoder that are worth fitting; empty if there are none.

    Those that have no effect as things are, and those that are None, are left out.
    """
    if isinstance(settings, GroupingSettings):
        steps = _SWEEPS if settings.method == "sweeps" else _PEAKS
        if not settings.fill:
            steps = {name: step for name, step in steps.items() if "fill" not in name}
    elif isinstance(settings, CornerSettings):
        steps = _ONE_TO_ONE if settings.pairing == "one_to_one" else _PAIRS
        if not settings.tag_growth:  # a tag that is not an offset has no use for it
            steps = {name: step for name, step in steps.items() if name != "tag_growth"}
    elif isinstance(settings, PixelSettings):
        steps = _PIXELS
    else:
        steps = {}
    return {name: step for name, step in steps.items() if getattr(settings, name) is not None}
