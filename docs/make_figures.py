"""Write the figures of the pages: `tagwise plot` on the example photos, light and dark, and more.

python docs/make_figures.py

The curves are of docs/synthetic_run/log.jsonl, the log of 400 steps on synthetic scenes, without
the columns that no figure shows. The blood smear and the nuclei are drawn here, because no photo of
them is part of this project. The video of the tracks is a window that moves over a photo.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from tagwise import Predictor, Tracker
from tagwise.commands.plot import plot
from tagwise.data.images import read_image
from tagwise.plot import TrackPainter
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


def draw_nuclei(count: int = 26, seed: int = 4) -> np.ndarray:
    """Draw a picture like nuclei in a fluorescence microscope: (360, 480, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    image = np.full((360, 480), 14.0, np.float32)
    for _ in range(count):
        nucleus = np.zeros_like(image)
        centre = tuple(int(v) for v in rng.uniform((25, 25), (455, 335)))
        axes = tuple(int(v) for v in rng.uniform(13, 24, 2))
        turn, bright = rng.uniform(0, 180), rng.uniform(90, 190)
        cv2.ellipse(nucleus, centre, axes, turn, 0, 360, bright, -1, cv2.LINE_AA)
        image = np.maximum(image, cv2.GaussianBlur(nucleus, (0, 0), 1.8))
    grey = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


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
    nuclei = draw_nuclei()
    masks = np.asarray(Predictor("nuclei")(nuclei).plot())
    write_picture(np.concatenate([nuclei, masks], axis=1), images / "figure_masks.jpg")
    write_picture(draw_tracks(), images / "figure_tracks.jpg")
    for what in ("maps", "instances"):
        plot(PHOTO, what, out=images / f"figure_{what}.jpg")


if __name__ == "__main__":
    main()
