"""CornerNet's pooling, decoder and soft suppression, box by box."""

import math

import numpy as np


def pooled(plane, direction):
    """The maximum from each cell to an edge: downwards for "top", to the right for "left"."""
    height, width = plane.shape
    out = np.empty_like(plane)
    for y in range(height):
        for x in range(width):
            part = {
                "top": plane[y:, x],
                "bottom": plane[: y + 1, x],
                "left": plane[y, x:],
                "right": plane[y, : x + 1],
            }[direction]
            out[y, x] = max(part)
    return out


def corners(heat, most):
    """The best local maxima (score, class, y, x) of heatmaps (C, h, w)."""
    peaks = []
    for label, y, x in np.ndindex(*heat.shape):
        around = heat[label, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if heat[label, y, x] == around.max():
            peaks.append((heat[label, y, x], label, y, x))
    return sorted(peaks, reverse=True)[:most]


def decode(maps, most, reach, boxes):
    """Decode one image to rows x1, y1, x2, y2, score, class, best first, at most `boxes` rows.

    maps: tl_heat, br_heat (C, h, w) as probabilities, tl_tag, br_tag (1, h, w), tl_off, br_off
    (2, h, w). Every pair of one class whose tags differ by at most `reach`, and whose second
    corner is not to the left of or above the first, is a box; its score is the mean.
    """
    ends = {}
    for corner in ("tl", "br"):
        ends[corner] = []
        for score, label, y, x in corners(maps[f"{corner}_heat"], most):
            dx, dy = maps[f"{corner}_off"][:, y, x]
            ends[corner].append((score, label, x + dx, y + dy, maps[f"{corner}_tag"][0, y, x]))
    rows = []
    for score, label, x1, y1, tag in ends["tl"]:
        for other_score, other_label, x2, y2, other_tag in ends["br"]:
            is_pair = label == other_label and abs(tag - other_tag) <= reach
            if is_pair and x2 >= x1 and y2 >= y1:
                rows.append((x1, y1, x2, y2, (score + other_score) / 2, label))
    return np.array(sorted(rows, key=lambda row: -row[4])[:boxes]).reshape(-1, 6)


def overlap(a, b):
    """The IoU of boxes whose x2 and y2 are the last pixel."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def soft_suppression(boxes, scores, method, limit=0.5, sigma=0.5, least=0.001):
    """The (index, score) of the kept boxes of one class, in the order of selection."""
    left = dict(enumerate(map(float, scores)))
    selected = []
    while left:
        best = max(left, key=left.get)
        selected.append((best, left.pop(best)))
        for n in list(left):
            shared = overlap(boxes[best], boxes[n])
            if shared > 0:
                if method == "exp":
                    left[n] *= math.exp(-shared * shared / sigma)
                elif shared > limit:
                    left[n] *= 1 - shared if method == "linear" else 0
                if left[n] < least:
                    del left[n]
    return selected
