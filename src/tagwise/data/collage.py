"""Crowds out of photos of one: mosaics, and instances laid over other photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tagwise.data.augment import Augment, random_view, view
from tagwise.data.sample import Sample
from tagwise.data.transforms import (
    FILL,
    Affine,
    Size,
    clip_boxes,
    hide_keypoints,
    inside,
    keep_instances,
    warp_sample,
)

Draw = Callable[[np.random.Generator], Sample]  # a random source sample of the same dataset
_GRIDS = ((1, 2), (2, 1), (2, 2), (2, 2), (2, 2), (2, 3), (3, 2))


def mosaic(
    rng: np.random.Generator, draw: Draw, size: Size, augment: Augment, flip: Sequence[int]
) -> Sample:
    """Photos in a grid of random seams, each seen through a random view of its own.

    The image learns a keypoint type only if every photo in it labels that type.
    """
    rows, columns = _GRIDS[rng.integers(len(_GRIDS))]
    ys, xs = _seams(rng, rows, size[1]), _seams(rng, columns, size[0])
    canvas = None
    for top, bottom in pairwise(ys):
        for left, right in pairwise(xs):
            source, cell = draw(rng), (right - left, bottom - top)
            seen = random_view(rng, source, cell, augment)
            patch = warp_sample(source, seen, cell, flip, ignore_outside=augment.ignore_outside)
            if canvas is None:
                canvas = blank(size, patch)
            canvas = lay(canvas, patch, left, top)
    return canvas


def _seams(rng: np.random.Generator, parts: int, side: int) -> list[int]:
    """Where cells begin and end along a side: about even, no cell under half its share."""
    inner = [(part + rng.uniform(-0.25, 0.25)) * side / parts for part in range(1, parts)]
    return [0, *(round(place) for place in inner), side]


def paste(
    rng: np.random.Generator,
    canvas: Sample,
    draw: Draw,
    augment: Augment,
    flip: Sequence[int],
) -> Sample:
    """Lay instances of other photos over the canvas, each with a margin of its own photo.

    What is covered is gone: its keypoints are dropped, and the ignore mask is that of the patch.
    """
    height, width = canvas.image.shape[:2]
    low, high = augment.paste_count
    for _ in range(rng.integers(low, high + 1)):
        source = draw(rng)
        if not len(source.boxes):
            continue
        patch = _cut_out(rng, source, (width, height), augment, flip)
        patch_height, patch_width = patch.image.shape[:2]
        # up to a third of it may hang over the canvas's edge
        left = round(rng.uniform(-patch_width / 3, width - patch_width * 2 / 3))
        top = round(rng.uniform(-patch_height / 3, height - patch_height * 2 / 3))
        canvas = lay(canvas, patch, left, top)
    return canvas


def _cut_out(
    rng: np.random.Generator, source: Sample, size: Size, augment: Augment, flip: Sequence[int]
) -> Sample:
    """One instance of a photo with a margin, at a random size for a canvas of `size`."""
    x, y, w, h = source.boxes[rng.integers(len(source.boxes))]
    longest = rng.uniform(*augment.paste_size) * min(size)
    fit = min(size[0] / source.image.shape[1], size[1] / source.image.shape[0])
    scale = min(longest / max(w, h, 1.0), fit * augment.zoom)
    grown = np.maximum(np.array([w, h]) * scale, 4) * (1 + rng.uniform(0.1, 0.5, 2))
    patch = (round(min(grown[0], size[0])), round(min(grown[1], size[1])))
    centre = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
    angle = rng.uniform(-augment.rotate, augment.rotate) / 2  # the rectangle does not turn along
    mirror = rng.random() < augment.flip
    seen = view(centre, (np.array(patch) - 1) / 2, scale, angle, mirror)
    return warp_sample(source, seen, patch, flip, ignore_outside=augment.ignore_outside)


def blank(size: Size, like: Sample) -> Sample:
    """An empty canvas that labels what `like` labels."""
    return Sample(
        image=np.full((size[1], size[0], 3), FILL, np.uint8),
        keypoints=np.zeros((0, *like.keypoints.shape[1:]), np.float32),
        boxes=np.zeros((0, 4), np.float32),
        areas=np.zeros(0, np.float32),
        ignore=np.zeros((size[1], size[0]), bool),
        labelled=like.labelled.copy(),
        image_id=like.image_id,
        file=like.file,
    )


def lay(canvas: Sample, patch: Sample, left: int, top: int) -> Sample:
    """Lay a patch on the canvas with its top-left pixel at (left, top); it may hang over."""
    height, width = canvas.image.shape[:2]
    patch_height, patch_width = patch.image.shape[:2]
    x0, x1 = max(left, 0), min(left + patch_width, width)
    y0, y1 = max(top, 0), min(top + patch_height, height)
    if x0 >= x1 or y0 >= y1:
        return canvas
    image, ignore = canvas.image.copy(), canvas.ignore.copy()
    cut = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    image[y0:y1, x0:x1] = patch.image[cut]
    ignore[y0:y1, x0:x1] = patch.ignore[cut]
    below = canvas.keypoints.copy()
    covered = inside(below - np.float32([x0, y0, 0]), (x1 - x0, y1 - y0))
    hide_keypoints(below, covered)
    above = patch.keypoints.copy()
    above[..., :2] = Affine.shift(left, top).points(above[..., :2])
    hide_keypoints(above, ~inside(above, (width, height)))
    boxes = patch.boxes + np.float32([left, top, 0, 0])
    together = replace(
        canvas,
        image=image,
        ignore=ignore,
        keypoints=np.concatenate([below, above]),
        boxes=np.concatenate([canvas.boxes, clip_boxes(boxes, (width, height))]),
        areas=np.concatenate([canvas.areas, patch.areas]),
        labelled=canvas.labelled & patch.labelled,
    )
    return keep_instances(together, (together.keypoints[..., 2] > 0).any(1))
