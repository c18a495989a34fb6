"""The compiled loops behind corner pairs."""

from __future__ import annotations

import numpy as np

from tagwise._kernels import BLOCK, _insert, _is_peak, compiled


@compiled()
def best_peaks(maps, maxima, blocks, radius, threshold, top_k):
    """The best peaks of maps (C, H, W) float32 together.

    maxima: as `tagwise._kernels.block_maxima`; blocks: (N,) flat indices into it, largest first.
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
                if value > floor and _is_peak(heatmap, y, x, radius):
                    count = _insert(scores, cells, count, value, c * size + y * width + x)
                    if count == top_k:
                        floor = max(floor, scores[top_k - 1])
    return cells[:count]


@compiled()
def candidate_pairs(xy, classes, tags, middle, limit):
    """Pairs of one class, bottom-right corner right of and below the top-left, of like tags.

    xy (P, 2), classes (P,), tags (P, D): top-left corners up to `middle`, then bottom-right ones;
    limit: the largest tag distance. Returns both corners of each pair (E, 2) int64, ordered by
    top-left corner, and the squared tag distances (E,) float32.
    """
    first, second, distance = [0][:0], [0][:0], [np.float32(0)][:0]
    for i in range(middle):
        for j in range(middle, len(classes)):
            if classes[i] != classes[j] or not (xy[j, 0] >= xy[i, 0] and xy[j, 1] >= xy[i, 1]):
                continue
            total = np.float32(0)
            for d in range(tags.shape[1]):
                total += (tags[i, d] - tags[j, d]) ** 2
            if total <= limit * limit:
                first.append(i)
                second.append(j)
                distance.append(total)
    pairs = np.empty((len(first), 2), np.int64)
    squares = np.empty(len(first), np.float32)
    for e in range(len(first)):
        pairs[e, 0], pairs[e, 1], squares[e] = first[e], second[e], distance[e]
    return pairs, squares
