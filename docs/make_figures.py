"""Write the figures of docs/figures.md: `tagwise plot` on the example photos, light and dark.

python docs/make_figures.py

The curves are of docs/synthetic_run/log.jsonl, the log of 400 steps on synthetic scenes, without
the columns that no figure shows. The blood smear is drawn here, because no photo of blood cells is
part of this project.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from tagwise.commands.plot import plot
from tagwise.results.pictures import write_picture

DOCS = Path(__file__).parent
PHOTO = DOCS.parent / "examples" / "photos" / "pedestrians.jpg"


def draw_smear(cells: int = 16, seed: int = 3) -> np.ndarray:
    """Draw a picture like a stained blood smear: (360, 480, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((360, 480, 3), (228, 217, 222), np.float32)
    placed: list[tuple[float, float]] = []
    while len(placed) < cells:
        x, y = rng.uniform((45, 45), (435, 315))
        if all(np.hypot(x - a, y - b) > 68 for a, b in placed):
            placed.append((x, y))
    for x, y in placed:
        radius = rng.uniform(30, 36)
        axes = (round(radius), round(radius * rng.uniform(0.9, 1)))
        turn, centre = rng.uniform(0, 180), (round(x), round(y))
        for share, colour in ((1, (196, 150, 166)), (0.9, (206, 164, 178)), (0.4, (221, 196, 204))):
            size = tuple(round(share * side) for side in axes)
            cv2.ellipse(image, centre, size, turn, 0, 360, colour, -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), 1.6) + rng.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def main() -> None:
    """Write every figure to docs/images, those with axes also on a dark background."""
    images, log = DOCS / "images", DOCS / "synthetic_run" / "log.jsonl"
    with TemporaryDirectory() as folder:
        smear = write_picture(draw_smear(), Path(folder) / "smear.png")
        for dark in (False, True):
            end = "_dark" if dark else ""
            for what in ("tags", "keypoints", "tag_maps"):
                plot(PHOTO, what, out=images / f"figure_{what}{end}.jpg", dark=dark)
            corners = images / f"figure_corners{end}.jpg"
            plot(smear, "corners", weights="blood", out=corners, dark=dark)
            plot(what="push", out=images / f"figure_push{end}.png", dark=dark)
            plot(log, "curves", out=images / f"figure_curves{end}.png", dark=dark)
    for what in ("maps", "instances"):
        plot(PHOTO, what, out=images / f"figure_{what}.jpg")


if __name__ == "__main__":
    main()
