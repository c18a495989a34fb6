"""Where photos come from: files, folders, patterns, arrays; and what to call their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from tagwise.errors import UserError

if TYPE_CHECKING:
    import PIL.Image

Image = Union[str, Path, np.ndarray, "PIL.Image.Image"]


def as_rgb(image: np.ndarray | PIL.Image.Image) -> np.ndarray:
    """An image in memory as (H, W, 3) uint8 RGB.

    image: a Pillow image of any mode (turned upright as its EXIF says), or an array of uint8,
        (H, W), (H, W, 1) or (H, W, 3). Raises UserError for anything else.
    """
    if hasattr(image, "getbands"):
        from PIL import ImageOps

        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise UserError(f"an image must be a file, a Pillow image or an array, not {type(image)}")
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise UserError(
            f"an image array must be (height, width, 3) uint8, RGB, not {image.shape} {image.dtype}"
        )
    return image
