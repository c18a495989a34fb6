"""Colours, line widths and axis styles that all plots share."""

from __future__ import annotations

import numpy as np

# Bright enough for dark photos; lines have a dark rim for bright photos. Successive colours differ
# in hue, because neighbouring instances often have similar scores.
PALETTE = (
    *((255, 77, 77), (51, 181, 255), (255, 214, 51), (217, 92, 255), (88, 228, 120)),
    *((255, 148, 41), (122, 122, 255), (190, 240, 66), (255, 128, 190), (45, 226, 214)),
)
RIM = (16, 18, 24)
SUBPIXEL = 4  # OpenCV draws at fixed-point coordinates with this many fractional bits


def instance_colour(number: int) -> tuple[int, int, int]:
    """The RGB colour of instance `number`, the same in every plot."""
    return PALETTE[number % len(PALETTE)]


def line_widths(shape: tuple[int, ...], extent: np.ndarray) -> np.ndarray:
    """Line widths in pixels (N,), thin on small instances, so that crowds stay readable.

    shape: the shape of the image, height first. extent: (N,), the longest side of each instance in
    pixels.
    """
    usual = max(1.0, float(np.hypot(*shape[:2])) / 220)
    return np.clip(extent / 36, 0.4 * usual, usual)


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
