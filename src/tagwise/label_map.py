"""Label maps: images whose values say which instance each pixel belongs to."""

from __future__ import annotations

import numpy as np

from tagwise._kernels import compiled


def label_map_instances(
    labels: np.ndarray, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The tight boxes and the areas of a label map's instances.

    labels: (H, W) of any integer type; 0, like any negative value, is background and n + 1 is
        instance n. count: N; None takes the greatest label.
    Returns boxes (N, 4) float32, x, y, width, height in pixels from the image's edge, and areas
    (N,) float32 in pixels. An instance without a pixel has a box of zeros and area 0; labels
    above N are left out.

    >>> boxes, areas = label_map_instances(np.array([[0, 2, 2], [0, 0, 2]]))
    >>> boxes.tolist(), areas.tolist()
    ([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, 2.0]], [0.0, 3.0])
    """
    if count is None:
        count = max(int(labels.max(initial=0)), 0)
    extents, areas = _extents(labels, count)
    low, high = extents[:, :2], extents[:, 2:]
    return np.concatenate([low, high - low], 1).astype(np.float32), areas.astype(np.float32)


@compiled()
def _extents(labels, count):
    """Left, top, right and bottom edges (N, 4), and numbers of pixels (N,), int64."""
    height, width = labels.shape
    extents, areas = np.zeros((count, 4), np.int64), np.zeros(count, np.int64)
    for y in range(height):
        x = 0
        while x < width:  # from one run of equal labels to the next
            start, label = x, labels[y, x]
            while x < width and labels[y, x] == label:
                x += 1
            n = np.int64(label) - 1
            if n < 0 or n >= count:
                continue
            if areas[n] == 0:
                extents[n] = (start, y, x, y)
            areas[n] += x - start
            extents[n, 0] = min(extents[n, 0], start)
            extents[n, 2] = max(extents[n, 2], x)
            extents[n, 3] = y + 1
    return extents, areas
