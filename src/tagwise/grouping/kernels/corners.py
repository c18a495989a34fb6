"""The compiled loops behind corner pairs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tagwise.grouping.kernels.peaks import BLOCK, insert, is_peak
from tagwise.runtime import compiled


@compiled()
def best_peaks(maps, maxima, blocks, radius, threshold, top_k):
    """The best peaks of maps (C, H, W) float32 together.

    maxima: as `block_maxima` of peaks gives them; blocks: (N,) flat indices into it, largest first.
    Only blocks are read that may still hold one of the best top_k. Returns (P,) int64 flat indices
    into the maps, best first.
    """
    _, height, width = maps.shape
    _, rows, columns = maxima.shape
    size = height * width
    scores, cells = np.empty(top_k, np.float32), np.empty(top_k, np.int64)
    floor, count = np.float32(threshold), 0
    for block in blocks:
        c, row, column = block // (rows * columns), block // columns % rows, block % columns
        if not maxima[c, row, column] > floor:
            break
        heatmap = maps[c]
        for y in range(row * BLOCK, min((row + 1) * BLOCK, height)):
            for x in range(column * BLOCK, min((column + 1) * BLOCK, width)):
                value = heatmap[y, x]
                if value > floor and is_peak(heatmap, y, x, radius):
                    count = insert(scores, cells, count, value, c * size + y * width + x)
                    if count == top_k:
                        floor = max(floor, scores[top_k - 1])
    return cells[:count]


class Corners(NamedTuple):
    """The corners of one image: xy (P, 2), classes (P,), tags (P, D).

    Top-left corners come first, up to number `middle`, then bottom-right ones.
    """

    xy: np.ndarray
    classes: np.ndarray
    tags: np.ndarray
    middle: int


@compiled()
def candidate_pairs(corners, threshold, growth, min_side):
    """Pairs of one class with similar tags, bottom-right corner right of and below the top-left.

    corners: Corners. threshold, growth: tag_threshold and tag_growth of `CornerSettings`. Returns
    both corners of each pair (E, 2) int64, ordered by top-left corner, and the squared tag
    distances (E,).
    """
    xy, classes, tags, middle = corners
    first, second, squares = [0][:0], [0][:0], [0.0][:0]
    for i in range(middle):
        for j in range(middle, len(classes)):
            width, height = xy[j, 0] - xy[i, 0], xy[j, 1] - xy[i, 1]
            if classes[i] != classes[j] or not (width >= min_side and height >= min_side):
                continue
            total = 0.0
            for d in range(tags.shape[1]):
                total += (tags[i, d] - tags[j, d]) ** 2
            if growth > 0:
                total /= (1.0 + growth * np.sqrt(width * height)) ** 2
            if total <= threshold**2:
                first.append(i)
                second.append(j)
                squares.append(total)
    pairs = np.empty((len(first), 2), np.int64)
    for e in range(len(first)):
        pairs[e, 0], pairs[e, 1] = first[e], second[e]
    return pairs, np.array(squares)


@compiled()
def centre_scores(heat, boxes, classes, part):
    """The largest value of heat (C, H, W) in the middle of each box, (E,) float32.

    boxes (E, 4) x1, y1, x2, y2 in cells, classes (E,); part: side of the middle, of the box's side.
    Of a small box, the cell is read in which its middle lies.
    """
    _, height, width = heat.shape
    out = np.zeros(len(boxes), np.float32)
    for e in range(len(boxes)):
        x0, x1 = _middle(boxes[e, 0], boxes[e, 2], part, width)
        y0, y1 = _middle(boxes[e, 1], boxes[e, 3], part, height)
        for y in range(y0, y1):
            for x in range(x0, x1):
                out[e] = max(out[e], heat[classes[e], y, x])
    return out


@compiled()
def _middle(low, high, part, size):
    """First cell of the middle of a span, and the one after its last, within a map's size."""
    middle, reach = (low + high) / 2, part * (high - low) / 2
    return max(math.floor(middle - reach), 0), min(math.floor(middle + reach) + 1, size)


# Next to weights beyond e^30 the share of others would be lost to rounding.
_LARGEST = 30.0
# Logarithm of the odds that corners are a pair, before tags and sizes are examined: few of those
# that could be a pair are one.
_PRIOR = -2.0
# The settings count as much as this many boxes: for the spread of tags, and for sizes.
_TAGS_PRESUMED, _SIZES_PRESUMED = 10.0, 4.0
# Variance of the root of a side below which no class of boxes is taken to be.
_SIZE_SLACK = 0.05
_ROUNDS, _STEPS = 6, 5


class PairEvidence(NamedTuple):
    """What is known of E pairs of corners.

    corners (E, 2) int64 and squares (E,), as `candidate_pairs` gives them; sides (E, 2), width and
    height in cells; classes (E,) from 0; odds (E,), the logarithm of the odds that the corners are
    real.
    """

    corners: np.ndarray
    squares: np.ndarray
    sides: np.ndarray
    classes: np.ndarray
    odds: np.ndarray


