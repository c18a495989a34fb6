"""Decoding of boxes from corner maps: the two corners of one object have similar tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tagwise.geometry import to_xywh
from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.inputs import read_map
from tagwise.grouping.kernels import corners as kernels
from tagwise.grouping.maps import Maps, as_array
from tagwise.grouping.rows import Rows
from tagwise.grouping.settings import CornerSettings
from tagwise.grouping.suppression import soft_nms


@dataclass(frozen=True)
class CornerBoxes(Rows):
    """The boxes of one image, best first.

    boxes: (N, 4) float32, x1, y1, x2, y2 in cells; integers are the edges of cells.
    scores: (N,) float32 in [0, 1].
    classes: (N,) int64.
    corner_scores: (N, 2) float32, the heatmap values of the top-left and bottom-right corners.
    tags: (N, 2, D) float32.
    corners: (N, 2) int64, the indices of the box's corners among the corners of the image.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    corner_scores: np.ndarray
    tags: np.ndarray
    corners: np.ndarray


def decode_corners(
    tl_heat: Maps,
    br_heat: Maps,
    tl_tag: Maps,
    br_tag: Maps,
    tl_off: Maps | None = None,
    br_off: Maps | None = None,
    centre_heat: Maps | None = None,
    settings: CornerSettings | None = None,
) -> list[CornerBoxes]:
    """Decode the boxes of every object of every image from the maps of a network.

    tl_heat, br_heat: (B, C, H, W), tensors of any float type and device, or arrays, in [0, 1].
    tl_tag, br_tag: (B, D, H, W).
    tl_off, br_off: (B, 2, H, W), x and y of the corner within its cell, in cells; None: 0.
    centre_heat: (B, C, H, W) in [0, 1], the heatmaps of object centres, if the network has them.

    Raises ValueError for shapes that do not match.

    >>> import torch
    >>> tl, br, tag = torch.zeros(3, 1, 1, 8, 8)
    >>> tl[0, 0, 1, 2] = br[0, 0, 6, 5] = 0.9
    >>> decode_corners(tl, br, tag, tag)[0].boxes.tolist()
    [[2.0, 1.0, 5.0, 6.0]]
    """
    if centre_heat is not None:
        centre_heat = read_map("centre_heat", centre_heat, "BCHW")
        tl_heat = read_map("tl_heat", tl_heat, "BCHW")
        if centre_heat.shape != tl_heat.shape:
            raise ValueError(
                f"centre_heat is {tuple(centre_heat.shape)}, not the shape of tl_heat, "
                f"{tuple(tl_heat.shape)}"
            )
    settings = settings or CornerSettings()
    peaks = find_corners(tl_heat, br_heat, tl_tag, br_tag, tl_off, br_off, settings)
    return pair_corners(peaks, settings, centre_heat)


def pair_corners(
    peaks: CornerPeaks, settings: CornerSettings | None = None, centre_heat: Maps | None = None
) -> list[CornerBoxes]:
    """Pair corners into boxes by their tags, for each image, best first.

    A top-left and a bottom-right corner can be a pair if they have the same class, if the second is
    to the right of and below the first, and if their tags are near. The centre score of a pair is
    the largest value of centre_heat, for its class, in the middle of its box. With settings.pairing
    "all", every such pair becomes a box. Its score is the mean of the corners' scores (Law and Deng
    2018, section 4.1) and of the centre score, if there is one (Duan et al. 2019, "CenterNet:
    Keypoint Triplets", section 3.2).

    With "one_to_one", no corner is used twice. Each pair has a weight, the product of

        - the odds s / (1 - s) of the scores of both corners and of the centre, and a constant below
          1, because few candidates are pairs,
        - the likelihood ratio of their tag distance between one object, where each component
          differs normally with tag_spread, and two objects, where it is uniform up to
          tag_threshold,
        - the likelihood ratio of the size of their box between the boxes of this class in this
          image and chance, to the power size_weight. The spread and the sizes are fitted to the
          image.

    The share of a pair is the weight of all one-to-one pairings that contain it, divided by the
    weight of all pairings. The boxes are the pairing with the largest sum of shares, which is
    the expected number of correct pairs. The score of a box is the geometric mean of its corners'
    scores times share^share_power. With a centre, that value to the power 1 - centre_weight is
    multiplied by the centre score to the power centre_weight.
    """
    settings = settings or CornerSettings()
    pair = _one_to_one if settings.pairing == "one_to_one" else _all_pairs
    out = []
    for image in range(len(peaks.starts)):
        part = peaks.image(image)
        corners = kernels.Corners(part.xy, part.classes, part.tags, part.starts[0, 1])
        pairs, squares = kernels.candidate_pairs(
            corners, settings.tag_threshold, settings.tag_growth, settings.min_side
        )
        centre = np.empty((len(pairs), 0), np.float32)
        if centre_heat is not None:
            centre = kernels.centre_scores(
                as_array(centre_heat[image]),
                part.xy[pairs].reshape(-1, 4),
                part.classes[pairs[:, 0]],
                settings.centre_part,
            )[:, None]
        boxes = boxes_of(part, *pair(part, pairs, squares, centre, settings))
        out.append(_best(boxes, settings))
    return out


