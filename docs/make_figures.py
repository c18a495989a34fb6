"""Write the figures of the pages: `tagwise plot` on the example photos, light and dark, and more.

python docs/make_figures.py

The curves are of docs/synthetic_run/log.jsonl, the log of 400 steps on synthetic scenes, without
the columns that no figure shows. Boxes and masks are shown on a photo of coins, because no photo of
cells is part of this project. The video of the tracks is a window that moves over a photo.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tagwise import Predictor, Tracker
from tagwise.commands.plot import plot
from tagwise.data.images import read_image
from tagwise.plot import TrackPainter
from tagwise.results.pictures import write_picture

DOCS = Path(__file__).parent
PHOTO = DOCS.parent / "examples" / "photos" / "pedestrians.jpg"
COINS = DOCS.parent / "examples" / "coins" / "coins.png"


def draw_tracks(frames: int = 14, step: int = 8) -> np.ndarray:
    """The last frame of a video in which a camera turns: people with their tracks."""
    photo = cv2.resize(read_image(PHOTO), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    tracker, painter = Tracker(), TrackPainter()
    predictor = Predictor("people", threshold=0.1)
    for n in range(frames):
        frame = np.ascontiguousarray(photo[:, n * step : n * step + 720])
        found = predictor(frame)
        drawn = painter.draw(frame, found, tracker.update(found))
    return drawn


def main() -> None:
    """Write every figure to docs/images, those with axes also on a dark background."""
    images, log = DOCS / "images", DOCS / "synthetic_run" / "log.jsonl"
    for dark in (False, True):
        end = "_dark" if dark else ""
        for what in ("tags", "keypoints", "tag_maps"):
            plot(PHOTO, what, out=images / f"figure_{what}{end}.jpg", dark=dark)
        corners = images / f"figure_corners{end}.jpg"
        plot(COINS, "corners", weights="blood", out=corners, dark=dark)
        plot(what="push", out=images / f"figure_push{end}.png", dark=dark)
        plot(log, "curves", out=images / f"figure_curves{end}.png", dark=dark)
    masks = np.asarray(Predictor("nuclei")(COINS).plot())
    both = np.concatenate([read_image(COINS), masks], axis=1)
    write_picture(both, images / "figure_masks.jpg")
    write_picture(draw_tracks(), images / "figure_tracks.jpg")
    for what in ("maps", "instances"):
        plot(PHOTO, what, out=images / f"figure_{what}.jpg")


if __name__ == "__main__":
    main()