class PairRules(NamedTuple):
    """How pairs are weighed: the tag dimension, and fields of `CornerSettings`.

    threshold and spread stand for tag_threshold and tag_spread.
    """

    dimension: int
    threshold: float
    spread: float
    size_weight: float


@compiled()
def shares(pairs, rules):
    """The probability of each pair in a random one-to-one pairing, (E,).

    pairs: PairEvidence. rules: PairRules.

    A pairing's weight is the product of its pairs' weights; corners may stay alone, at weight 1.
    The probabilities come from belief propagation, damped, as Huang and Jebara 2009
    ("Approximating the permanent with belief propagation") have it for perfect pairings. Between
    its steps the spread of the tags and the usual size of boxes are fitted to the pairs by share.
    """
    count, corners, squares = len(pairs.corners), pairs.corners, pairs.squares
    share, weight, size = np.empty(count), np.empty(count), np.zeros(count)
    messages, totals = np.ones((2, count)), np.empty(1 + corners.max())
    variance = rules.spread**2
    for _ in range(_ROUNDS):
        near = _PRIOR + _nearness(rules.dimension, rules.threshold, variance)
        for e in range(count):
            evidence = pairs.odds[e] + near - squares[e] / (2 * variance) + size[e]
            weight[e] = np.exp(min(max(evidence, -_LARGEST), _LARGEST))
        for _ in range(_STEPS):
            _tell(corners[:, 0], weight, messages[1], messages[0], totals)
            _tell(corners[:, 1], weight, messages[0], messages[1], totals)
        seen, scatter = _TAGS_PRESUMED, _TAGS_PRESUMED * rules.spread**2
        for e in range(count):
            claim = weight[e] * messages[0, e] * messages[1, e]
            share[e] = claim / (1 + claim)
            seen += share[e]
            scatter += share[e] * squares[e] / rules.dimension
        variance = scatter / seen
        if rules.size_weight > 0:
            _size_evidence(pairs.sides, pairs.classes, share, rules.size_weight, size)
    return share


@compiled()
def _nearness(dimension, threshold, variance):
    """Logarithm of how much likelier equal tags are in one object than in two.

    The tags of one object differ normally, those of two evenly within the ball of the threshold.
    """
    ball = 0.5 * dimension * np.log(np.pi) - math.lgamma(0.5 * dimension + 1)
    ball += dimension * np.log(threshold)
    return ball - 0.5 * dimension * np.log(2 * np.pi * variance)


@compiled()
def _tell(corner, weight, heard, told, totals):
    """The message of a corner to each of its pairs: how free its other pairs leave it."""
    totals[:] = 1.0
    for e in range(len(corner)):
        totals[corner[e]] += weight[e] * heard[e]
    for e in range(len(corner)):
        free = 1.0 / max(totals[corner[e]] - weight[e] * heard[e], 1.0)
        told[e] = np.sqrt(told[e] * free)


@compiled()
def _size_evidence(sides, classes, share, size_weight, out):
    """Logarithm of how much likelier each pair's size is in a box than by chance, to out (E,).

    The roots of widths and heights are assumed normal within a class, with moments weighted by
    share; by chance a box would end anywhere. With few boxes, the evidence counts less.
    """
    roots = np.sqrt(sides)
    seen, pairs = np.zeros(1 + classes.max()), np.zeros(1 + classes.max())
    for e in range(len(sides)):
        seen[classes[e]] += share[e]
        pairs[classes[e]] += 1
    mean, scatter = np.zeros((len(seen), 2)), np.zeros((len(seen), 3))
    for e in range(len(sides)):
        c, x, y = classes[e], roots[e, 0], roots[e, 1]
        weight = (share[e] + _SIZES_PRESUMED / pairs[c]) / (seen[c] + _SIZES_PRESUMED)
        mean[c, 0] += weight * x
        mean[c, 1] += weight * y
        scatter[c, 0] += weight * x * x
        scatter[c, 1] += weight * y * y
        scatter[c, 2] += weight * x * y
    chance = np.log(max(sides[:, 0].max(), 1.0) * max(sides[:, 1].max(), 1.0))
    for e in range(len(sides)):
        c = classes[e]
        x, y = roots[e, 0] - mean[c, 0], roots[e, 1] - mean[c, 1]
        xx = scatter[c, 0] - mean[c, 0] ** 2 + _SIZE_SLACK
        yy = scatter[c, 1] - mean[c, 1] ** 2 + _SIZE_SLACK
        xy = scatter[c, 2] - mean[c, 0] * mean[c, 1]
        area = xx * yy - xy * xy
        density = -0.5 * (yy * x * x + xx * y * y - 2 * xy * x * y) / area
        density -= 0.5 * np.log(area) + np.log(2 * np.pi)
        # Of the sides themselves, not of their roots.
        density -= np.log(4 * max(roots[e, 0], 0.3) * max(roots[e, 1], 0.3))
        out[e] = size_weight * seen[c] / (seen[c] + _SIZES_PRESUMED) * (density + chance)
