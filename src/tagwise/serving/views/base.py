"""The base of views: regrouping the cached maps of one image with other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from tagwise.errors import UserError, brief, unknown_name
from tagwise.geometry import cell_to_pixel
from tagwise.grouping.maps import as_array
from tagwise.prediction.tta import Maps
from tagwise.results import Result
from tagwise.results.base import rounded, with_none
from tagwise.tasks import Task
from tagwise.tasks.base import Placement

SCORE = "threshold"
"""The name of the slider that every task has: the least score of an instance."""

LETTERS = "ABCD"
"""What the page calls the two detections of a question, then those that took their places."""


@dataclass(frozen=True)
class Slider:
    """A setting that the page can change.

    name: of the field of the task's grouping settings. whole: only whole numbers.
    """

    name: str
    label: str
    help: str
    least: float
    most: float
    step: float
    whole: bool = False


@dataclass(frozen=True)
class Detections:
    """What instances are made of: peaks, corners or cells. All arrays have P rows.

    names: of the types. types: (P,) int, index into `names`. xy: (P, 2) pixels of the image.
    scores: (P,) in [0, 1]. tags: (P, D). instance: (P,) int, row of the result, -1 for none.
    """

    names: tuple[str, ...]
    types: np.ndarray
    xy: np.ndarray
    scores: np.ndarray
    tags: np.ndarray
    instance: np.ndarray

    def __len__(self) -> int:
        return len(self.types)

    def name(self, index: int) -> str:
        """The name of a detection's type."""
        return self.names[int(self.types[index])].replace("_", " ")

    def to_dict(self) -> dict[str, Any]:
        """Columns as plain lists; "plot" (P, 1 or 2) is where the tag plot draws each tag."""
        plot, axes = projected(self.tags)
        return {
            "names": list(self.names),
            "types": self.types.tolist(),
            "xy": rounded(self.xy, 2).tolist(),
            "scores": rounded(self.scores, 4).tolist(),
            "tags": with_none(rounded(self.tags, 4)),
            "instance": self.instance.tolist(),
            "plot": rounded(plot, 4).tolist(),
            "axes": axes,
        }


def projected(tags: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Tags (P, D) as points for a plot (P, min(D, 2)), and the names of its axes.

    More than two components are projected on their two principal axes.
    """
    dims = tags.shape[1]
    if dims <= 2 or len(tags) < 3:
        names = ["tag"] if dims == 1 else ["tag, component 1", "tag, component 2"]
        return tags[:, :2], names[: max(1, min(dims, 2))]
    centred = tags.astype(np.float64) - tags.mean(axis=0, dtype=np.float64)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    share = values**2 / max(float((values**2).sum()), 1e-12)
    names = [f"principal axis {i + 1} ({share[i]:.0%})" for i in range(2)]
    return centred @ axes[:2].T, names


@dataclass(frozen=True)
class Grouped:
    """A result in pixels of the image, the detections behind it, and shapes for the page.

    outlines: for masks, the polygons of each instance, as lists of x, y.
    """

    result: Result
    detections: Detections | None = None
    outlines: list[list[list[list[float]]]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = self.detections
        return {
            "result": self.result.to_dict(),
            "detections": None if found is None else found.to_dict(),
            "outlines": self.outlines,
        }


@dataclass(frozen=True)
class Answer:
    """Why two detections are, or are not, in one instance.

    distance: of their tags, l2. threshold: the distance that separates instances. margin: how much
    farther the second-best instance is for the first detection, None if there is none.
    takers: detections that have the place of one of the two; the page calls them C and D.
    """

    together: bool
    headline: str
    reasons: list[str] = field(default_factory=list)
    distance: float | None = None
    threshold: float | None = None
    margin: float | None = None
    takers: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers are rounded to four decimals."""
        plain = asdict(self)
        for name in ("distance", "threshold", "margin"):
            if plain[name] is not None:
                plain[name] = round(float(plain[name]), 4)
        return plain


class View:
    """The maps of one image, and what other settings make of them.

    task: of the model. maps: name -> (1, C, h, w), raw. stride: pixels of the input per cell.
    placement: of the image in the input. threshold: least score of an instance. calibrated:
    replaces the scores of decoded instances, see `Predictor.calibrated`.

    settings_name: the task's field with the grouping settings; "" without any.
    """

    settings_name: ClassVar[str] = ""

    def __init__(
        self,
        task: Task,
        maps: Maps,
        stride: int,
        placement: Placement,
        threshold: float,
        calibrated: Callable[[Any], Any],
    ) -> None:
        self.task, self.maps, self.stride = task, maps, stride
        self.placement, self.threshold, self.calibrated = placement, threshold, calibrated

    # ------------------------------------------------------------------ settings

    @classmethod
    def own_sliders(cls, task: Task) -> list[Slider]:
        """The sliders of the task's grouping settings."""
        return []

    @classmethod
    def sliders(cls, task: Task) -> list[Slider]:
        """All sliders, the most useful first."""
        words = "Instances with a lower score are left out."
        return [*cls.own_sliders(task), Slider(SCORE, "Instance score", words, 0, 1, 0.01)]

    def settings(self) -> dict[str, float]:
        """The value of each slider."""
        rules = getattr(self.task, self.settings_name, None)
        values = {s.name: getattr(rules, s.name) for s in self.own_sliders(self.task)}
        return {**values, SCORE: self.threshold}

    def with_settings(self, changes: Mapping[str, Any]) -> View:
        """The view with other values of some sliders. Raises UserError for invalid ones."""
        known = {slider.name: slider for slider in self.sliders(self.task)}
        values = {}
        for name, value in changes.items():
            if name not in known:
                raise unknown_name("setting", str(name), known)
            values[name] = checked(known[name], value)
        threshold = values.pop(SCORE, self.threshold)
        task = self.task
        if values:
            rules = replace(getattr(task, self.settings_name), **values)
            task = replace(task, **{self.settings_name: rules})
        return type(self)(task, self.maps, self.stride, self.placement, threshold, self.calibrated)

    # ------------------------------------------------------------------ results

    def group(self) -> Grouped:
        """Decode the maps."""
        found = self.task.decode(self.maps, self.stride, [self.placement])[0]
        return Grouped(self.calibrated(found).above(self.threshold))

    def why(self, a: int, b: int) -> Answer:
        """Explain why detections a and b are, or are not, in one instance.

        Raises UserError for indices that do not exist.
        """
        raise UserError(f"the {self.task.name} task has no detections to ask about")

    def heat(self, head: str) -> np.ndarray:
        """The heatmaps (C, h, w) of a head, float32 in [0, 1]."""
        return as_array(self.task.heatmap_values(self.maps[head])[0])

    def to_image(self, cells: np.ndarray) -> np.ndarray:
        """Convert positions (P, 2) on the maps, from centres of cells, to pixels of the image."""
        inside = cell_to_pixel(np.asarray(cells, np.float64), self.stride)
        return self.placement.affine.inverse().points(inside)


def checked(slider: Slider, value: Any) -> float | int:
    """The value of a slider as a number in its range. Raises UserError."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not slider.least <= value <= slider.most:
        raise UserError(
            f"{slider.name} is {brief(value)}; use a number from {slider.least:g} "
            f"to {slider.most:g}"
        )
    return round(value) if slider.whole else float(value)


def check_pair(count: int, a: int, b: int) -> None:
    """Raise UserError unless a and b are two different detections of `count`."""
    for index in (a, b):
        if not 0 <= index < count:
            raise UserError(f"there is no detection {index}; there are {count}, from 0")
    if a == b:
        raise UserError("both detections are the same; choose two")
