"""Training targets of the published code, cell by cell."""

import math

import numpy as np


def pose_heatmaps(keypoints, size, sigma):
    """Heatmaps (K, h, w) of people (N, K, 3) in cells, as in HigherHRNet and pose-ae.

    A keypoint is in the cell int(x), int(y), rounded towards zero. The Gaussian of integer sigma
    extends 3 sigma + 1 cells; of several Gaussians the largest value is used.
    """
    height, width = size
    maps = np.zeros((keypoints.shape[1], height, width))
    for k, y, x in (place for person in pose_places(keypoints, size) for place in person):
        for v in range(height):
            for u in range(width):
                if abs(u - x) <= 3 * sigma + 1 and abs(v - y) <= 3 * sigma + 1:
                    value = math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))
                    maps[k, v, u] = max(maps[k, v, u], value)
    return maps


def pose_places(keypoints, size):
    """For every person, the (type, y, x) of the keypoints that are visible and inside the map."""
    people = []
    for person in keypoints:
        people.append([])
        for k, (x, y, visibility) in enumerate(person):
            x, y = math.trunc(x), math.trunc(y)
            if visibility > 0 and 0 <= x < size[1] and 0 <= y < size[0]:
                people[-1].append((k, y, x))
    return people


def _overlap_when_moved(height, width, by):
    """IoUs of a box with itself shifted along the diagonal, shrunk and enlarged.

    by: the shift of each corner. Sides are at least 0.
    """
    whole = height * width
    shared = max(height - by, 0) * max(width - by, 0)
    inner = max(height - 2 * by, 0) * max(width - 2 * by, 0)
    outer = (height + 2 * by) * (width + 2 * by)
    return shared / (2 * whole - shared), inner / whole, whole / outer


def corner_radius(height, width, least):
    """The shift of corners at which one of the three overlaps falls below `least`, by bisection."""
    low, high = 0.0, float(height + width)
    for _ in range(200):
        middle = (low + high) / 2
        if min(_overlap_when_moved(height, width, middle)) >= least:
            low = middle
        else:
            high = middle
    return low


def legacy_corner_radius(height, width, least):
    """Like `corner_radius`, with the mistake of the first public code: the larger root, halved."""
    roots = []
    for a, b, c in (
        (1, height + width, width * height * (1 - least) / (1 + least)),
        (4, 2 * (height + width), (1 - least) * width * height),
        (4 * least, -2 * least * (height + width), (least - 1) * width * height),
    ):
        roots.append((b + math.sqrt(b * b - 4 * a * c)) / 2)
    return min(roots)


def corner_heatmaps(cells, classes, sizes, count, shape, least, legacy=False):
    """CornerNet's heatmaps (C, h, w) of one corner of boxes: Gaussians in squares of their radius.

    cells: (N, 2) x, y. sizes: (N, 2) width, height in cells, rounded up for the radius.
    """
    maps = np.zeros((count, *shape))
    for (x, y), label, (width, height) in zip(cells, classes, sizes):
        formula = legacy_corner_radius if legacy else corner_radius
        radius = int(formula(math.ceil(height), math.ceil(width), least))
        sigma = (2 * radius + 1) / 6
        for v in range(max(y - radius, 0), min(y + radius + 1, shape[0])):
            for u in range(max(x - radius, 0), min(x + radius + 1, shape[1])):
                value = math.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * sigma**2))
                maps[label, v, u] = max(maps[label, v, u], value)
    return maps
