"""The demo of Open Model Zoo's EfficientHRNets, in plain loops, from what its code says.

demos/common/python/openvino/model_zoo/model_api/models/hpe_associative_embedding.py
"""

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from slow.poses import COCO_ORDER

# ---------------------------------------------------------------------- photos


def input_size(photo, short, divisor=32):
    """(width, height) for a (width, height) photo: the shorter side, the other in proportion."""
    ratio = photo[0] / photo[1]
    sides = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
    return tuple(-(-side // divisor) * divisor for side in sides)


def fitted(image, size):
    """A photo (h, w, 3) at the top left of black (H, W, 3), and its width and height there."""
    height, width = image.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    small = cv2.resize(image, None, fx=factor, fy=factor)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas, small.shape[1::-1]


def to_photo(points, photo, inner, stride=2):
    """Points (..., 2) in cells as pixels of a (width, height) photo."""
    return points * stride * np.array(photo) / np.array(inner)


# ---------------------------------------------------------------------- people


def shift(heatmap, x, y):
    """A quarter cell uphill; not in the first two and the last row and column."""
    height, width = heatmap.shape
    if not (1 < x < width - 1 and 1 < y < height - 1):
        return x, y
    across = np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    down = np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return x + across / 4, y + down / 4


def match(signed, tags, order, near_first=True):
    """People as dicts from type to cell, and their tags, in the order of their first keypoints."""
    people = []
    for kind in order:
        cells = [(x, y) for y, x in zip(*np.nonzero(signed[kind] > 0.1))]
        cells = sorted(cells, key=lambda cell: -signed[kind][cell[1], cell[0]])[:30]
        if not cells:
            continue
        own = np.array([tags[kind, y, x] for x, y in cells], float)
        pairs = {}
        if people:
            means = np.array([np.mean(list(person[1].values())) for person in people])
            away = np.abs(own[:, None] - means)
            cost = away.copy()
            if near_first:
                centres = np.array([np.mean(list(p[0].values()), axis=0) for p in people])
                far = np.linalg.norm(np.array(cells)[:, None] - centres, axis=2)
                far = far / (far.min(axis=0) + 1e-10)
                cost[away < 1] *= far[away < 1]
            scores = np.array([signed[kind][y, x] for x, y in cells])
            cost = np.round(cost) * 100 - scores[:, None]
            more = max(0, len(cells) - len(people))
            cost = np.pad(cost, ((0, 0), (0, more)), constant_values=1e10)
            pairs = dict(zip(*linear_sum_assignment(cost)))
        for p, cell in enumerate(cells):
            n = pairs.get(p, len(people))
            if n < len(away[0] if pairs else ()) and away[p, n] < 1:
                person = people[n]
            else:
                people.append(person := ({}, {}))
            person[0][kind], person[1][kind] = cell, own[p]
    return people


def decode(signed, tags, order=COCO_ORDER, refine=True, near_first=True):
    """People (N, K, 3) x, y in cells and score, and their scores (N,).

    signed: (K, H, W), heatmaps in which all cells but the peaks are negated. tags: (K, H, W).
    """
    people = match(signed, tags, order, near_first)
    heatmaps = np.abs(signed)
    out, scores = np.zeros((len(people), len(signed), 3)), np.zeros(len(people))
    for n, (cells, own) in enumerate(people):
        for k, (x, y) in cells.items():
            out[n, k] = *shift(heatmaps[k], x, y), heatmaps[k, y, x]
        scores[n] = out[n, :, 2].mean()
        for k in set(range(len(signed))) - set(cells) if refine else ():
            away = np.floor(np.abs(tags[k] - np.mean(list(own.values()))) + 0.5)
            y, x = np.unravel_index(np.argmin(away - heatmaps[k]), away.shape)
            if heatmaps[k, y, x] > 0:
                out[n, k] = *shift(heatmaps[k], x, y), heatmaps[k, y, x]
    return out, scores


def negated(heatmaps, window=5):
    """(K, H, W) in which cells that are not the largest of their window are negated."""
    reach, out = window // 2, heatmaps.copy()
    for k, y, x in np.ndindex(*heatmaps.shape):
        around = heatmaps[k, max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
        if heatmaps[k, y, x] < around.max():
            out[k, y, x] = -heatmaps[k, y, x]
    return out
