"""How well tags separate instances: their spread, their gaps, and pairs that are confused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tagwise.geometry import iou

_NEIGHBOURS = 8  # the nearest instances with which each one is compared
_DISTANCES = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)  # between centres, in sizes of the instances
_OVERLAPS = (0.0, 1e-9, 0.1, 0.3, 0.5, 1.0)  # IoU of the boxes
_SIZES = (0.0, 16.0, 32.0, 64.0, 128.0, 256.0, np.inf)  # pixels of the network's input
_DRAWN = 4000  # distances of the histogram


@dataclass(frozen=True)
class InstanceTags:
    """The tags that a network predicts at the true detections of one image.

    tags: (M, P, D) float32, for each instance the tags at P points (its keypoints, its corners or
        some of its pixels); NaN for a point that it lacks.
    boxes: (M, 4), x1, y1, x2, y2 in pixels of the network's input.
    threshold: the distance above which the decoder separates two tags.
    root_mean: compare tags by the root of the mean of the squares, instead of their sum.
    groups: (M,), only instances of the same group are compared; None: all of one image.
    growth: distances are divided by 1 + growth · side, with the side of the box of both points in
        pixels of the network's input; see `CornerSettings.tag_growth`.
    """

    tags: np.ndarray
    boxes: np.ndarray
    threshold: float
    root_mean: bool = False
    groups: np.ndarray | None = None
    growth: float = 0.0

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The distances of tags (..., D) in the norm of the decoder."""
        square = np.square(a - b)
        return np.sqrt(square.mean(-1) if self.root_mean else square.sum(-1))


class Pairs(NamedTuple):
    """Pairs of points of one set, over all images.

    distance: of the tags. wrong: whether the decoder takes the pair for the opposite. size: side of
    the (smaller) instance in pixels of the network's input. apart, overlap: of the two instances;
    0 and 1 for pairs of one instance.
    """

    distance: np.ndarray
    wrong: np.ndarray
    size: np.ndarray
    apart: np.ndarray
    overlap: np.ndarray


def tag_separation(images: Sequence[InstanceTags]) -> dict[str, Any]:
    """Measure the separation of tags over a set.

    Each instance is compared with the 8 nearest ones of its image. Returns plain values:
        instances: their number. spread: median of the root mean square distance of the tags of an
        instance from their mean. gap: median distance from there to the nearest mean of another
        instance. margin: median of the distance of the nearest tag of another instance minus that
        of the farthest of its own; below_margin: share of instances for which it is below 0, which
        no threshold separates. threshold: of the decoder.
        same, other: pairs of points of one instance, and of two; "pairs", "wrong" (share on the
        wrong side of the threshold), and "by" distance, overlap and size, rows of these figures.
        drawn: up to 4,000 distances of each, for a histogram.
    Medians are None if no instance has two points, or no image two instances.
    """
    spread, gap, margin = [], [], []
    same, other = [], []
    for image in images:
        for each in (_spreads(image), _gaps(image)):
            spread += each[0]
            gap += each[1]
            margin += each[2]
        same.append(_own_pairs(image))
        other.append(_other_pairs(image))
    own, others = _joined(same), _joined(other)
    thresholds = [image.threshold for image in images]
    return {
        "instances": sum(len(image.tags) for image in images),
        "spread": _median(spread),
        "gap": _median(gap),
        "margin": _median(margin),
        "below_margin": float(np.mean(np.array(margin) < 0)) if margin else None,
        "threshold": thresholds[0] if thresholds else None,
        "same": _summary(own, {"size": (own.size, _SIZES)}),
        "other": _summary(
            others,
            {
                "distance": (others.apart, _DISTANCES),
                "overlap": (others.overlap, _OVERLAPS),
                "size": (others.size, _SIZES),
            },
        ),
        "drawn": {"same": _sample(own.distance), "other": _sample(others.distance)},
    }


