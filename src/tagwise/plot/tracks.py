"""Tracks on the frames of a video: instances in the colours of their ids, with short trails."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, Self

import cv2
import numpy as np

from tagwise.plot.boxes import fixed_point
from tagwise.plot.labels import draw_label
from tagwise.plot.style import SUBPIXEL, instance_colour, line_widths


class Trackable(Protocol):
    """The interface for drawing tracked instances; every result of `tagwise.results` has it."""

    def __getitem__(self, which: Any) -> Self: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...
    def draw_tracked(self, image: np.ndarray, numbers: Sequence[int]) -> np.ndarray: ...


class TrackPainter:
    """Draws the frames of one video in order, with a trail behind each track.

    trail: length of the trails in frames.
    """

    def __init__(self, trail: int = 25) -> None:
        self._trails: dict[int, deque[tuple[int, np.ndarray]]] = {}
        self.trail, self._frame = trail, 0

    def draw(self, image: np.ndarray, result: Trackable, ids: np.ndarray) -> np.ndarray:
        """Draw the tracked instances on a copy of the frame (H, W, 3) uint8 RGB, ids above them.

        ids: (N,), the track of each instance, -1 for instances that are not drawn.
        """
        tracked = result[ids >= 0]
        ids = ids[ids >= 0].tolist()
        boxes = tracked.boxes.astype(np.float64)
        extent = boxes[:, 2:].max(axis=1, initial=0)
        self._extend_trails(ids, boxes)
        canvas = np.array(image, np.uint8, order="C")
        widths = line_widths(canvas.shape, extent, tracked.scores)
        for number, width in zip(ids, widths.tolist()):
            self._draw_trail(canvas, number, width)
        canvas = tracked.draw_tracked(canvas, ids)
        for box, number in zip(boxes, ids):
            draw_label(canvas, box, str(number), instance_colour(number))
        return canvas

    def _extend_trails(self, ids: list[int], boxes: np.ndarray) -> None:
        self._frame += 1
        for number, (x, y, w, h) in zip(ids, boxes):
            trail = self._trails.setdefault(number, deque(maxlen=self.trail))
            trail.append((self._frame, np.array([x + w / 2, y + h])))
        for number in [n for n, t in self._trails.items() if t[-1][0] <= self._frame - self.trail]:
            del self._trails[number]

    def _draw_trail(self, canvas: np.ndarray, number: int, width: float) -> None:
        """Draw the path of the middle of the box's lower edge, thinner for older frames."""
        trail = [(f, p) for f, p in self._trails[number] if f > self._frame - self.trail]
        colour = instance_colour(number)
        for (frame, start), (_, end) in pairwise(trail):
            recency = 1 - (self._frame - frame) / self.trail
            thickness = max(1, round(1.2 * width * recency))
            ends = (tuple(fixed_point(point)) for point in (start, end))
            cv2.line(canvas, *ends, colour, thickness, cv2.LINE_AA, SUBPIXEL)
