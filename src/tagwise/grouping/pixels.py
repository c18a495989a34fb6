"""Decoding of instances from the tags of pixels: foreground and tag maps become a label map.

If a cell covers several pixels, instances are first found among the cells, which are few, and then
painted pixel by pixel. Foreground and tags are interpolated between cells, so that outlines are
finer than the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tagwise.grouping.inputs import check_images, check_type, read_map
from tagwise.grouping.kernels import pixels as kernels
from tagwise.grouping.maps import Maps, as_array
from tagwise.grouping.settings import PixelSettings


class PixelGrid(NamedTuple):
    """The pixels of a label map, and their positions on the network's maps.

    to_cells: (2, 3), the affine map from pixels to cells; (0, 0) is the centre of the first pixel
        and of the first cell. It may scale and shift, but not rotate or mirror.
    size: (width, height) in pixels.
    """

    to_cells: np.ndarray
    size: tuple[int, int]


class LabelMap(NamedTuple):
    """N instances, best first.

    labels: (H, W) int32, n + 1 for instance n, 0 for none. scores: (N,) float32 in [0, 1], the
    mean of foreground times seed score over the cells of an instance. tags: (N, D) float32, the
    mean tags.
    """

    labels: np.ndarray
    scores: np.ndarray
    tags: np.ndarray


def decode_pixels(
    foreground: Maps,
    tags: Maps,
    seeds: Maps | None = None,
    settings: PixelSettings | None = None,
    grids: Sequence[PixelGrid] | None = None,
) -> list[LabelMap]:
    """Decode the instances of each image of a batch.

    foreground: (B, H, W) scores in [0, 1]. tags: (B, D, H, W) float, of any D; a cell whose tag is
        not finite is background. seeds: (B, H, W) in [0, 1]; instances grow from the largest values
        first. None uses the foreground.
    grids: the pixel grid of each label map; by default, a pixel is a cell.

    Instances are connected: two separate regions with similar tags are two instances.

    Raises ValueError for shapes that do not match.

    >>> import torch
    >>> tags = torch.tensor([[[[0.0, 0.0, 5.0, 5.0, 0.0]]]]).expand(1, 1, 4, 5)
    >>> decode_pixels(torch.ones(1, 4, 5), tags, None, PixelSettings(least_area=1))[0].labels[0]
    array([1, 1, 2, 2, 3], dtype=int32)
    """
    settings = check_type("settings", settings or PixelSettings(), PixelSettings)
    foreground, tags = read_map("foreground", foreground, "BHW"), read_map("tags", tags, "BDHW")
    seeds = None if seeds is None else read_map("seeds", seeds, "BHW")
    for name, maps, shape in (
        ("tags", tags, (tags.shape[0], *tags.shape[2:])),
        ("seeds", seeds, None if seeds is None else tuple(seeds.shape)),
    ):
        if maps is not None and shape != tuple(foreground.shape):
            raise ValueError(
                f"{name} are {tuple(maps.shape)}, which does not match foreground (B, H, W), "
                f"{tuple(foreground.shape)}"
            )
    if grids is not None:
        check_images("grids", grids, len(foreground))
    label_maps = []
    for image in range(len(foreground)):
        scores, values = as_array(foreground[image]), as_array(tags[image])
        sure = scores if seeds is None else as_array(seeds[image])
        grid = grids[image] if grids else PixelGrid(np.eye(2, 3), scores.shape[::-1])
        label_maps.append(_decode(scores, values, sure, settings, grid))
    return label_maps


def _decode(
    foreground: np.ndarray,
    tags: np.ndarray,
    seeds: np.ndarray,
    settings: PixelSettings,
    grid: PixelGrid,
) -> LabelMap:
    cells_per_pixel = abs(grid.to_cells[0, 0] * grid.to_cells[1, 1])
    cells = _grow(foreground, tags, seeds, settings, settings.least_area * cells_per_pixel)
    means = kernels.region_means(tags, cells, int(cells.max(initial=0)))[0]
    labels = kernels.paint(
        cells, foreground, tags, means, grid.to_cells, grid.size, settings.foreground
    )
    _fill_holes(labels)
    areas = np.bincount(labels.ravel(), minlength=len(means) + 1)[1:]
    weight = np.bincount(cells.ravel(), minlength=len(means) + 1)[1:]
    total = np.bincount(cells.ravel(), (foreground * seeds).ravel(), len(means) + 1)[1:]
    scores = (total / np.maximum(weight, 1)).astype(np.float32)
    kept = np.flatnonzero(areas >= max(settings.least_area, 1))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    numbers = np.zeros(len(means) + 1, np.int32)
    numbers[kept + 1] = np.arange(1, len(kept) + 1)
    return LabelMap(numbers[labels], scores[kept], means[kept])


def _grow(
    foreground: np.ndarray,
    tags: np.ndarray,
    seeds: np.ndarray,
    settings: PixelSettings,
    least: float,
) -> np.ndarray:
    """The instance of each cell, (H, W) int32, from 1, with gaps; small instances are left out.

    Slivers between instances have different tags, but are not instances: their cells are assigned
    to the neighbouring instances. least: the smallest number of cells of an instance.
    """
    inside = (foreground > settings.foreground) & np.isfinite(tags).all(0)
    candidates = np.flatnonzero(inside & (seeds >= settings.seed))
    ranked = candidates[np.argsort(-seeds.ravel()[candidates], kind="stable")]
    cells, count = kernels.grow(tags, inside, ranked, settings.bandwidth)
    means, sizes = kernels.region_means(tags, cells, count)
    kernels.join_similar(cells, means, sizes, settings.join)
    sizes = np.bincount(cells.ravel(), minlength=count + 1)
    cells[sizes[cells] < least] = 0
    means, _ = kernels.region_means(tags, cells, count)
    kernels.spread(tags, inside, cells, means)
    return cells


def _fill_holes(labels: np.ndarray) -> None:
    """Add holes that a single instance surrounds to that instance, in place."""
    from scipy import ndimage

    holes, count = ndimage.label(labels == 0, output=np.int32)
    kernels.fill_holes(labels, holes, count)