def _means(image: InstanceTags) -> np.ndarray:
    """The mean tag of each instance (M, D), NaN without points."""
    has = np.isfinite(image.tags).all(2)
    total = np.where(has[..., None], image.tags, 0).sum(1)
    count = has.sum(1)[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _spreads(image: InstanceTags) -> tuple[list[float], list[float], list[float]]:
    has = np.isfinite(image.tags).all(2)
    away = image.distance(image.tags, _means(image)[:, None])
    several = has.sum(1) > 1
    square = np.where(has, np.square(away), 0).sum(1) / np.maximum(has.sum(1), 1)
    return np.sqrt(square[several]).tolist(), [], []


def _gaps(image: InstanceTags) -> tuple[list[float], list[float], list[float]]:
    """The gap and the margin of each instance that has others to compare."""
    means, gaps, margins = _means(image), [], []
    own = image.distance(image.tags, means[:, None])
    for m, near in enumerate(_neighbours(image)):
        if not len(near) or not np.isfinite(means[m]).all():
            continue
        to_means = image.distance(means[near], means[m])
        to_tags = image.distance(image.tags[near], means[m])
        if np.isfinite(to_means).any():
            gaps.append(float(np.nanmin(to_means)))
            margins.append(float(np.nanmin(to_tags) - np.nanmax(own[m])))
    return [], gaps, margins


def _neighbours(image: InstanceTags) -> list[np.ndarray]:
    """The nearest instances of each one, of its group, by the distance of their centres."""
    centres = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2
    away = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.fill_diagonal(away, np.inf)
    if image.groups is not None:
        away[image.groups[:, None] != image.groups[None]] = np.inf
    order = np.argsort(away, axis=1, kind="stable")[:, :_NEIGHBOURS]
    return [row[np.isfinite(away[m, row])] for m, row in enumerate(order)]


def _sides(boxes: np.ndarray) -> np.ndarray:
    """The square root of the area of each box."""
    return np.sqrt(np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1))


def _own_pairs(image: InstanceTags) -> Pairs:
    """All pairs of points of one instance."""
    a, b = np.triu_indices(image.tags.shape[1], 1)
    sides = np.repeat(_sides(image.boxes)[:, None], len(a), 1).ravel()
    distance = image.distance(image.tags[:, a], image.tags[:, b]).ravel()
    distance = distance / (1 + image.growth * sides)
    keep = np.isfinite(distance)
    distance, sides = distance[keep], sides[keep]
    nothing = np.zeros(len(distance))
    return Pairs(distance, distance > image.threshold, sides, nothing, nothing + 1)


def _other_pairs(image: InstanceTags) -> Pairs:
    """Pairs of points of an instance and a neighbour; of corners, a first and a second one."""
    corners = image.groups is not None
    sides, overlaps = _sides(image.boxes), iou(image.boxes, image.boxes)
    centres = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2
    parts = []
    for m, near in enumerate(_neighbours(image)):
        for n in near:
            first, second = image.tags[m], image.tags[n]
            joint = np.append(image.boxes[m, :2], image.boxes[n, 2:])
            if corners and (joint[2:] <= joint[:2]).any():
                continue  # no box has these corners
            pairs = (first[:1], second[1:]) if corners else (first[:, None], second[None])
            distance = image.distance(*pairs).ravel() / (1 + image.growth * _sides(joint))
            distance = distance[np.isfinite(distance)]
            size = min(sides[m], sides[n])
            apart = np.linalg.norm(centres[m] - centres[n]) / max((sides[m] + sides[n]) / 2, 1e-9)
            values = (np.full(len(distance), v) for v in (size, apart, overlaps[m, n]))
            parts.append(Pairs(distance, distance <= image.threshold, *values))
    return _joined(parts)


def _joined(parts: Sequence[Pairs]) -> Pairs:
    if not parts:
        nothing = np.zeros(0)
        return Pairs(nothing, nothing.astype(bool), nothing, nothing, nothing)
    return Pairs(*(np.concatenate(values) for values in zip(*parts)))


def _summary(pairs: Pairs, bins: dict[str, tuple[np.ndarray, tuple[float, ...]]]) -> dict[str, Any]:
    by = {name: _binned(pairs.wrong, values, edges) for name, (values, edges) in bins.items()}
    return {"pairs": len(pairs.wrong), "wrong": _share(pairs.wrong), "by": by}


def _binned(
    wrong: np.ndarray, values: np.ndarray, edges: tuple[float, ...]
) -> list[dict[str, Any]]:
    """Rows of a table: from, to (None: no limit), pairs and the share of them that is wrong."""
    number = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for n, (low, high) in enumerate(pairwise(edges)):
        part = wrong[number == n]
        end = None if np.isinf(high) else high
        rows.append({"from": low, "to": end, "pairs": len(part), "wrong": _share(part)})
    return rows


def _share(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _sample(values: np.ndarray) -> list[float]:
    """At most 4,000 values, evenly over the sorted ones, which keeps their distribution."""
    ordered = np.sort(values)
    if len(ordered) > _DRAWN:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _DRAWN).astype(int)]
    return np.round(ordered, 4).tolist()
