"""What a network sees before grouping: its maps on the photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tagwise.plot.style import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tagwise.data.transforms import Affine


def draw_heatmaps(
    image: np.ndarray, heatmaps: np.ndarray, affine: np.ndarray, strength: float = 0.75
) -> np.ndarray:
    """The image darkened, with every keypoint type's heatmap glowing on it in its own hue.

    image: (H, W, 3) uint8 RGB. heatmaps: (K, h, w) float in [0, 1].
    affine: (2, 3), from cells of the map to pixels of the image.
    Returns (H, W, 3) uint8 RGB.
    """
    heatmaps = np.clip(np.asarray(heatmaps, np.float32), 0, 1)
    hues = np.arange(len(heatmaps)) * (180 / max(1, len(heatmaps)))
    hsv = np.stack([hues, np.full_like(hues, 200), np.full_like(hues, 255)], -1)
    colours = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32)
    strongest = heatmaps.argmax(axis=0)
    glow = colours[strongest] * heatmaps.max(axis=0)[..., None]
    height, width = image.shape[:2]
    glow = cv2.warpAffine(glow, np.asarray(affine, np.float64)[:2], (width, height))
    mixed = image.astype(np.float32) * (1 - 0.6 * strength) + glow * strength
    return np.clip(mixed, 0, 255).astype(np.uint8)


def plot_corner_maps(
    image: np.ndarray, maps: Mapping[str, np.ndarray], affine: Affine, title: str | None = None
) -> Figure:
    """The heatmaps and the tag maps of both corners, and the heatmap of centres, on the photo.

    image: (H, W, 3) uint8 RGB.
    maps: "tl_heat", "br_heat" (C, h, w) in [0, 1]; "tl_tag", "br_tag" (D, h, w), of which the
        first component is shown, where the heatmap of the corner is above a tenth; "centre_heat"
        (C, h, w) in [0, 1] if the model has it.
    affine: from cells of the maps to pixels of the image.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    rows = 3 if "centre_heat" in maps else 2
    figure = Figure(figsize=(11, 1 + 5 * rows * height / width), layout="constrained")
    axes = figure.subplots(rows, 2)
    tags = {c: _warped(maps[f"{c}_tag"][0], affine, (width, height)) for c in ("tl", "br")}
    seen = {c: _warped(maps[f"{c}_heat"].max(0), affine, (width, height)) for c in ("tl", "br")}
    shown = np.concatenate([tags[c][seen[c] > 0.1] for c in tags])
    low, high = np.quantile(shown, (0.01, 0.99)) if shown.size else (0.0, 1.0)
    grey = np.asarray(image).mean(-1)
    for row, (corner, name) in zip(axes, (("tl", "top-left"), ("br", "bottom-right"))):
        row[0].imshow(draw_heatmaps(image, maps[f"{corner}_heat"], affine.matrix))
        row[0].set_title(f"{name} corners", fontsize=10)
        row[1].imshow(grey, cmap="gray", alpha=0.45)
        there = np.ma.masked_where(seen[corner] <= 0.1, tags[corner])
        drawn = row[1].imshow(there, cmap="turbo", vmin=low, vmax=high)
        row[1].set_title(
            f"their tags, first component of {len(maps[f'{corner}_tag'])}", fontsize=10
        )
    if rows == 3:
        axes[2, 0].imshow(draw_heatmaps(image, maps["centre_heat"], affine.matrix))
        axes[2, 0].set_title("centres", fontsize=10)
        axes[2, 1].set_visible(False)
    _without_frames(axes.flat)
    figure.colorbar(drawn, ax=axes[:2, 1], shrink=0.6)
    figure.suptitle(title or "what the network sees of corners", fontsize=11)
    return figure


def plot_pixel_maps(
    image: np.ndarray, maps: Mapping[str, np.ndarray], affine: Affine, title: str | None = None
) -> Figure:
    """The foreground, the seeds and the components of the tags of every pixel, on the photo.

    image: (H, W, 3) uint8 RGB.
    maps: "foreground" (1, h, w) in [0, 1]; "tags" (D, h, w), shown where the foreground is above a
        half, at most two components; "seeds" (1, h, w) in [0, 1] if the model has them.
    affine: from cells of the maps to pixels of the image.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    tags = maps["tags"][:2]
    heat = [name for name in ("foreground", "seeds") if name in maps]
    figure = Figure(figsize=(11, 1 + 5 * 2 * height / width), layout="constrained")
    axes = figure.subplots(2, 2)
    grey = np.asarray(image).mean(-1)
    inside = _warped(maps["foreground"][0], affine, (width, height)) > 0.5
    for axis, name in zip(axes[0], heat):
        axis.imshow(draw_heatmaps(image, maps[name], affine.matrix))
        axis.set_title(name, fontsize=10)
    for d, (axis, values) in enumerate(zip(axes[1], tags)):
        values = np.ma.masked_where(~inside, _warped(values, affine, (width, height)))
        axis.imshow(grey, cmap="gray", alpha=0.45)
        drawn = axis.imshow(values, cmap="turbo")
        axis.set_title(f"tags, component {d + 1} of {len(maps['tags'])}", fontsize=10)
        figure.colorbar(drawn, ax=axis, shrink=0.6)
    for axis in (*axes[0][len(heat) :], *axes[1][len(tags) :]):
        axis.set_visible(False)
    _without_frames(axes.flat)
    figure.suptitle(title or "what the network sees of pixels", fontsize=11)
    return figure


def _without_frames(axes: Iterable[Axes]) -> None:
    """Pictures instead of plots: no ticks, no grid, no frames."""
    for axis in axes:
        tidy(axis)
        axis.grid(False)
        axis.set(xticks=[], yticks=[])
        axis.spines["bottom"].set_visible(False)


def _warped(values: np.ndarray, affine: Affine, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) on the pixels of the photo, nearest cell: tags of two cells do not mix."""
    return cv2.warpAffine(values.astype(np.float32), affine.matrix, size, flags=cv2.INTER_NEAREST)
