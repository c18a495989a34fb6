"""Instances from the tags of pixels: foreground and tag maps become a label map.

Where maps are cells of several pixels, instances are found among the cells, which are few, and
then painted pixel by pixel: foreground and tags are interpolated between cells, so that outlines
are finer than the cells are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from torch import Tensor

from tagwise.errors import UserError, unknown_name
from tagwise.grouping.kernels import pixels as kernels


@dataclass(frozen=True)
class PixelSettings:
    """How pixels become instances.

    foreground: least score of a pixel that belongs to anything.
    seed: least seed score of a cell that an instance grows from.
    bandwidth: an instance grows over neighbouring cells whose tags are no farther from the tag
        of its seed.
    join: instances side by side whose mean tags are no farther apart become one.
    least_area: in pixels; smaller instances are left out.
    """

    foreground: float = 0.5
    seed: float = 0.5
    bandwidth: float = 1.5
    join: float = 1.5
    least_area: int = 16

    def __post_init__(self) -> None:
        for name in ("bandwidth", "join"):
            if not getattr(self, name) >= 0:
                raise UserError(f"grouping.{name} is {getattr(self, name)}; use 0 or more")
        for name in ("foreground", "seed"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"grouping.{name} is {getattr(self, name)}; use 0 to 1")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PixelSettings:
        """Settings from plain values, such as a model file's; those left out keep their defaults.

        Raises UserError for a name that is none.
        """
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("setting of the pixels' grouping", name, known)
        return cls(**values)


class Frame(NamedTuple):
    """An image that a label map is wanted for.

    to_cells: (2, 3), takes its pixels to cells of the maps, both counted from the centre of the
        first; without turn or mirror. size: width and height in pixels.
    """

    to_cells: np.ndarray
    size: tuple[int, int]


class LabelMap(NamedTuple):
    """N instances, best first.

    labels: (H, W) int32, n + 1 for instance n, 0 for none. scores: (N,) float32 in [0, 1], the
    mean over an instance's cells of foreground times seed score. tags: (N, D) float32, the mean.
    """

    labels: np.ndarray
    scores: np.ndarray
    tags: np.ndarray


def decode_pixels(
    foreground: Tensor,
    tags: Tensor,
    seeds: Tensor | None = None,
    settings: PixelSettings | None = None,
    frames: Sequence[Frame] | None = None,
) -> list[LabelMap]:
    """The instances of each image of a batch.

    foreground: (B, H, W) scores in [0, 1]. tags: (B, D, H, W) float, of any D; a cell whose tag is
        not finite is background. seeds: (B, H, W) in [0, 1], where instances grow from first;
        None for the foreground itself.
    frames: one for each image; by default a pixel is a cell.

    Instances are connected: like tags far apart are two instances.

    >>> import torch
    >>> tags = torch.tensor([[[[0.0, 0.0, 5.0, 5.0, 0.0]]]]).expand(1, 1, 4, 5)
    >>> decode_pixels(torch.ones(1, 4, 5), tags, None, PixelSettings(least_area=1))[0].labels[0]
    array([1, 1, 2, 2, 3], dtype=int32)
    """
    settings = settings or PixelSettings()
    found = []
    for image in range(len(foreground)):
        scores, values = _array(foreground[image]), _array(tags[image])
        sure = scores if seeds is None else _array(seeds[image])
        if frames is None:
            height, width = scores.shape
            frame = Frame(np.eye(2, 3), (width, height))
        else:
            frame = frames[image]
        found.append(_decode(scores, values, sure, settings, frame))
    return found


def _array(maps: Tensor) -> np.ndarray:
    return np.ascontiguousarray(maps.detach().float().cpu().numpy())


def _decode(
    foreground: np.ndarray,
    tags: np.ndarray,
    seeds: np.ndarray,
    settings: PixelSettings,
    frame: Frame,
) -> LabelMap:
    cells_a_pixel = abs(frame.to_cells[0, 0] * frame.to_cells[1, 1])
    cells = _grow(foreground, tags, seeds, settings, settings.least_area * cells_a_pixel)
    means = kernels.region_means(tags, cells, int(cells.max(initial=0)))[0]
    labels = kernels.paint(
        cells, foreground, tags, means, frame.to_cells, frame.size, settings.foreground
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
    """The instance of each cell, (H, W) int32, from 1, with gaps; what has few cells is left out.

    Slivers between instances have tags of their own, but are no instances: their cells go to the
    neighbours.
    """
    inside = (foreground > settings.foreground) & np.isfinite(tags).all(0)
    candidates = np.flatnonzero(inside & (seeds >= settings.seed))
    ranked = candidates[np.argsort(-seeds.ravel()[candidates], kind="stable")]
    cells, count = kernels.grow(tags, inside, ranked, settings.bandwidth)
    means, sizes = kernels.region_means(tags, cells, count)
    kernels.join_like(cells, means, sizes, settings.join)
    sizes = np.bincount(cells.ravel(), minlength=count + 1)
    cells[sizes[cells] < least] = 0
    means, _ = kernels.region_means(tags, cells, count)
    kernels.spread(tags, inside, cells, means)
    return cells


def _fill_holes(labels: np.ndarray) -> None:
    """Holes that one instance surrounds become part of it, in place."""
    holes, count = ndimage.label(labels == 0, output=np.int32)
    kernels.fill_holes(labels, holes, count)
