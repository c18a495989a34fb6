"""Plots of a network's maps on the photo, before grouping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tagwise.plot.style import set_title, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tagwise.data.transforms import Affine


def draw_heatmaps(
    image: np.ndarray, heatmaps: np.ndarray, affine: np.ndarray, strength: float = 0.75
) -> np.ndarray:
    """Darken the image and overlay the heatmap of every keypoint type in a hue of its own.

    image: (H, W, 3) uint8 RGB. heatmaps: (K, h, w) float in [0, 1].
    affine: (2, 3), from cells of the map to pixels of the image.
    strength: the opacity of the overlay, 0 to 1.
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
    """Plot the heatmaps and the tag maps of both corners, and the heatmap of centres, on the photo.

    image: (H, W, 3) uint8 RGB.
    maps: "tl_heat", "br_heat" (C, h, w) in [0, 1]; "tl_tag", "br_tag" (D, h, w); "centre_heat"
        (C, h, w) in [0, 1] if the model has it. The first component of the tags is shown where
        the heatmap of the corner is above 0.1.
    affine: from cells of the maps to pixels of the image.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    rows = 3 if "centre_heat" in maps else 2
    figure = Figure(figsize=(11, 1 + 5 * rows * height / width), layout="constrained")
    axes = figure.subplots(rows, 2)
    tags = {c: _warped(maps[f"{c}_tag"][0], affine, (width, height)) for c in ("tl", "br")}
    heat = {c: _warped(maps[f"{c}_heat"].max(0), affine, (width, height)) for c in ("tl", "br")}
    visible = np.concatenate([tags[c][heat[c] > 0.1] for c in tags])
    low, high = np.quantile(visible, (0.01, 0.99)) if visible.size else (0.0, 1.0)
    grey = np.asarray(image).mean(-1)
    for row, (corner, name) in zip(axes, (("tl", "top-left"), ("br", "bottom-right"))):
        row[0].imshow(draw_heatmaps(image, maps[f"{corner}_heat"], affine.matrix))
        row[0].set_title(f"{name} corners", fontsize=10)
        row[1].imshow(grey, cmap="gray", alpha=0.45)
        masked = np.ma.masked_where(heat[corner] <= 0.1, tags[corner])
        drawn = row[1].imshow(masked, cmap="turbo", vmin=low, vmax=high)
        row[1].set_title(
            f"their tags, first component of {len(maps[f'{corner}_tag'])}", fontsize=10
        )
    if rows == 3:
        axes[2, 0].imshow(draw_heatmaps(image, maps["centre_heat"], affine.matrix))
        axes[2, 0].set_title("centres", fontsize=10)
        axes[2, 1].set_visible(False)
    _without_frames(axes.flat)
    figure.colorbar(drawn, ax=axes[:2, 1], shrink=0.6)
    set_title(figure, title or "corner maps of the network")
    return figure


def plot_pixel_maps(
    image: np.ndarray, maps: Mapping[str, np.ndarray], affine: Affine, title: str | None = None
) -> Figure:
    """Plot the foreground, the seeds and the tag components of every pixel on the photo.

    image: (H, W, 3) uint8 RGB.
    maps: "foreground" (1, h, w) in [0, 1]; "tags" (D, h, w); "seeds" (1, h, w) in [0, 1] if the
        model has them. At most two components of the tags are shown, where the foreground is
        above 0.5.
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
    set_title(figure, title or "pixel maps of the network")
    return figure


def _without_frames(axes: Iterable[Axes]) -> None:
    """Remove the ticks, grids and frames of axes that show images."""
    for axis in axes:
        tidy(axis)
        axis.grid(False)
        axis.set(xticks=[], yticks=[])
        axis.spines["bottom"].set_visible(False)


def _warped(values: np.ndarray, affine: Affine, size: tuple[int, int]) -> np.ndarray:
    """Warp a map (h, w) to the pixels of the photo by nearest neighbour, without mixing tags."""
    return cv2.warpAffine(values.astype(np.float32), affine.matrix, size, flags=cv2.INTER_NEAREST)
