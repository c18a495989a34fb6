"""What labels of keypoints lack, proposed from the labels: edges and OKS constants."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from tagwise.geometry import keypoint_boxes

_ENOUGH = 5  # instances in which two types must be labelled together
_REPEATED = 20  # labels of a type that were made twice, to measure their scatter
_ITERATIONS = 4
USUAL_SIGMA = 0.05


def propose_edges(keypoints: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Join the keypoint types by the spanning tree of the most constant distances.

    keypoints: (M, K, 3) in pixels, of M instances. Distances are in units of the size of their
    instance, see `relative_distances`; rigid parts vary little in them. The weight of an edge is
    the interquartile range of its distance plus a third of its median, so that of several constant
    edges the short ones are preferred. Types that are never labelled together with others stay
    without an edge.

    Returns pairs (a, b) with a < b. The tree is Kruskal's.
    """
    distances, _ = relative_distances(keypoints)
    weighted = []
    for a, b in combinations(range(keypoints.shape[1]), 2):
        lengths = distances[:, a, b][np.isfinite(distances[:, a, b])]
        if len(lengths) and len(lengths) >= min(_ENOUGH, len(keypoints)):
            low, middle, high = np.quantile(lengths, (0.25, 0.5, 0.75))
            weighted.append((float(high - low + middle / 3), a, b))
    tree, part = [], list(range(keypoints.shape[1]))
    for _, a, b in sorted(weighted):
        if part[a] != part[b]:
            old, new = part[b], part[a]
            part = [new if each == old else each for each in part]
            tree.append((a, b))
    return tuple(sorted(tree))


def relative_distances(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances between the keypoints of each instance, in units of the instance's size.

    keypoints: (M, K, 3). The size of an instance is the median, over its pairs of keypoints, of
    their distance divided by the usual distance of the pair, which is in turn the median over the
    instances. It does not depend on which keypoints are labelled, nor on the direction of the
    instance. Both medians are iterated.

    Returns (M, K, K) distances, NaN for keypoints that are not labelled or alone, and (K, K) usual
    distances, in the same unit.
    """
    xy = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    distances = np.linalg.norm(xy[:, :, None] - xy[:, None], axis=-1)
    K = keypoints.shape[1]
    distances[:, np.arange(K), np.arange(K)] = np.nan
    pixels = distances.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of nothing are NaN
        for _ in range(_ITERATIONS):
            usual = np.nanmedian(distances, axis=0)
            size = np.nanmedian(pixels / usual, axis=(1, 2))
            distances = pixels / np.maximum(size, 1e-9)[:, None, None]
        usual = np.nanmedian(distances, axis=0)
    return distances, usual


def instance_sizes(keypoints: np.ndarray) -> np.ndarray:
    """(M,) the root of the area of the box around the keypoints (M, K, 3), in pixels."""
    boxes = keypoint_boxes(keypoints, 1.0)
    return np.sqrt(boxes[:, 2] * boxes[:, 3])


def measured_sigmas(
    images: Sequence[np.ndarray], areas: Sequence[np.ndarray]
) -> tuple[float, ...] | None:
    """OKS constants from instances that were labelled twice, as COCO's were measured.

    images: keypoints (n, K, 3) of each image. areas: (n,) of its instances, in squared pixels.
    Two labels of an image belong to one instance if their keypoints differ by less than a tenth of
    its size, in the median. The constant of a type is the root of the mean of d² / 2s², where d is
    the distance of the two labels and s² the area.

    Returns K constants, or None unless every type was labelled twice in 20 instances.
    """
    squares: list[np.ndarray] = []
    for keypoints, area in zip(images, areas, strict=True):
        for a, b in repeated_labels(keypoints):
            both = (keypoints[[a, b], :, 2] > 0).all(0)
            d2 = ((keypoints[a, :, :2] - keypoints[b, :, :2]) ** 2).sum(1)
            squares.append(np.where(both, d2 / (2 * max(float(area[a]), 1.0)), np.nan))
    if not squares:
        return None
    every = np.array(squares)
    if (np.isfinite(every).sum(0) < _REPEATED).any():
        return None
    sigmas = np.sqrt(np.nanmean(every, axis=0))
    return tuple(float(np.clip(round(sigma, 3), 0.01, 0.5)) for sigma in sigmas)


def repeated_labels(keypoints: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (a, b), a < b, of the instances (n, K, 3) of an image that are labels of one instance.

    Two instances are one if the median distance of the keypoints that both have, at least two, is
    below a tenth of the smaller one's size.
    """
    sizes = instance_sizes(keypoints)
    found = []
    for a, b in combinations(range(len(keypoints)), 2):
        both = (keypoints[[a, b], :, 2] > 0).all(0)
        if both.sum() < 2:
            continue
        steps = keypoints[a, both, :2] - keypoints[b, both, :2]
        if np.median(np.linalg.norm(steps, axis=1)) < 0.1 * min(sizes[a], sizes[b]):
            found.append((a, b))
    return found
