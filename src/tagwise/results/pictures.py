"""Pictures as files: encoded, and written completely or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.errors import UserError
from tagwise.files import whole_file


def encode_jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    """Encode an image (H, W, 3) uint8 RGB as a JPEG file."""
    import cv2

    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_picture(picture: Any, path: str | Path) -> Path:
    """Write a matplotlib figure, a Pillow image or an (H, W, 3) uint8 RGB array to a file.

    The file appears complete or not at all. Raises UserError if it cannot be written, or if its
    suffix is not that of an image format.
    """
    from PIL import Image

    path = Path(path)
    suffix = path.suffix.lower().lstrip(".") or "png"
    data = io.BytesIO()
    try:
        if suffix in ("svg", "pdf") and not hasattr(picture, "savefig"):
            picture = _as_figure(np.asarray(picture))
        if hasattr(picture, "savefig"):
            picture.savefig(data, format=suffix, dpi=150)
        else:
            picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            picture.save(data, format="jpeg" if suffix == "jpg" else suffix)
    except (KeyError, ValueError) as error:
        raise UserError(f"cannot write a {path.suffix} picture ({error}); use .png") from error
    with whole_file(path) as file:
        file.write(data.getvalue())
    return path


def _as_figure(image: np.ndarray) -> Any:
    """A matplotlib figure that shows an image (H, W, 3) uint8 RGB and nothing else."""
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(image, aspect="auto")
    axis.set_axis_off()
    return figure
