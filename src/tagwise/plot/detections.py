"""What the network detects, before it is grouped, beside the instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from tagwise.plot.boxes import fixed_point
from tagwise.plot.style import RIM, SUBPIXEL, instance_colour, set_title, show_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DetectionsLike(Protocol):
    """The attributes of P detections that are drawn."""

    def __len__(self) -> int: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def types(self) -> np.ndarray: ...
    @property
    def xy(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...


def draw_detections(image: np.ndarray, found: DetectionsLike, threshold: float = 0.1) -> np.ndarray:
    """Draw every detection on a copy of the image, in the colour of its type.

    Corners of boxes are drawn as right angles that open into their box, all others as dots.

    image: (H, W, 3) uint8 RGB; it is not changed. threshold: only detections with a higher score
    are drawn; those with a higher score are larger. Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    size = max(2.0, float(np.hypot(*canvas.shape[:2])) / 190)
    order = np.argsort(found.scores, kind="stable")
    for n in order[np.asarray(found.scores)[order] > threshold]:
        kind = int(found.types[n])
        colour, length = instance_colour(kind), size * (0.6 + 0.5 * float(found.scores[n]))
        if "corner" in found.names[kind]:
            sign = 1 if found.names[kind].startswith("top-left") else -1
            _draw_angle(canvas, found.xy[n], 2.5 * length * sign, max(1, round(size / 2)), colour)
        else:
            _draw_dot(canvas, found.xy[n], length, colour)
    return canvas


def plot_grouping(
    image: np.ndarray,
    found: DetectionsLike,
    grouped: np.ndarray,
    title: str,
    what: tuple[str, str],
) -> Figure:
    """Plot all detections on the photo, beside the instances that grouping makes of them.

    image: (H, W, 3) uint8 RGB. grouped: an image of the same size with the instances on it.
    what: the titles of both pictures. It is figure 1 of Newell et al. 2017 for one photo.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    figure = Figure(figsize=(11, 0.55 + 5.45 * height / width), layout="constrained")
    left, right = figure.subplots(1, 2)
    # A paler photo, because the colours of small dots are hard to see on a colourful one.
    pale = (image.astype(np.float32) * 0.55 + 255 * 0.2).astype(np.uint8)
    show_image(left, draw_detections(pale, found), what[0])
    show_image(right, grouped, what[1])
    set_title(figure, title)
    return figure


def _draw_dot(canvas: np.ndarray, xy: np.ndarray, radius: float, colour: tuple) -> None:
    centre = tuple(fixed_point(xy).tolist())
    for size, ink in ((radius + 1, RIM), (radius, colour)):
        length = round(size * 2**SUBPIXEL)
        cv2.circle(canvas, centre, length, ink, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)


def _draw_angle(
    canvas: np.ndarray, xy: np.ndarray, length: float, width: int, colour: tuple
) -> None:
    """Draw a right angle whose sides go right and down, or left and up for a negative length."""
    xy = np.asarray(xy, np.float64)
    ends = [fixed_point(xy + side).tolist() for side in ((length, 0), (0, length))]
    corner = tuple(fixed_point(xy).tolist())
    for thickness, ink in ((width + 2, RIM), (width, colour)):
        for end in ends:
            cv2.line(canvas, corner, tuple(end), ink, thickness, cv2.LINE_AA, SUBPIXEL)
