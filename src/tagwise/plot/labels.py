"""Short texts next to instances on photos, such as scores and the ids of tracks."""

from __future__ import annotations

import cv2
import numpy as np

from tagwise.plot.style import RIM, drawable

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def text_size(shape: tuple[int, ...], text: str) -> tuple[float, int, int, int]:
    """The scale of the font on an image of this shape, and a text's width, height and base."""
    scale = float(np.clip(np.hypot(*shape[:2]) / 2000, 0.35, 1.2))
    (width, height), base = cv2.getTextSize(text, _FONT, scale, 1)
    return scale, width, height, base


def draw_label(canvas: np.ndarray, box: np.ndarray, text: str, colour: tuple) -> None:
    """Draw a label above a box, in place, so that it does not hide what is in the box.

    Where the image has no space above the box, the label is drawn to its right or to its left, or
    within the box if there is no space either.
    """
    text = drawable(text)
    scale, width, height, base = text_size(canvas.shape, text)
    width, height = width + 4, height + base
    x, y = _place(canvas.shape, box, width, height + 1)
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colour, cv2.FILLED)
    write(canvas, (x + 2, y + height - base + 1), text, scale, ink_on(colour))


def write(canvas: np.ndarray, at: tuple[int, int], text: str, scale: float, ink: tuple) -> None:
    """Write a text in place; at: the left end of its baseline."""
    cv2.putText(canvas, text, at, _FONT, scale, ink, 1, cv2.LINE_AA)


def ink_on(colour: tuple) -> tuple[int, int, int]:
    """Black or white, the one that can be read on a colour."""
    return RIM if np.dot(colour, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)


def _place(shape: tuple[int, ...], box: np.ndarray, width: int, height: int) -> tuple[int, int]:
    """The top-left pixel of a label of this size for a box."""
    tall, wide = shape[:2]
    left, top, right = box[0], box[1], box[0] + box[2]
    # Visible boxes only: parts of a box may be outside of the image.
    if top < height:
        if right + 1 + width < wide and right > 0:
            left = right + 1
        elif left - 1 - width >= 0:
            left = left - 1 - width
        top = height
    x = int(np.clip(left, 0, max(0, wide - width - 1)))
    y = int(np.clip(top - height - 1, 0, max(0, tall - height - 1)))
    return x, y
