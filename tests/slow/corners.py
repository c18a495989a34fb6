"""CornerNet's pooling, decoder and soft suppression, box by box."""

import math

import numpy as np


def pooled(plane, direction):
    """Each cell's largest value from itself to the edge: "top" looks down, "left" to the right."""
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
    """The best (score, class, y, x) of (C, h, w) heatmaps: no neighbour of the class is larger."""
    found = []
    for label, y, x in np.ndindex(*heat.shape):
        around = heat[label, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if heat[label, y, x] == around.max():
            found.append((heat[label, y, x], label, y, x))
    return sorted(found, reverse=True)[:most]


def decode(maps, most, reach, boxes):
    """Rows x1, y1, x2, y2, score, class of one image, best first, at most `boxes` of them.

    maps: tl_heat, br_heat (C, h, w) as probabilities, tl_tag, br_tag (1, h, w), tl_off, br_off
    (2, h, w). Every pair of one class whose tags are no further apart than `reach`, and whose
    second corner is neither left of the first nor above it, is a box; its score is the mean.
    """
    ends = {}
    for kind in ("tl", "br"):
        ends[kind] = []
        for score, label, y, x in corners(maps[f"{kind}_heat"], most):
            dx, dy = maps[f"{kind}_off"][:, y, x]
            ends[kind].append((score, label, x + dx, y + dy, maps[f"{kind}_tag"][0, y, x]))
    rows = []
    for score, label, x1, y1, tag in ends["tl"]:
        for other_score, other_label, x2, y2, other_tag in ends["br"]:
            alike = label == other_label and abs(tag - other_tag) <= reach
            if alike and x2 >= x1 and y2 >= y1:
                rows.append((x1, y1, x2, y2, (score + other_score) / 2, label))
    return np.array(sorted(rows, key=lambda row: -row[4])[:boxes]).reshape(-1, 6)


def overlap(a, b):
    """IoU of boxes whose x2 and y2 name their last pixel."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def soft_suppression(boxes, scores, method, limit=0.5, sigma=0.5, least=0.001):
    """(index, score) of one class in the order in which boxes are taken; the rest is dropped."""
    left = dict(enumerate(map(float, scores)))
    taken = []
    while left:
        best = max(left, key=left.get)
        taken.append((best, left.pop(best)))
        for n in list(left):
            shared = overlap(boxes[best], boxes[n])
            if shared > 0:
                if method == "exp":
                    left[n] *= math.exp(-shared * shared / sigma)
                elif shared > limit:
                    left[n] *= 1 - shared if method == "linear" else 0
                if left[n] < least:
                    del left[n]
    return taken
