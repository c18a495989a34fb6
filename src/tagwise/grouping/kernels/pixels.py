"""The compiled loops that turn the tags of pixels into a label map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tagwise.runtime import compiled


@compiled()
def grow(tags, inside, ranked, bandwidth):
    """Grow regions from seeds over neighbouring pixels with similar tags.

    tags: (D, H, W) float32. inside: (H, W) bool, the pixels that may belong to a region.
    ranked: (M,) int64, flat indices of the seed pixels, best first; pixels that already belong to a
        region are skipped. bandwidth: the largest distance of a pixel's tag from the mean of the
        similar tags around the seed.
    Returns labels (H, W) int32, numbered from 1 in the order of their seeds, and their number.
    """
    dims, height, width = tags.shape
    labels = np.zeros((height, width), np.int32)
    stack, centre = np.empty(height * width, np.int64), np.empty(dims, np.float32)
    count, limit = 0, bandwidth * bandwidth
    for start in ranked:
        y, x = start // width, start % width
        if not inside[y, x] or labels[y, x]:
            continue
        _mean_around(tags, inside, labels, y, x, limit, centre)
        count += 1
        labels[y, x] = count
        stack[0], top = start, 1
        while top:
            top -= 1
            y, x = stack[top] // width, stack[top] % width
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if not (0 <= v < height and 0 <= u < width):
                    continue
                if inside[v, u] and not labels[v, u] and _square(tags, v, u, centre) <= limit:
                    labels[v, u] = count
                    stack[top] = v * width + u
                    top += 1
    return labels, count


@compiled(inline="always")
def _mean_around(tags, inside, labels, y, x, limit, out):
    """Write the mean tag of a pixel and those of its eight free neighbours with similar tags."""
    dims, height, width = tags.shape
    for d in range(dims):
        out[d] = 0
    count = 0
    for v in range(max(y - 1, 0), min(y + 2, height)):
        for u in range(max(x - 1, 0), min(x + 2, width)):
            if not inside[v, u] or labels[v, u]:
                continue
            square = 0.0
            for d in range(dims):
                square += (tags[d, v, u] - tags[d, y, x]) ** 2
            if square <= limit:
                count += 1
                for d in range(dims):
                    out[d] += tags[d, v, u]
    for d in range(dims):
        out[d] /= count


@compiled(inline="always")
def _square(tags, y, x, centre):
    total = np.float32(0)
    for d in range(len(centre)):
        total += (tags[d, y, x] - centre[d]) ** 2
    return total


@compiled()
def region_means(tags, labels, count):
    """Mean tag (N, D) float32 and number of pixels (N,) int64 of regions 1 to N."""
    dims, height, width = tags.shape
    means, rounded = np.zeros((count, dims)), np.empty((count, dims), np.float32)
    sizes = np.zeros(count, np.int64)
    for y in range(height):
        for x in range(width):
            n = labels[y, x] - 1
            if n >= 0:
                sizes[n] += 1
                for d in range(dims):
                    means[n, d] += tags[d, y, x]
    for n in range(count):
        for d in range(dims):
            rounded[n, d] = means[n, d] / max(sizes[n], 1)
    return rounded, sizes


@compiled()
def join_similar(labels, means, sizes, bandwidth):
    """Merge neighbouring regions whose mean tags are within the bandwidth, in place.

    The order of merging has little effect, because all merged regions have similar tags.
    """
    height, width = labels.shape
    parent = np.arange(len(sizes))
    for y in range(height):
        for x in range(width):
            for v, u in ((y + 1, x), (y, x + 1)):
                if v >= height or u >= width:
                    continue
                a, b = labels[y, x] - 1, labels[v, u] - 1
                if a >= 0 and b >= 0 and a != b:
                    a, b = _root(parent, a), _root(parent, b)
                    if a != b and _gap(means, a, b) <= bandwidth * bandwidth:
                        low, high = min(a, b), max(a, b)
                        share = sizes[high] / (sizes[low] + sizes[high])
                        for d in range(means.shape[1]):
                            means[low, d] += (means[high, d] - means[low, d]) * share
                        sizes[low] += sizes[high]
                        parent[high] = low
    for y in range(height):
        for x in range(width):
            if labels[y, x]:
                labels[y, x] = _root(parent, labels[y, x] - 1) + 1


@compiled(inline="always")
def _root(parent, n):
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@compiled(inline="always")
def _gap(means, a, b):
    total = 0.0
    for d in range(means.shape[1]):
        total += (means[a, d] - means[b, d]) ** 2
    return total


@compiled()
def spread(tags, inside, labels, means):
    """Assign pixels without a region to a neighbouring region, ring by ring outwards, in place.

    Of several regions, the one whose mean tag is nearest is chosen. labels: (H, W) int32.
    """
    height, width = labels.shape
    queue, first, last = np.empty(height * width, np.int64), 0, 0
    queued = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            if inside[y, x] and not labels[y, x] and _nearest(tags, labels, means, y, x):
                queue[last], queued[y, x] = y * width + x, True
                last += 1
    while first < last:
        y, x = queue[first] // width, queue[first] % width
        first += 1
        labels[y, x] = _nearest(tags, labels, means, y, x)
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= v < height and 0 <= u < width):
                continue
            if inside[v, u] and not labels[v, u] and not queued[v, u]:
                queue[last], queued[v, u] = v * width + u, True
                last += 1


@compiled(inline="always")
def _nearest(tags, labels, means, y, x):
    """The label of the neighbouring region, of four, whose mean tag is nearest; 0 if none."""
    height, width = labels.shape
    best, least = 0, np.inf
    for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        if 0 <= v < height and 0 <= u < width and labels[v, u] > 0:
            square = _square(tags, y, x, means[labels[v, u] - 1])
            if square < least:
                best, least = labels[v, u], square
    return best


class _Spot(NamedTuple):
    """A position between four cells: their rows and columns, and the distance from the first."""

    top: int
    bottom: int
    left: int
    right: int
    down: float
    across: float


@compiled()
def paint(cells, foreground, tags, means, to_cells, size, threshold):
    """Compute the label map of an image from the instances of the cells.

    cells: (h, w) int32. foreground: (h, w). tags: (D, h, w). means: (N, D). to_cells: (2, 3), from
    pixels to cells. size: (width, height) in pixels. Returns (height, width) int32.
    A pixel is in the foreground if the interpolated foreground is above the threshold. It
    belongs to the instance of the cells around it whose mean tag is nearest to the pixel's tag.
    """
    width, height = size
    labels = np.zeros((height, width), np.int32)
    rows, columns = cells.shape
    tag = np.empty(len(tags), np.float32)
    for y in range(height):
        v = min(max(to_cells[1, 1] * y + to_cells[1, 2], 0.0), rows - 1.0)
        top, down = int(v), np.float32(v - int(v))
        bottom = top + 1 if down > 0 else top
        for x in range(width):
            u = min(max(to_cells[0, 0] * x + to_cells[0, 2], 0.0), columns - 1.0)
            left, across = int(u), np.float32(u - int(u))
            right = left + 1 if across > 0 else left
            spot = _Spot(top, bottom, left, right, down, across)
            if _between(foreground, spot) <= threshold:
                continue
            around = (cells[top, left], cells[top, right], cells[bottom, left])
            best = cells[bottom, right]
            mixed = False
            for label in around:
                mixed |= label > 0 and best > 0 and label != best
                best = max(best, label)
            if mixed:
                for d in range(len(tags)):
                    tag[d] = _between(tags[d], spot)
                least = np.inf
                for label in (*around, cells[bottom, right]):
                    if label > 0:
                        square = 0.0
                        for d in range(len(tag)):
                            square += (tag[d] - means[label - 1, d]) ** 2
                        if square < least:
                            best, least = label, square
            labels[y, x] = best
    return labels


@compiled(inline="always")
def _between(values, spot):
    """Interpolate bilinearly."""
    top, bottom, left, right, down, across = spot
    above = values[top, left] + (values[top, right] - values[top, left]) * across
    below = values[bottom, left] + (values[bottom, right] - values[bottom, left]) * across
    return above + (below - above) * down


@compiled()
def fill_holes(labels, holes, count):
    """Fill each hole that a single region surrounds with the label of the region, in place.

    labels: (H, W) int32. holes: (H, W) int32, the connected parts without a label, numbered from 1;
    0 elsewhere. count: the number of holes. A part at the edge of the image is not a hole.
    """
    height, width = labels.shape
    around = np.zeros(count + 1, np.int32)  # the region around each hole, -1 for several
    for y in range(height):
        for x in range(width):
            hole = holes[y, x]
            if not hole:
                continue
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if not (0 <= v < height and 0 <= u < width):
                    around[hole] = -1
                elif labels[v, u] and around[hole] == 0:
                    around[hole] = labels[v, u]
                elif labels[v, u] and labels[v, u] != around[hole]:
                    around[hole] = -1
    for y in range(height):
        for x in range(width):
            if around[holes[y, x]] > 0 and holes[y, x]:
                labels[y, x] = around[holes[y, x]]
