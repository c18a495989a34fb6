"""Random changes of a sample: its geometry and its colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np

from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.data.transforms import FILL, Affine, warp_sample
from tagwise.settings import (
    Ascending,
    NonNegative,
    NonNegativeInt,
    Positive,
    Settings,
    Share,
)

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class Augment(Settings):
    """The settings of random augmentation. `Augment.none()` only fits samples into the input.

    scale: minimum and maximum size relative to the image fitted into the input. With `native` it is
        relative to the original image, and the input shows a random part of it.
    cover: maximum position between fitting the image into the input (0) and filling the input with
        it (1); drawn for every sample.
    rotate: maximum angle in degrees. shift: maximum shift, as a share of the input's sides.
    flip: probability of mirroring.
    quarter: probability of a rotation by 90, 180 or 270 degrees, for images without a fixed
        orientation. Boxes stay tight, while `rotate` makes them grow: by 37 % for a square at 30
        degrees.
    ellipses: a rotated box is drawn around its inscribed ellipse, tight for round objects.
    focus: probability of showing one instance instead of the whole image. The longer side of its
        box is then a share of the input's shorter side. focus_size: minimum and maximum share.
    zoom: maximum enlargement, relative to the fitted image, for focus, mosaic and paste.
    brightness, contrast, saturation: maximum relative change. hue: maximum rotation in degrees.
    tint: maximum relative change of a single colour channel.
    grey: probability of a grey image. blur: probability of blur. noise: probability of noise.
    mosaic: probability of an image that is composed of 2 to 6 photos in a grid.
    paste: probability that instances of other photos are pasted onto the image. paste_count:
        minimum and maximum number. paste_size: minimum and maximum of the longer side of their
        boxes, as a share of the input's shorter side.
    ignore_outside: ignore the area outside of the photo, which is otherwise background.
    native: see `scale`.
    """

    scale: Annotated[tuple[Positive, Positive], Ascending()] = (0.7, 1.4)
    cover: Share = 0.5
    rotate: NonNegative = 30.0
    shift: NonNegative = 0.1
    flip: Share = 0.5
    focus: Share = 0.0
    focus_size: Annotated[tuple[NonNegative, NonNegative], Ascending()] = (0.3, 0.9)
    zoom: NonNegative = 2.0
    brightness: NonNegative = 0.25
    contrast: NonNegative = 0.25
    saturation: NonNegative = 0.3
    hue: NonNegative = 10.0
    tint: NonNegative = 0.08
    grey: Share = 0.05
    blur: Share = 0.1
    noise: Share = 0.1
    mosaic: Share = 0.0
    paste: Share = 0.0
    paste_count: Annotated[tuple[NonNegativeInt, NonNegativeInt], Ascending()] = (1, 3)
    paste_size: Annotated[tuple[NonNegative, NonNegative], Ascending()] = (0.2, 0.8)
    ignore_outside: bool = False
    quarter: Share = 0.0
    ellipses: bool = False
    native: bool = False

    @classmethod
    def none(cls) -> Augment:
        """No augmentation: the image is only fitted into the input."""
        return cls(
            scale=(1.0, 1.0),
            zoom=1.0,
            **dict.fromkeys(("cover", "rotate", "shift", "flip", "grey", "blur", "noise"), 0.0),
            **dict.fromkeys(("brightness", "contrast", "saturation", "hue", "tint"), 0.0),
        )

    def enlargement(self) -> float:
        """The maximum size, relative to the fitted image, at which images are kept in memory.

        A view that fills the input is larger than one that fits, by the ratio of the aspect ratios.
        A third is common (portrait photos in a landscape input); larger views are blurred.
        """
        close = self.focus > 0 or self.mosaic > 0 or self.paste > 0
        return max(self.scale[1] * (1 + self.cover / 3), self.zoom if close else 0.0)


def random_view(rng: np.random.Generator, sample: Sample, size: Size, augment: Augment) -> Affine:
    """Draw a random affine map from a sample to a canvas of `size` (width, height)."""
    height, width = sample.image.shape[:2]
    turn = random_turn(rng, augment)
    across, down = (height, width) if turn % 180 else (width, height)
    fit = 1.0 if augment.native else min(size[0] / across, size[1] / down)
    fill = 1.0 if augment.native else max(size[0] / across, size[1] / down)
    low, high = np.log(augment.scale)
    cover = rng.uniform(0, augment.cover)
    scale = fit ** (1 - cover) * fill**cover * math.exp(rng.uniform(low, high))
    angle = turn + rng.uniform(-augment.rotate, augment.rotate)
    shift = rng.uniform(-augment.shift, augment.shift, 2) if augment.shift else np.zeros(2)
    mirror = rng.random() < augment.flip
    source = np.array([(width - 1) / 2, (height - 1) / 2])
    if augment.native:
        visible = np.array(size[::-1] if turn % 180 else size) / scale
        room = np.maximum(np.array([width, height]) - visible, 0) / 2
        source += rng.uniform(-room, room)
    target = (np.array(size) - 1) / 2 + shift * size
    if len(sample.boxes) and rng.random() < augment.focus:
        x, y, w, h = sample.boxes[rng.integers(len(sample.boxes))]
        wanted = rng.uniform(*augment.focus_size) * min(size) / max(w, h, 1.0)
        scale = float(np.clip(wanted, fit * augment.scale[0], fit * augment.zoom))
        source = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
        target = rng.uniform(0.3, 0.7, 2) * size
    return view(source, target, scale, angle, mirror)


def random_turn(rng: np.random.Generator, augment: Augment) -> int:
    """Draw a rotation of 0, 90, 180 or 270 degrees, as set by `Augment.quarter`."""
    # Without `quarter`, no number is drawn, so that samples equal those of earlier versions.
    if augment.quarter and rng.random() < augment.quarter:
        return 90 * int(rng.integers(1, 4))
    return 0


def view(source: np.ndarray, target: np.ndarray, scale: float, angle: float, mirror: bool):
    """The map that moves point `source` to `target`, scaled, rotated (degrees) and mirrored."""
    turned = Affine.turn(angle, scale)
    if mirror:
        turned = turned @ Affine.mirror(1.0)
    return Affine.shift(*target) @ turned @ Affine.shift(*-source)


def apply_view(
    sample: Sample, affine: Affine, size: Size, flip: Sequence[int], augment: Augment
) -> Sample:
    """The sample under an affine map, on a canvas of `size` (width, height)."""
    return warp_sample(
        sample,
        affine,
        size,
        flip,
        ignore_outside=augment.ignore_outside,
        ellipses=augment.ellipses,
    )


def random_colour(rng: np.random.Generator, image: np.ndarray, augment: Augment) -> np.ndarray:
    """Vary the colours of an image (H, W, 3) uint8: a 3 × 3 matrix, then a table per channel."""
    grey = rng.random() < augment.grey
    saturation = 0.0 if grey else 1 + _spread(rng, augment.saturation)
    hue = _spread(rng, augment.hue)
    if saturation != 1 or hue:
        image = cv2.transform(image, _colour_matrix(saturation, hue))
    bright, steep = 1 + _spread(rng, augment.brightness), 1 + _spread(rng, augment.contrast)
    gains = bright * (1 + rng.uniform(-1, 1, 3) * (0.0 if grey else augment.tint))
    if augment.brightness or augment.contrast or augment.tint:
        values = (np.arange(256)[:, None] * gains - FILL) * steep + FILL
        table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        image = cv2.LUT(image, table[None])
    if rng.random() < augment.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < augment.noise:
        strength = rng.uniform(2, 12)
        grain = rng.standard_normal(image.shape, np.float32) * strength
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    return image


def _spread(rng: np.random.Generator, maximum: float) -> float:
    return float(rng.uniform(-maximum, maximum)) if maximum else 0.0


def _colour_matrix(saturation: float, hue: float) -> np.ndarray:
    """A (3, 3) matrix: saturation, then a rotation by `hue` degrees around the grey axis."""
    fade = saturation * np.eye(3) + (1 - saturation) * np.outer(np.ones(3), _LUMA)
    c, s = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return (c * np.eye(3) + s * cross + (1 - c) / 3) @ fade


def vary_colours(rng: np.random.Generator, sample: Sample, augment: Augment) -> Sample:
    """The sample with its colours varied."""
    return replace(sample, image=random_colour(rng, sample.image, augment))
