"""Synthetic scenes of simple shapes that touch and overlap, with boxes, classes and label maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from tagwise.data.instances import MIN_VISIBLE, keep_instances
from tagwise.data.regions import Size, paint_region
from tagwise.data.sample import Sample
from tagwise.data.synthetic.scenes import Scenes, clouds, paint_textured, random_colour
from tagwise.errors import unknown_name
from tagwise.label_maps import label_map_instances

SHAPES = ("disc", "ellipse", "rectangle", "star")
_FRACTION_BITS = 4  # OpenCV takes corners in fixed point, with this many fractional bits


class SyntheticShapes(Scenes):
    """Synthetic scenes of shapes, with the interface of CocoBoxes or of LabelMaps.

    classes: the shapes to draw, names from SHAPES. length: the number of scenes.
    seed: scene i depends only on (seed, i) and the other arguments.
    size: (width, height) of a scene in pixels. count: the minimum and maximum number of shapes.
    radius: the minimum and maximum radius of a shape in pixels.
    close: the fraction of shapes that are placed next to another shape or slightly over it.
    masks: give label maps as well, for pixel tasks. Without them, samples have only boxes, and
        shapes that are almost hidden are ignored.

    Boxes and areas are those of the visible part of a shape.

    >>> sample = SyntheticShapes(size=(128, 128), count=(5, 5), masks=True)[0]
    >>> int(sample.labels.max()), len(sample.classes) == len(sample.boxes)
    (5, True)
    """

    flip: tuple[int, ...] = ()  # there are no keypoint types to swap in a mirrored image

    def __init__(
        self,
        classes: Sequence[str] = SHAPES,
        length: int = 1000,
        seed: int = 0,
        size: Size = (512, 512),
        count: tuple[int, int] = (5, 30),
        radius: tuple[float, float] = (12.0, 60.0),
        close: float = 0.5,
        masks: bool = False,
    ) -> None:
        super().__init__(length, seed, size)
        for name in classes:
            if name not in SHAPES:
                raise unknown_name("shape", name, SHAPES)
        self.classes, self.category_ids = tuple(classes), list(range(1, len(classes) + 1))
        self.count, self.radius, self.close, self.masks = count, radius, close, masks

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels."""
        return {} if self.masks else {"classes": list(self.classes)}

    def _scene(self, rng: np.random.Generator, index: int) -> Sample:
        count = int(rng.integers(self.count[0], self.count[1] + 1))
        image = clouds(rng, self._size)
        labels = np.zeros(image.shape[:2], np.int32)
        classes = rng.integers(len(self.classes), size=count)
        radii = np.exp(rng.uniform(*np.log(self.radius), count))
        drawn = np.zeros(count, np.float32)
        for n, centre in enumerate(self._centres(rng, radii)):
            corners = outline(rng, self.classes[classes[n]]) * radii[n] + centre
            drawn[n] = _paint(rng, image, labels, corners, n + 1)
        boxes, areas = label_map_instances(labels, count)
        ignore = np.zeros(labels.shape, bool)
        keep = areas > 0 if self.masks else areas >= MIN_VISIBLE * drawn
        for box in boxes[~keep]:
            paint_region(ignore, tuple(box))
        sample = Sample(
            image=image,
            keypoints=np.zeros((count, 0, 3), np.float32),
            boxes=boxes,
            areas=areas,
            ignore=ignore,
            labelled=np.zeros(0, bool),
            image_id=index + 1,
            file=self.info(index).file,
            classes=classes,
            labels=labels if self.masks else None,
        )
        return keep_instances(sample, keep)

    def _centres(self, rng: np.random.Generator, radii: np.ndarray) -> np.ndarray:
        """Draw the centres (N, 2): anywhere, or close to a shape drawn earlier."""
        centres = rng.uniform(0, 1, (len(radii), 2)) * self._size
        for n in range(1, len(radii)):
            if rng.random() < self.close:
                other, angle = int(rng.integers(n)), rng.uniform(0, 2 * np.pi)
                apart = (radii[n] + radii[other]) * rng.uniform(0.7, 1.0)
                centres[n] = centres[other] + apart * np.array([np.cos(angle), np.sin(angle)])
        return np.clip(centres, 0, self._size)

    def _annotation(self, sample: Sample, n: int) -> dict[str, Any]:
        return {"category_id": int(sample.classes[n]) + 1}

    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": n, "name": name} for n, name in enumerate(self.classes, 1)]


def outline(rng: np.random.Generator, shape: str) -> np.ndarray:
    """Generate the corners (P, 2) of a shape of radius 1 around (0, 0).

    The rotation and the proportions are random.
    """
    if shape == "rectangle":
        corner = rng.uniform(0.5, 1.1)
        angles = np.array([corner, np.pi - corner, np.pi + corner, -corner])
    else:
        angles = np.linspace(0, 2 * np.pi, 10 if shape == "star" else 48, endpoint=False)
    corners = np.stack([np.cos(angles), np.sin(angles)], 1)
    if shape == "star":
        corners[1::2] *= rng.uniform(0.4, 0.55)
    elif shape == "ellipse":
        corners[:, 1] *= rng.uniform(0.4, 0.7)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return corners @ np.array([[c, s], [-s, c]])


def _paint(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    corners: np.ndarray,
    number: int,
) -> int:
    """Draw a polygon into the image (H, W, 3) and its number into the label map (H, W), in place.

    Returns the number of pixels that the polygon covers.
    """
    x, y = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
    right, bottom = np.ceil(corners.max(0)).astype(int) + 2
    cut = np.s_[y:bottom, x:right]
    mask = np.zeros(labels[cut].shape, np.uint8)
    fixed_point = [np.rint((corners - (x, y)) * (1 << _FRACTION_BITS)).astype(np.int32)]
    cv2.fillPoly(mask, fixed_point, 255, shift=_FRACTION_BITS)
    colour = np.array(random_colour(rng), np.uint8)
    layer = np.tile(colour, (*mask.shape, 1))
    rim = [float(v) for v in colour * 0.4]  # separates neighbours of similar colour
    cv2.polylines(layer, fixed_point, True, rim, 2, cv2.LINE_AA, shift=_FRACTION_BITS)
    paint_textured(rng, image[cut], layer, mask)
    labels[cut][mask > 0] = number
    return int(np.count_nonzero(mask))
