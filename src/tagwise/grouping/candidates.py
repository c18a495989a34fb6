"""Candidates: peaks and corners in arrays of fixed shape, as an exported graph has them.

`keypoint_candidates` and `corner_candidates` find them with tensor operations that ONNX has too, so
that they become part of a graph. `peaks_of` and `corners_of` read them as numpy arrays; the result
is that of `find_peaks` and `find_corners` on the maps. Of T candidates, best first, those that do
not exist have the score -1.

Maps are compared in the form in which they are given, as logits for example, and only the values of
candidates are converted to scores: comparisons give the same in every program, a sigmoid does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tagwise.grouping.corner_peaks import CornerPeaks, join_corners
from tagwise.grouping.peaks import Peaks
from tagwise.grouping.settings import CornerSettings, GroupingSettings

if TYPE_CHECKING:
    from torch import Tensor

MOST_CANDIDATES = 4096
"""Largest top_k with which candidates become part of a graph, which has room for as many."""

ToScores: TypeAlias = "Callable[[Tensor], Tensor]"

_TINY = 1e-6  # as in the compiled `parabola_shift`


def as_they_are(values: Tensor) -> Tensor:
    """Return values that are scores already."""
    return values


def keypoint_candidates(
    heatmaps: Tensor,
    tags: Tensor,
    settings: GroupingSettings,
    offsets: Tensor | None = None,
    to_scores: ToScores = as_they_are,
) -> dict[str, Tensor]:
    """The best local maxima of each heatmap, T = settings.top_k of each.

    heatmaps: (B, K, H, W). tags: (B, K * D, H, W). offsets: (B, 2 * K, H, W) in cells.
    to_scores: an increasing function from values of heatmaps to scores in [0, 1].
    settings: those of peaks, without published rules; its thresholds are applied by `peaks_of`.

    Returns peak_scores (B, K, T); peak_xy (B, K, T, 2), x and y in cells, sub-cell; peak_cells
    (B, K, T, 2) int64, x and y of the cell; peak_tags (B, K, T, D).
    """
    types, width = heatmaps.shape[1], heatmaps.shape[3]
    values = _local_maxima(heatmaps, settings.nms_window // 2).flatten(2)
    best, cell = _top(values, settings.top_k, to_scores)
    x, y = cell % width, cell.div(width, rounding_mode="floor")
    shift = _sub_cell(heatmaps, (cell, x, y), settings, offsets, to_scores)
    cells = _stacked(x, y)
    return {
        "peak_scores": best,
        "peak_xy": cells.float() + shift,
        "peak_cells": cells,
        "peak_tags": _at(tags.unflatten(1, (types, -1)).flatten(3), cell),
    }


def peaks_of(found: Mapping[str, np.ndarray], settings: GroupingSettings) -> Peaks:
    """The peaks of a batch from the arrays of `keypoint_candidates`; see `find_peaks`."""
    scores, tags = found["peak_scores"], found["peak_tags"]
    real = (scores > np.float32(settings.peak_threshold)) & np.isfinite(tags).all(axis=3)
    batch, types, _ = scores.shape
    bounds = np.arange(batch)[:, None] * types + np.arange(types + 1)
    starts = np.append(0, np.cumsum(real.sum(axis=2)))[bounds]
    return Peaks(
        found["peak_xy"][real], found["peak_cells"][real], scores[real], tags[real], starts
    )


def corner_candidates(
    corner: str,
    heat: Tensor,
    tag: Tensor,
    off: Tensor,
    settings: CornerSettings,
    to_scores: ToScores = as_they_are,
) -> dict[str, Tensor]:
    """The best local maxima of one corner over all classes, T = settings.top_k.

    corner: "tl" or "br", with which the names begin. heat: (B, C, H, W); to_scores: see
        `keypoint_candidates`.
    tag: (B, D, H, W). off: (B, 2, H, W) in cells.

    Returns tl_scores (B, T); tl_classes (B, T) int64; tl_xy (B, T, 2), x and y in cells, where
    integers are the edges of cells; tl_cells (B, T, 2) int64; tl_tags (B, T, D).
    """
    height, width = heat.shape[2:]
    values = _local_maxima(heat, settings.nms_window // 2).flatten(1)
    best, index = _top(values, settings.top_k, to_scores)
    area = height * width
    cell = index % area
    cells = _stacked(cell % width, cell.div(width, rounding_mode="floor"))
    return {
        f"{corner}_scores": best,
        f"{corner}_classes": index.div(area, rounding_mode="floor"),
        f"{corner}_xy": cells.float() + _at(off.flatten(2), cell),
        f"{corner}_cells": cells,
        f"{corner}_tags": _at(tag.flatten(2), cell),
    }


def corners_of(found: Mapping[str, np.ndarray], settings: CornerSettings) -> CornerPeaks:
    """The corners of a batch from the arrays of `corner_candidates`; see `find_corners`."""
    parts = []
    for corner in ("tl", "br"):
        scores, classes, xy, cells, tags = (
            found[f"{corner}_{what}"] for what in ("scores", "classes", "xy", "cells", "tags")
        )
        real = (scores > np.float32(settings.corner_threshold)) & np.isfinite(xy).all(axis=2)
        real &= np.isfinite(tags).all(axis=2) & np.isfinite(scores)
        image = np.nonzero(real)[0]
        parts.append((image, xy[real], cells[real], scores[real], classes[real], tags[real]))
    return join_corners(*parts, batch=len(found["tl_scores"]))


# ---------------------------------------------------------------------- tensor operations


def _local_maxima(maps: Tensor, radius: int) -> Tensor:
    """The maps (B, C, H, W), with -infinity in every cell that is not a peak.

    A peak has no larger value in its window, and no equal one before it in reading order: one peak
    per plateau, as in the compiled `is_peak`.
    """
    from torch.nn.functional import max_pool2d, pad

    window, least = 2 * radius + 1, -float("inf")
    largest = max_pool2d(maps, window, stride=1, padding=radius)
    above = max_pool2d(pad(maps, (radius, radius, radius, 0), value=least), (radius, window), 1)
    before = max_pool2d(pad(maps, (radius, 0, 0, 0), value=least), (1, radius), 1)
    first = (maps > above[..., :-1, :]) & (maps > before[..., :-1])
    return maps.where((maps == largest) & first, maps.new_tensor(least))


def _top(values: Tensor, count: int, to_scores: ToScores) -> tuple[Tensor, Tensor]:
    """The scores of the largest values (..., P) and their indices, best first, both (..., count).

    Without enough of them, the rest has the score -1 and the index 0.
    """
    from torch.nn.functional import pad

    least = -float("inf")
    best, index = pad(values, (0, count), value=least).topk(count)
    there = best > least
    return to_scores(best).where(there, best.new_tensor(-1.0)), index.where(there, 0)


def _stacked(x: Tensor, y: Tensor) -> Tensor:
    import torch

    return torch.stack([x, y], -1)


def _at(maps: Tensor, cell: Tensor) -> Tensor:
    """The values of maps (..., D, H * W) at cells (..., T), (..., T, D)."""
    index = cell.unsqueeze(-2).expand(*(-1,) * (cell.ndim - 1), maps.shape[-2], -1)
    return maps.gather(-1, index).transpose(-1, -2)


def _sub_cell(heatmaps, places, settings, offsets, to_scores) -> Tensor:
    """The shift from the centres of cells by settings.subcell, (B, K, T, 2).

    places: the index of each cell in its map, and its x and y, each (B, K, T).
    """
    if settings.subcell == "none":
        return heatmaps.new_zeros(1)
    cell, x, y = places
    if offsets is not None and settings.subcell in ("auto", "offset"):
        return _at(offsets.unflatten(1, (heatmaps.shape[1], 2)).flatten(3), cell)
    height, width = heatmaps.shape[2:]

    def logarithm(index: Tensor) -> Tensor:
        return to_scores(heatmaps.flatten(2).gather(2, index)).clamp(min=_TINY).log()

    middle, shifts = logarithm(cell), []
    for position, size, step in ((x, width, 1), (y, height, width)):
        low = logarithm(cell - step * (position > 0).long())
        high = logarithm(cell + step * (position < size - 1).long())
        curvature = 2 * middle - low - high
        vertex = ((high - low) / (2 * curvature.clamp(min=_TINY))).clamp(-0.5, 0.5)
        shifts.append(vertex * (curvature > _TINY).float())
    return _stacked(*shifts)
