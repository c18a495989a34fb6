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
    Reads only blocks that may contain one of the best top_k. Returns (P,) int64 flat indices
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
    """Pairs of one class with similar tags, the second corner to the right of and below the first.

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

    boxes (E, 4) x1, y1, x2, y2 in cells, classes (E,). part: the side of the middle as a share of
    the side of the box. For a small box, the cell that contains its centre is read.
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


@compiled(inline="always")
def _middle(low, high, part, size):
    """The first cell of the middle of a span and one past the last, limited to the map."""
    middle, reach = (low + high) / 2, part * (high - low) / 2
    return max(math.floor(middle - reach), 0), min(math.floor(middle + reach) + 1, size)


# Weights above e^30 would make the shares of other pairs vanish by rounding.
_LARGEST = 30.0
# Logarithm of the odds that two corners are a pair, before tags and sizes are considered: few
# candidates are pairs.
_PRIOR = -2.0
# The weight of the settings, in boxes: for the spread of tags, and for sizes.
_TAGS_PRESUMED, _SIZES_PRESUMED = 10.0, 4.0
# The least variance of the square root of a side that is assumed for a class.
_SIZE_SLACK = 0.05
_ROUNDS, _STEPS = 6, 5


class PairEvidence(NamedTuple):
    """The evidence for E pairs of corners.

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

    The weight of a pairing is the product of the weights of its pairs; an unpaired corner has
    weight 1. The probabilities are computed by damped belief propagation, as in Huang and Jebara
    2009 ("Approximating the permanent with belief propagation") for perfect pairings. Between its
    steps, the spread of the tags and the distribution of box sizes are fitted to the pairs,
    weighted by their shares.
    """
    count, corners, squares = len(pairs.corners), pairs.corners, pairs.squares
    number = 0
    for e in range(count):
        number = max(number, corners[e, 0] + 1, corners[e, 1] + 1)
    share, weight, size = np.empty(count), np.empty(count), np.zeros(count)
    sent, back = np.ones(count), np.ones(count)  # messages from the first and second corners
    totals = np.empty(number)
    variance = rules.spread**2
    for _ in range(_ROUNDS):
        near = _PRIOR + _nearness(rules.dimension, rules.threshold, variance)
        for e in range(count):
            evidence = pairs.odds[e] + near - squares[e] / (2 * variance) + size[e]
            weight[e] = np.exp(min(max(evidence, -_LARGEST), _LARGEST))
        for _ in range(_STEPS):
            _send(corners[:, 0], weight, back, sent, totals)
            _send(corners[:, 1], weight, sent, back, totals)
        total, scatter = _TAGS_PRESUMED, _TAGS_PRESUMED * rules.spread**2
        for e in range(count):
            belief = weight[e] * sent[e] * back[e]
            share[e] = belief / (1 + belief)
            total += share[e]
            scatter += share[e] * squares[e] / rules.dimension
        variance = scatter / total
        if rules.size_weight > 0:
            _size_evidence(pairs.sides, pairs.classes, share, rules.size_weight, size)
    return share


@compiled(inline="always")
def _nearness(dimension, threshold, variance):
    """Log likelihood ratio of equal tags: one object against two objects.

    Tag differences are assumed to be normal within an object, and uniform in the ball of the
    threshold between two objects.
    """
    ball = 0.5 * dimension * np.log(np.pi) - math.lgamma(0.5 * dimension + 1)
    ball += dimension * np.log(threshold)
    return ball - 0.5 * dimension * np.log(2 * np.pi * variance)


@compiled(inline="always")
def _send(corner, weight, incoming, outgoing, totals):
    """Update the message from each corner to its pairs: the probability that it is not taken.

    "Taken" means that another of its pairs is in the pairing. The messages are damped.
    """
    for c in range(len(totals)):
        totals[c] = 1.0
    for e in range(len(corner)):
        totals[corner[e]] += weight[e] * incoming[e]
    for e in range(len(corner)):
        free = 1.0 / max(totals[corner[e]] - weight[e] * incoming[e], 1.0)
        outgoing[e] = np.sqrt(outgoing[e] * free)


@compiled(inline="always")
def _size_evidence(sides, classes, share, size_weight, out):
    """Write the log likelihood ratio of each pair's size, a box against chance, to out (E,).

    The square roots of widths and heights are assumed to be normal within a class, with moments
    weighted by share; a chance pair ends anywhere with equal probability. With few boxes, the
    evidence has less weight.
    """
    number, width, height = 0, 1.0, 1.0
    roots = np.empty((len(sides), 2), sides.dtype)
    for e in range(len(sides)):
        number = max(number, classes[e] + 1)
        width, height = max(width, sides[e, 0]), max(height, sides[e, 1])
        roots[e, 0], roots[e, 1] = np.sqrt(sides[e, 0]), np.sqrt(sides[e, 1])
    totals, pairs = np.zeros(number), np.zeros(number)
    for e in range(len(sides)):
        totals[classes[e]] += share[e]
        pairs[classes[e]] += 1
    mean, scatter = np.zeros((len(totals), 2)), np.zeros((len(totals), 3))
    for e in range(len(sides)):
        c, x, y = classes[e], roots[e, 0], roots[e, 1]
        weight = (share[e] + _SIZES_PRESUMED / pairs[c]) / (totals[c] + _SIZES_PRESUMED)
        mean[c, 0] += weight * x
        mean[c, 1] += weight * y
        scatter[c, 0] += weight * x * x
        scatter[c, 1] += weight * y * y
        scatter[c, 2] += weight * x * y
    chance = np.log(width * height)
    for e in range(len(sides)):
        c = classes[e]
        x, y = roots[e, 0] - mean[c, 0], roots[e, 1] - mean[c, 1]
        xx = scatter[c, 0] - mean[c, 0] ** 2 + _SIZE_SLACK
        yy = scatter[c, 1] - mean[c, 1] ** 2 + _SIZE_SLACK
        xy = scatter[c, 2] - mean[c, 0] * mean[c, 1]
        area = xx * yy - xy * xy
        density = -0.5 * (yy * x * x + xx * y * y - 2 * xy * x * y) / area
        density -= 0.5 * np.log(area) + np.log(2 * np.pi)
        # Convert the density of the square roots to that of the sides.
        density -= np.log(4 * max(roots[e, 0], 0.3) * max(roots[e, 1], 0.3))
        out[e] = size_weight * totals[c] / (totals[c] + _SIZES_PRESUMED) * (density + chance)
