"""The view of masks: cells of the foreground, and why two of them are in one mask or not."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from tagwise.grouping.maps import as_array
from tagwise.results import Masks
from tagwise.serving.views.base import Answer, Detections, Grouped, Slider, View, check_pair
from tagwise.tasks import PixelTask

_MOST = 1500  # cells in the tag plot: a regular sample of the foreground

_SLIDERS = (
    Slider(
        "foreground",
        "Foreground",
        "Pixels with a higher foreground score belong to an instance.",
        *(0, 1, 0.01),
    ),
    Slider("seed", "Seed", "The least score of a cell that an instance grows from.", *(0, 1, 0.01)),
    Slider(
        "bandwidth",
        "Tag bandwidth",
        "An instance grows over cells whose tags are at most this far from that of its seed.",
        *(0, 8, 0.05),
    ),
    Slider(
        "join",
        "Join",
        "Neighbouring instances whose mean tags are at most this far apart become one.",
        *(0, 8, 0.05),
    ),
    Slider(
        "least_area",
        "Least area",
        "Smaller instances are left out, in pixels.",
        *(0, 500, 1),
        whole=True,
    ),
)


class PixelView(View):
    """Cells and the masks that they are in."""

    settings_name: ClassVar[str] = "grouping"
    task: PixelTask

    @classmethod
    def own_sliders(cls, task: PixelTask) -> list[Slider]:
        return [s for s in _SLIDERS if s.least <= getattr(task.grouping, s.name) <= s.most]

    @cached_property
    def _masks(self) -> Masks:
        found = self.task.decode(self.maps, self.stride, [self.placement])[0]
        return self.calibrated(found).above(self.threshold)

    @cached_property
    def _foreground(self) -> np.ndarray:
        return self.heat("foreground")[0]

    def group(self) -> Grouped:
        polygons = [[part.tolist() for part in parts] for parts in self._masks.polygons()]
        return Grouped(self._masks, self._detections(), polygons)

    def _detections(self) -> Detections:
        """A regular sample of the cells above the foreground threshold."""
        y, x = np.nonzero(self._foreground > self.task.grouping.foreground)
        step = 1
        while len(y) > _MOST * step * step:
            step += 1
        kept = (y % step == 0) & (x % step == 0)
        y, x = y[kept], x[kept]
        xy = self.to_image(np.stack([x, y], axis=1))
        height, width = self._masks.labels.shape
        column, row = np.rint(xy).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
        y, x, xy, column, row = (part[inside] for part in (y, x, xy, column, row))
        tags = as_array(self.maps["tags"][0])[:, y, x].T
        instance = self._masks.labels[row, column].astype(np.int64) - 1
        return Detections(
            ("cell",), np.zeros(len(y), np.int64), xy, self._foreground[y, x], tags, instance
        )

    # ------------------------------------------------------------------ why (not) together

    def why(self, a: int, b: int) -> Answer:
        found, rules = self._detections(), self.task.grouping
        check_pair(len(found), a, b)
        first, second = (int(found.instance[i]) for i in (a, b))
        distance = float(np.linalg.norm(found.tags[a] - found.tags[b]))
        base = {"distance": distance, "threshold": rules.bandwidth}
        means, reasons, margin = self._masks.tags, [], None
        for name, cell in (("first", a), ("second", b)):
            own = int(found.instance[cell])
            if own < 0:
                reasons.append(f"The {name} cell is in no instance; its seed may be too weak.")
                continue
            away = np.linalg.norm(means - found.tags[cell], axis=1)
            text = f"The {name} cell is {away[own]:.2f} from the mean tag of its instance {own + 1}"
            if len(means) > 1:
                other = np.delete(away, own).min()
                margin = float(other - away[own]) if cell == a else margin
                text += f", and {other:.2f} from the nearest other one"
            reasons.append(f"{text}.")
        if first >= 0 and first == second:
            words = f"Together, in instance {first + 1}."
            return Answer(True, words, reasons, margin=margin, **base)
        if min(first, second) >= 0:
            apart = float(np.linalg.norm(means[first] - means[second]))
            reasons.append(
                f"The mean tags of the instances are {apart:.2f} apart; neighbours join up to "
                f"{rules.join:.2f}, and instances that do not touch never do."
            )
        words = f"Not together: their tags are {distance:.2f} apart"
        words += f", more than {rules.bandwidth:.2f}." if distance > rules.bandwidth else "."
        return Answer(False, words, reasons, margin=margin, **base)
