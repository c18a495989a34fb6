"""Colours, line widths and axis styles that all plots share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# Bright enough for dark photos; lines have a dark rim for bright photos. The first colours differ
# most. Every two colours have a CIELAB distance of 20 or more for normal vision, and of 10 or more
# as people without red or without green cones see them (simulated as in Machado et al. 2009,
# severity 1).
PALETTE = (
    *((60, 180, 255), (255, 165, 0), (225, 75, 225), (0, 255, 180), (255, 0, 75)),
    *((210, 225, 120), (240, 135, 180), (0, 240, 255), (60, 150, 90), (225, 75, 0)),
    *((120, 255, 75), (240, 0, 135), (210, 165, 75), (210, 0, 255), (255, 150, 135)),
    *((60, 150, 0), (180, 90, 180), (15, 240, 210), (105, 105, 255), (150, 210, 45)),
)
RIM = (16, 18, 24)
SUBPIXEL = 4  # OpenCV draws at fixed-point coordinates with this many fractional bits
# A shape of its own for each of the first instances, so that figures can be read without colours.
MARKERS = "osD^vPX<>h"

_PAPER, _INK = {False: "#ffffff", True: "#12151b"}, {False: "#000000", True: "#e8ebf0"}
_GRID, _SOFT = {False: "#e6e6e6", True: "#2c323d"}, {False: "#808080", True: "#9aa4b4"}
_CONTRAST = 3.2  # with the background; WCAG 2.2 asks 3 of shapes in figures


@contextmanager
def theme(dark: bool = False) -> Iterator[None]:
    """Draw the matplotlib figures that are created inside on a white or on a dark background."""
    import matplotlib

    text = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    ink = dict.fromkeys(text, _INK[dark])
    paper = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
    colours = {**ink, **dict.fromkeys(paper, _PAPER[dark]), "grid.color": _GRID[dark]}
    # Text of an SVG stays text, and the same figure gives the same file.
    fixed = {"svg.fonttype": "none", "svg.hashsalt": "tagwise", "pdf.fonttype": 42}
    with matplotlib.rc_context({**colours, **fixed}):
        yield


def is_dark() -> bool:
    """Whether figures are drawn on a dark background now, see `theme`."""
    return _luminance(_rgb("figure.facecolor")) < 0.2


def soft_colour() -> str:
    """The colour of what is less important in a figure, on the background of now."""
    return _SOFT[is_dark()]


def axis_colour(number: int) -> tuple[float, float, float]:
    """The colour of instance `number` on axes: RGB in [0, 1] that contrasts with the background.

    It has the hue of `instance_colour`, darker on a white background and brighter on a dark one.
    """
    colour, paper = np.array(instance_colour(number)) / 255, _rgb("figure.facecolor")
    end = np.ones(3) if is_dark() else np.zeros(3)
    mixed = (colour + (end - colour) * share for share in np.linspace(0, 1, 41))
    return tuple(next(c for c in mixed if contrast(c, paper) >= _CONTRAST).tolist())


def contrast(one: Any, other: Any) -> float:
    """The contrast ratio of two colours, RGB in [0, 1], from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _rgb(setting: str) -> np.ndarray:
    """The colour of one of matplotlib's settings, RGB in [0, 1]."""
    import matplotlib
    from matplotlib.colors import to_rgb

    return np.array(to_rgb(matplotlib.rcParams[setting]))


def _luminance(colour: Any) -> float:
    """The relative luminance of a colour, RGB in [0, 1] (WCAG 2.2)."""
    rgb = np.asarray(colour, np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def instance_colour(number: int) -> tuple[int, int, int]:
    """The RGB colour of instance `number`, the same in every plot."""
    return PALETTE[number % len(PALETTE)]


def side_colours(colour: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    """The colours of the middle, the left side and the right side of an instance of this colour.

    The left side is lighter and the right side darker than the middle, a difference that does not
    depend on the hue.
    """
    red, green, blue = colour
    light = tuple(255 - (255 - c) // 2 for c in (red, green, blue))
    dark = tuple(round(0.6 * c) for c in (red, green, blue))
    return colour, light, dark


def line_widths(shape: tuple[int, ...], extent: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Line widths in pixels (N,), in proportion to the instance, up to a limit set by the image.

    Lines therefore do not hide small instances. Faint instances have thinner lines: from a score of
    0.6 the width is full, and at 0.2 and below it is a third.

    shape: the shape of the image, height first. extent: (N,), the longest side of each instance in
    pixels. scores: (N,) in [0, 1].
    """
    most = max(1.0, float(np.hypot(*shape[:2])) / 220)
    return np.clip(extent / 45, 0.5, most) * np.clip(np.asarray(scores) / 0.6, 1 / 3, 1)


def drawable(text: str) -> str:
    """Replace lone surrogates, which occur in file names that are not UTF-8, by escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def set_title(figure, title: str) -> None:
    """Set the title of a matplotlib figure; $ signs do not start formulas."""
    figure.suptitle(drawable(title), fontsize=11, parse_math=False)


def tidy(axis) -> None:
    """Give a matplotlib axis a light grid and no frame."""
    axis.grid(True, color=_GRID[is_dark()], lw=0.8, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def show_image(axis, image: np.ndarray, title: str = "") -> None:
    """Show an image on a matplotlib axis without ticks, grid and frame."""
    axis.imshow(image, interpolation="auto")
    without_frame(axis)
    axis.set_title(drawable(title), fontsize=10, parse_math=False)


def without_frame(axis) -> None:
    """Remove the ticks, the grid and the frame of an axis that shows an image."""
    axis.grid(False)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
