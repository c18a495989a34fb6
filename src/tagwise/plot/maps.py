"""Plots of a network's maps on the photo, before grouping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tagwise.plot.style import set_title, show_image, without_frame

# Its brightness rises evenly, so that tag maps can be read in grey and by colour-blind people.
TAG_COLOURS = "viridis"

if TYPE_CHECKING:
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
        drawn = row[1].imshow(masked, cmap=TAG_COLOURS, vmin=low, vmax=high)
        row[1].set_title(
            f"their tags, first component of {len(maps[f'{corner}_tag'])}", fontsize=10
        )
    if rows == 3:
        axes[2, 0].imshow(draw_heatmaps(image, maps["centre_heat"], affine.matrix))
        axes[2, 0].set_title("centres", fontsize=10)
        axes[2, 1].set_visible(False)
    for axis in axes.flat:
        without_frame(axis)
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
        drawn = axis.imshow(values, cmap=TAG_COLOURS)
        axis.set_title(f"tags, component {d + 1} of {len(maps['tags'])}", fontsize=10)
        figure.colorbar(drawn, ax=axis, shrink=0.6)
    for axis in (*axes[0][len(heat) :], *axes[1][len(tags) :]):
        axis.set_visible(False)
    for axis in axes.flat:
        without_frame(axis)
    set_title(figure, title or "pixel maps of the network")
    return figure


def plot_tag_maps(
    image: np.ndarray,
    rows: Sequence[tuple[str, np.ndarray, np.ndarray]],
    affine: Affine,
    title: str | None = None,
) -> Figure:
    """Plot heatmaps over the photo, and the tag maps beside them as colour images.

    image: (H, W, 3) uint8 RGB.
    rows: of the figure: a name such as that of a keypoint type, its heatmap (h, w) in [0, 1] and
        its tag maps (D, h, w), of which at most three are shown. The colours of a tag map span
        its values where the heatmap is above 0.1, and are the same in every row.
    affine: from cells of the maps to pixels of the image.
    """
    from matplotlib.figure import Figure

    height, width = image.shape[:2]
    shown = min(3, max(len(tags) for _, _, tags in rows))
    side = 3.6 * height / width
    figure = Figure(figsize=(3.6 * (1 + shown) + 0.6, 0.6 + (side + 0.3) * len(rows)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(len(rows), 1 + shown, squeeze=False)
    for row, (name, heatmap, tags) in zip(axes, rows):
        show_image(row[0], _glowing(image, heatmap, affine), f"{name}: heatmap")
        for d, axis in enumerate(row[1:]):
            without_frame(axis)
            axis.set_title(f"tags, component {d + 1} of {len(tags)}", fontsize=10)
    for d in range(shown):
        known = np.concatenate([tags[d][heatmap > 0.1] for _, heatmap, tags in rows])
        known = known if known.size else np.concatenate([tags[d].ravel() for *_, tags in rows])
        low, high = np.quantile(known, (0.01, 0.99))
        for axis, (_, _, tags) in zip(axes[:, 1 + d], rows):
            values = _warped(tags[d], affine, (width, height))
            drawn = axis.imshow(values, cmap=TAG_COLOURS, vmin=low, vmax=high)
        figure.colorbar(drawn, ax=axes[:, 1 + d], shrink=0.7, location="bottom", pad=0.02)
    set_title(figure, title or "heatmaps and tag maps of the network")
    return figure


def _glowing(image: np.ndarray, heatmap: np.ndarray, affine: Affine) -> np.ndarray:
    """A dark grey photo with one heatmap (h, w) in orange, which is bright in grey too."""
    height, width = image.shape[:2]
    heat = cv2.warpAffine(heatmap.astype(np.float32), affine.matrix, (width, height))
    share = np.clip(1.5 * heat, 0, 1)[..., None]
    dark = np.repeat(0.45 * np.asarray(image).mean(-1, keepdims=True), 3, axis=-1)
    return (dark * (1 - share) + np.array((255, 176, 0)) * share).astype(np.uint8)


def _warped(values: np.ndarray, affine: Affine, size: tuple[int, int]) -> np.ndarray:
    """Warp a map (h, w) to the pixels of the photo by nearest neighbour, without mixing tags."""
    return cv2.warpAffine(values.astype(np.float32), affine.matrix, size, flags=cv2.INTER_NEAREST)
