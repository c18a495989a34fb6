"""Crowded images from several photos: mosaics, and instances pasted onto other photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tagwise.data.augment import Augment, apply_view, random_turn, random_view, view
from tagwise.data.instances import (
    clip_boxes,
    hide_keypoints,
    inside,
    keep_instances,
    keep_visible,
    uncovered_boxes,
)
from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.data.transforms import FILL, Affine

Draw = Callable[[np.random.Generator], Sample]  # a random source sample of the same dataset
_GRIDS = ((1, 2), (2, 1), (2, 2), (2, 2), (2, 2), (2, 3), (3, 2))


def mosaic(
    rng: np.random.Generator, draw: Draw, size: Size, augment: Augment, flip: Sequence[int]
) -> Sample:
    """Compose photos in a grid with random seams, each under a random view.

    A keypoint type is learned from the mosaic only if every photo in it labels that type.
    """
    rows, columns = _GRIDS[rng.integers(len(_GRIDS))]
    ys, xs = _seams(rng, rows, size[1]), _seams(rng, columns, size[0])
    canvas = None
    for top, bottom in pairwise(ys):
        for left, right in pairwise(xs):
            source, cell = draw(rng), (right - left, bottom - top)
            affine = random_view(rng, source, cell, augment)
            patch = apply_view(source, affine, cell, flip, augment)
            if canvas is None:
                canvas = blank(size, patch)
            canvas = paste_patch(canvas, patch, left, top)
    return canvas


def _seams(rng: np.random.Generator, parts: int, side: int) -> list[int]:
    """The borders of the cells along a side; every cell has at least half of an equal share."""
    inner = [(part + rng.uniform(-0.25, 0.25)) * side / parts for part in range(1, parts)]
    return [0, *(round(position) for position in inner), side]


def paste(
    rng: np.random.Generator,
    canvas: Sample,
    draw: Draw,
    augment: Augment,
    flip: Sequence[int],
) -> Sample:
    """Paste instances of other photos onto the canvas, each with a margin of its photo.

    Instances with a mask are cut out along their outline instead. What a patch covers is removed:
    keypoints are dropped, boxes and masks are cut, and the ignore mask is that of the patch.
    """
    height, width = canvas.image.shape[:2]
    low, high = augment.paste_count
    for _ in range(rng.integers(low, high + 1)):
        source = draw(rng)
        if not len(source.boxes):
            continue
        patch = _cut_out(rng, source, (width, height), augment, flip)
        patch_height, patch_width = patch.image.shape[:2]
        # Up to a third of the patch may be outside of the canvas.
        left = round(rng.uniform(-patch_width / 3, width - patch_width * 2 / 3))
        top = round(rng.uniform(-patch_height / 3, height - patch_height * 2 / 3))
        outline = None if patch.labels is None else patch.labels > 0
        canvas = paste_patch(canvas, patch, left, top, outline)
    return canvas


def _cut_out(
    rng: np.random.Generator, source: Sample, size: Size, augment: Augment, flip: Sequence[int]
) -> Sample:
    """Cut one instance with a margin out of a photo, at a random size for a canvas of `size`.

    If the photo has a label map, all other instances are removed from it.
    """
    chosen = int(rng.integers(len(source.boxes)))
    x, y, w, h = source.boxes[chosen]
    longest = rng.uniform(*augment.paste_size) * min(size)
    fit = min(size[0] / source.image.shape[1], size[1] / source.image.shape[0])
    scale = min(longest / max(w, h, 1.0), fit * augment.zoom)
    turn = random_turn(rng, augment)
    sides = np.array([h, w] if turn % 180 else [w, h])
    grown = np.maximum(sides * scale, 4) * (1 + rng.uniform(0.1, 0.5, 2))
    patch = (round(min(grown[0], size[0])), round(min(grown[1], size[1])))
    centre = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
    # The rectangle of the patch does not rotate with the small angle.
    angle = turn + rng.uniform(-augment.rotate, augment.rotate) / 2
    mirror = rng.random() < augment.flip
    affine = view(centre, (np.array(patch) - 1) / 2, scale, angle, mirror)
    if source.labels is not None:
        source = keep_instances(source, np.arange(len(source.boxes)) == chosen)
    return apply_view(source, affine, patch, flip, augment)


def blank(size: Size, like: Sample) -> Sample:
    """An empty canvas with the same labelled types and image id as `like`."""
    shape = (size[1], size[0])
    return Sample(
        image=np.full((*shape, 3), FILL, np.uint8),
        keypoints=np.zeros((0, *like.keypoints.shape[1:]), np.float32),
        boxes=np.zeros((0, 4), np.float32),
        areas=np.zeros(0, np.float32),
        ignore=np.zeros(shape, bool),
        labelled=like.labelled.copy(),
        image_id=like.image_id,
        file=like.file,
        labels=None if like.labels is None else np.zeros(shape, np.int32),
    )


def paste_patch(
    canvas: Sample, patch: Sample, left: int, top: int, outline: np.ndarray | None = None
) -> Sample:
    """Paste a patch onto the canvas with its top-left pixel at (left, top), clipped to the canvas.

    outline: bool, of the height and width of the patch, the pixels to paste; None for all.
    Samples without label maps take no outline, since the rest of a covered box is then unknown.
    """
    height, width = canvas.image.shape[:2]
    patch_height, patch_width = patch.image.shape[:2]
    x0, x1 = max(left, 0), min(left + patch_width, width)
    y0, y1 = max(top, 0), min(top + patch_height, height)
    if x0 >= x1 or y0 >= y1:
        return canvas
    cut = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    opaque = np.s_[:] if outline is None else outline[cut]
    rest = _covered(canvas, (x0, y0, x1 - x0, y1 - y0), opaque)
    image, labels = canvas.image.copy(), rest.labels
    image[y0:y1, x0:x1][opaque] = patch.image[cut][opaque]
    rest.ignore[y0:y1, x0:x1][opaque] = patch.ignore[cut][opaque]
    if labels is not None:
        numbers = patch.labels[cut]
        numbers = np.where(numbers > 0, numbers + len(rest.boxes), 0)
        labels[y0:y1, x0:x1][opaque] = numbers[opaque]
    pasted = patch.keypoints.copy()
    pasted[..., :2] = Affine.shift(left, top).points(pasted[..., :2])
    hide_keypoints(pasted, ~inside(pasted, (width, height)))
    whole = np.concatenate([rest.boxes, patch.boxes + np.float32([left, top, 0, 0])])
    together = replace(
        rest,
        image=image,
        keypoints=np.concatenate([rest.keypoints, pasted]),
        boxes=clip_boxes(whole, (width, height)),
        areas=np.concatenate([rest.areas, patch.areas]),
        labelled=canvas.labelled & patch.labelled,
        classes=np.concatenate([rest.classes, patch.classes]),
    )
    return keep_visible(together, whole)


def _covered(
    canvas: Sample, patch: tuple[int, int, int, int], opaque: np.ndarray | slice
) -> Sample:
    """Remove the parts of a canvas that a patch (x, y, width, height) covers.

    opaque: (height, width) bool, the pixels that the patch covers, or a slice for all.
    """
    x, y, width, height = patch
    keypoints, boxes, labels = canvas.keypoints.copy(), canvas.boxes, canvas.labels
    hide_keypoints(keypoints, inside(keypoints - np.float32([x, y, 0]), (width, height)))
    if labels is not None:
        labels = labels.copy()
        labels[y : y + height, x : x + width][opaque] = 0
    elif not keypoints.shape[1]:
        boxes = uncovered_boxes(boxes, patch)
    left = replace(
        canvas, keypoints=keypoints, boxes=boxes, ignore=canvas.ignore.copy(), labels=labels
    )
    return keep_visible(left, canvas.boxes)
