"""Heatmaps and tag maps as small pictures, one pixel per cell, which the page lays over a photo."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from tagwise.errors import UserError
from tagwise.grouping.maps import as_array
from tagwise.serving.views import View
from tagwise.tasks import Task

_WORDS = {
    "heatmaps": "heatmaps",
    "tl_heat": "top-left corners",
    "br_heat": "bottom-right corners",
    "centre_heat": "centres",
    "tl_tag": "tags of top-left corners",
    "br_tag": "tags of bottom-right corners",
    "tags": "tag maps",
    "foreground": "foreground",
    "seeds": "seeds",
}


def list_layers(task: Task) -> list[dict[str, Any]]:
    """The maps of a task that can be shown: head, kind, label, and the name of each channel."""
    out = []
    for name, head in task.heads().items():
        if head.kind != "offset":
            label = _WORDS.get(name, name)
            channels = _channel_names(task, head.channels)
            out.append({"head": name, "kind": head.kind, "label": label, "channels": channels})
    return out


def _channel_names(task: Task, count: int) -> list[str]:
    skeleton = getattr(task, "skeleton", None)
    types = list(skeleton.keypoints if skeleton else getattr(task, "classes", ()))
    if types and count == len(types):
        return types
    if skeleton and count % len(types) == 0:
        per_type = count // len(types)
        return [f"{t}, component {d + 1}" for t in types for d in range(per_type)]
    return [f"component {d + 1}" for d in range(count)] if count > 1 else [""]


def layer_png(view: View, head: str, channel: int | None) -> bytes:
    """A map as PNG with transparency, one pixel per cell.

    channel: its index; None is the largest value of all, for heatmaps. Raises UserError.
    """
    heads = view.task.heads()
    if head not in heads or heads[head].kind == "offset":
        raise UserError(f"there is no layer {head!r}")
    count = heads[head].channels
    if channel is not None and not 0 <= channel < count:
        raise UserError(f"{head} has no channel {channel}; there are {count}, from 0")
    if heads[head].kind == "heatmap":
        return _encoded(_heat(view.heat(head), channel))
    values = as_array(view.maps[head][0, channel or 0])
    return _encoded(_tags(values, _certainty(view, head, channel or 0)))


def _heat(values: np.ndarray, channel: int | None) -> np.ndarray:
    """RGBA (h, w, 4) uint8: the hue of the strongest type, as opaque as its value."""
    chosen = values if channel is None else values[channel : channel + 1]
    first = 0 if channel is None else channel
    hues = ((np.arange(len(chosen)) + first) * (180 / max(1, len(values)))) % 180
    hsv = np.stack([hues, np.full_like(hues, 190), np.full_like(hues, 255)], -1)
    colours = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    best = chosen.max(axis=0)
    alpha = np.clip(best * 1.25, 0, 1)[..., None] * 255
    return np.concatenate([colours[chosen.argmax(axis=0)], alpha], -1).astype(np.uint8)


def _tags(values: np.ndarray, certain: np.ndarray) -> np.ndarray:
    """RGBA (h, w, 4) uint8: a colour scale over the tags, faint where nothing is detected."""
    finite = np.nan_to_num(values)
    inside = finite[certain > 0.3]
    low, high = np.quantile(inside if inside.size else finite, (0.01, 0.99))
    scaled = np.clip((finite - low) / max(high - low, 1e-6), 0, 1)
    colours = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    alpha = (0.15 + 0.85 * np.clip(certain * 2, 0, 1))[..., None] * 255
    return np.concatenate([colours, alpha], -1).astype(np.uint8)


def _certainty(view: View, head: str, channel: int) -> np.ndarray:
    """(h, w): the heatmap that a tag map belongs to, widened by a cell or two."""
    heads, task = view.task.heads(), view.task
    corner = heads[head].corner
    first = next(n for n, h in heads.items() if h.kind == "heatmap" and h.corner == corner)
    heat = view.heat(first)
    types = len(heat)
    if heads[head].channels % types == 0 and getattr(task, "skeleton", None):
        heat = heat[channel // (heads[head].channels // types)][None]
    return cv2.dilate(heat.max(axis=0), np.ones((5, 5), np.uint8))


def _encoded(rgba: np.ndarray) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()