def _all_pairs(peaks: CornerPeaks, pairs, squares, centre, settings):
    return pairs, np.hstack([peaks.scores[pairs], centre]).mean(axis=1)


def _one_to_one(peaks: CornerPeaks, pairs, squares, centre, settings):
    if not len(pairs):
        return pairs, np.zeros(0, np.float32)
    certain = np.clip(np.hstack([peaks.scores[pairs], centre]), 0.01, 0.99).astype(np.float64)
    evidence = kernels.PairEvidence(
        corners=pairs,
        squares=squares,
        sides=peaks.xy[pairs[:, 1]] - peaks.xy[pairs[:, 0]],
        classes=peaks.classes[pairs[:, 0]],
        odds=np.log(certain / (1 - certain)).sum(axis=1),
    )
    rules = kernels.PairRules(
        dimension=peaks.tags.shape[1],
        threshold=settings.tag_threshold,
        spread=settings.tag_spread,
        size_weight=settings.size_weight,
    )
    share = kernels.shares(evidence, rules)
    kept = _best_pairing(pairs[:, 0], pairs[:, 1] - peaks.starts[0, 1], share)
    scores = np.sqrt(peaks.scores[pairs[kept]].prod(axis=1)) * share[kept] ** settings.share_power
    if centre.shape[1]:
        weight = settings.centre_weight
        scores = scores ** (1 - weight) * centre[kept, 0] ** weight
    return pairs[kept], scores


def _best_pairing(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Choose the pairs with the largest sum of shares such that no corner is used twice."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((1 + first.max(), 1 + second.max()))
    table[first, second] = share
    number = np.full(table.shape, -1)
    number[first, second] = np.arange(len(share))
    chosen = number[linear_sum_assignment(table, maximize=True)]
    return chosen[chosen >= 0]


def boxes_of(peaks: CornerPeaks, pairs: np.ndarray, scores: np.ndarray) -> CornerBoxes:
    """Create the boxes of one image from pairs (N, 2) of its corners with scores (N,)."""
    return CornerBoxes(
        peaks.xy[pairs].reshape(-1, 4),
        scores.astype(np.float32),
        peaks.classes[pairs[:, 0]],
        peaks.scores[pairs],
        peaks.tags[pairs],
        pairs,
    )


def _best(boxes: CornerBoxes, settings: CornerSettings) -> CornerBoxes:
    """Sort boxes best first; remove duplicates, low scores and those beyond max_boxes."""
    if settings.suppression == "none":
        index = np.argsort(-boxes.scores, kind="stable")
        scores = boxes.scores[index]
    else:
        index, scores = soft_nms(
            boxes.boxes,
            boxes.scores,
            boxes.classes,
            settings.suppression,
            settings.overlap,
            settings.overlap_sigma,
        )
    good = scores >= settings.box_threshold
    boxes = replace(boxes.take(index[good]), scores=scores[good])
    return boxes.take(slice(settings.max_boxes))


def pair_by_truth(
    peaks: CornerPeaks,
    boxes: Sequence[np.ndarray],
    classes: Sequence[np.ndarray],
    reach: float = 0.2,
    least: float = 1.5,
) -> list[CornerBoxes]:
    """The result of perfect pairing: each true corner takes its nearest peak.

    For diagnosis: this separates errors of the tags from errors of the heatmaps.

    boxes: for each image (N, 4), x1, y1, x2, y2 in cells; classes: for each image (N,).
    reach: the largest distance of a peak, as a share of the square root of the box's area, but at
        least `least` cells. At .2, a square whose corners are both that far inwards has an
        intersection over union of .5. Each peak is used for one box, which needs both corners.
    """
    from scipy.optimize import linear_sum_assignment

    out = []
    for image, (truth, names) in enumerate(zip(boxes, classes)):
        corners = peaks.image(image)
        middle = corners.starts[0, 1]
        truth = np.asarray(truth, np.float64).reshape(-1, 4)
        size = np.sqrt(np.prod(np.maximum(to_xywh(truth)[:, 2:], 0), axis=1))
        limit = np.maximum(reach * size, least)
        pairs = np.full((len(truth), 2), -1)
        for corner, part in enumerate((slice(0, middle), slice(middle, len(corners)))):
            distance = np.linalg.norm(
                truth[:, None, 2 * corner : 2 * corner + 2] - corners.xy[None, part], axis=2
            )
            allowed = (distance <= limit[:, None]) & (
                np.asarray(names)[:, None] == corners.classes[None, part]
            )
            box, peak = linear_sum_assignment(np.where(allowed, distance, 1e6))
            kept = allowed[box, peak]
            pairs[box[kept], corner] = peak[kept] + part.start
        pairs = pairs[(pairs >= 0).all(axis=1)]
        paired = boxes_of(corners, pairs, np.sqrt(corners.scores[pairs].prod(axis=1)))
        out.append(paired.take(np.argsort(-paired.scores, kind="stable")))
    return out
