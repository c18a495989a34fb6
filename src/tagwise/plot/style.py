"""Colours, line widths and axis styles that all plots share."""

from __future__ import annotations

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
    axis.grid(True, color="0.9", lw=0.8, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
