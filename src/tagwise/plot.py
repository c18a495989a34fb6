"""Pictures: skeletons on photos, tags of instances, heatmaps, and the shape of the push term."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from tagwise.data.coco_json import read_json
from tagwise.data.images import read_image
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.results import Poses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Bright enough for dark photos; the dark rim round every line serves bright ones. Neighbours in
# the list are far apart in hue, since neighbouring instances often have neighbouring scores.
PALETTE = (
    *((255, 77, 77), (51, 181, 255), (255, 214, 51), (217, 92, 255), (88, 228, 120)),
    *((255, 148, 41), (122, 122, 255), (190, 240, 66), (255, 128, 190), (45, 226, 214)),
)
_RIM = (16, 18, 24)
_SUBPIXEL = 4  # OpenCV draws at fixed-point coordinates with this many fractional bits


def plot(
    source: str | Path | None = None,
    what: Literal["tags", "poses", "heatmaps", "push"] = "tags",
    *,
    weights: str | Path = "people",
    out: str | Path | None = None,
    threshold: float = 0.25,
    device: str = "auto",
) -> Path:
    """Write one picture that explains a prediction, and return its path.

    source: a `.predictions.json` file, or a photo to predict from; not needed for "push".
    what: "tags" (see `plot_tags`), "poses" (`draw_poses`), "heatmaps" (`draw_heatmaps`; needs a
        photo), or "push" (`plot_push`).
    weights, device: the model for a photo. threshold: instances with a lower score are left out.
    out: picture file; by default `STEM.WHAT.png` in the working folder.
    Raises UserError.
    """
    from tagwise.outputs import write_picture

    if what == "push":
        return write_picture(plot_push(), out or "push.png")
    if source is None:
        raise UserError(f"a plot of {what} needs a photo or a .predictions.json file")
    path = Path(source)
    out = out or f"{path.name.split('.')[0]}.{what}.png"
    if path.suffix.lower() == ".json":
        if what == "heatmaps":
            raise UserError(f"{path} holds no heatmaps; give the photo")
        poses = Poses.from_dict(read_json(path)).above(threshold)
    else:
        from tagwise.predictor import Predictor

        predictor = Predictor(weights, device=device, threshold=threshold)
        if what == "heatmaps":
            image = read_image(path)
            outputs, affine = predictor.maps(image)
            values = predictor.task.heatmap_values(outputs["heatmaps"])[0].cpu().numpy()
            to_image = affine.inverse() @ Affine.scaling(predictor.model.stride)
            return write_picture(draw_heatmaps(image, values, to_image.matrix), out)
        poses = predictor(path)
    return write_picture(plot_tags(poses) if what == "tags" else poses.plot(), out)


def instance_colour(number: int) -> tuple[int, int, int]:
    """The RGB colour of the instance of that number in every picture."""
    return PALETTE[number % len(PALETTE)]


def draw_poses(
    image: np.ndarray,
    poses: Poses,
    *,
    width: float | None = None,
    keypoint_threshold: float = 0.2,
) -> np.ndarray:
    """The image with every instance's skeleton in a colour of its own, the best ones on top.

    image: (H, W, 3) uint8 RGB; it is not changed.
    width: of lines, in pixels; by default it follows the sizes of the image and of the instance.
    keypoint_threshold: keypoints with a lower score are not drawn.
    Returns (H, W, 3) uint8 RGB.
    """
    canvas = np.array(image, np.uint8, order="C")
    sizes = _line_widths(canvas.shape, poses) if width is None else [float(width)] * len(poses)
    for n in reversed(range(len(poses))):
        shown = poses.keypoints[n, :, 2] > keypoint_threshold
        points = np.where(shown[:, None], poses.keypoints[n, :, :2], np.nan)
        _draw_skeleton(canvas, points, poses.skeleton.edges, instance_colour(n), sizes[n])
    return canvas


def _line_widths(shape: tuple[int, ...], poses: Poses) -> np.ndarray:
    """Line widths in pixels (N,): thin on small instances, so that crowds stay readable."""
    usual = max(1.0, float(np.hypot(*shape[:2])) / 220)
    extent = poses.boxes[:, 2:].max(axis=1, initial=0)
    return np.clip(extent / 36, 0.4 * usual, usual)


def _draw_skeleton(
    canvas: np.ndarray,
    points: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    colour: tuple[int, int, int],
    width: float,
) -> None:
    """One instance, drawn in place. points: (K, 2), NaN where nothing is to be drawn."""
    # Far outside, fixed-point coordinates would overflow; nothing of it would be seen anyway.
    height, across = canvas.shape[:2]
    inside = (np.abs(points - (across / 2, height / 2)) < 4 * max(height, across)).all(axis=1)
    fixed = np.rint(np.where(inside[:, None], points, 0) * 2**_SUBPIXEL).astype(int)
    lines = [(tuple(fixed[a]), tuple(fixed[b])) for a, b in edges if inside[a] and inside[b]]
    dots = [tuple(point) for point in fixed[inside]]
    rim = max(1.0, width * 0.35)
    # All rims first, so that no rim cuts through a neighbouring limb of the same instance.
    for extra, shade in ((2 * rim, _RIM), (0.0, colour)):
        for start, end in lines:
            thickness = max(1, round(width + extra))
            cv2.line(canvas, start, end, shade, thickness, cv2.LINE_AA, _SUBPIXEL)
        for dot in dots:
            radius = round((0.95 * width + extra / 2) * 2**_SUBPIXEL)
            cv2.circle(canvas, dot, radius, shade, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)
    if width >= 2:
        bright = tuple(int(255 - (255 - c) * 0.25) for c in colour)
        for dot in dots:
            radius = round(0.45 * width * 2**_SUBPIXEL)
            cv2.circle(canvas, dot, radius, bright, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)


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


def plot_tags(poses: Poses, title: str | None = None) -> Figure:
    """Tags of one image: a panel a tag component, a row a keypoint type, a colour an instance.

    Where tags do their work, an instance is a narrow upright line, and lines stand apart: what
    Newell et al. 2017, figure 3, shows. Colours are those of `draw_poses`. Up to four components
    are shown, all to one scale, so that distances can be compared.
    """
    from matplotlib.figure import Figure

    names, D = poses.skeleton.keypoints, poses.tags.shape[2]
    panels = min(max(D, 1), 4)
    figure = Figure(figsize=(1.5 + 4 * panels, 1.5 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for d, axis in enumerate(axes):
        for n in reversed(range(len(poses) if D else 0)):
            colour = np.array(instance_colour(n)) / 255 * 0.85
            values = poses.tags[n, :, d]
            found = np.isfinite(values)
            axis.plot(values[found], rows[found], "-", color=colour, lw=1.2, alpha=0.6, zorder=2)
            axis.scatter(
                values[found],
                rows[found],
                s=12 + 50 * poses.keypoints[n, found, 2],
                color=[colour],
                edgecolors="white",
                linewidths=0.7,
                zorder=3,
            )
        axis.set_xlabel("tag" if panels == 1 else f"tag, component {d + 1}")
        _tidy(axis)
    spans = [axis.get_xlim() for axis in axes]
    half = max(high - low for low, high in spans) / 2
    for axis, (low, high) in zip(axes, spans):
        axis.set_xlim((low + high) / 2 - half, (low + high) / 2 + half)
    axes[0].set_yticks(rows, [name.replace("_", " ") for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    instances = "1 instance" if len(poses) == 1 else f"{len(poses)} instances"
    figure.suptitle(title or f"{poses.file or 'tags'}: {instances}", fontsize=11)
    return figure


def plot_push(sigma: float = 1.0, margin: float = 1.0) -> Figure:
    """What two instances pay for having tags a distance d apart, in both forms of the push term.

    sigma: of exp(-d² / 2σ²) (Newell et al. 2017, equation 1). margin: of max(0, margin - d)
    (Law and Deng 2018, equation 5).
    """
    from matplotlib.figure import Figure

    distance = np.linspace(0, max(4 * sigma, 2 * margin), 400)
    forms = (
        (f"exp(-d²/2σ²), σ = {sigma:g}", np.exp(-(distance**2) / (2 * sigma**2)), 0),
        (f"max(0, m - d), m = {margin:g}", np.maximum(0, margin - distance), 1),
    )
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for label, loss, n in forms:
        colour = np.array(instance_colour(n)) / 255 * 0.85
        axis.plot(distance, loss, color=colour, lw=2.2, label=label)
        axis.plot(distance, -np.gradient(loss, distance), color=colour, lw=1.2, ls=":")
    axis.plot([], [], color="0.4", lw=1.2, ls=":", label="force apart (minus the slope)")
    axis.set(xlabel="distance d between the tags of two instances", ylabel="push")
    axis.legend(frameon=False)
    _tidy(axis)
    return figure


def _tidy(axis) -> None:
    axis.grid(True, color="0.9", lw=0.8, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
