"""COCO's run lengths: masks as short texts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def encode_labels(labels: np.ndarray, count: int | None = None) -> list[dict[str, Any]]:
    """The mask of each instance of a label map in COCO's compressed form.

    labels: (H, W) of any integer type; 0, like any negative value, is background and n + 1 is
        instance n. count: N; None takes the greatest label.
    Returns N dicts of "size" [H, W] and "counts", a str that JSON can hold; labels above N are
    left out. All masks take one pass over the pixels, whatever N is.

    The form is that of https://github.com/cocodataset/cocoapi (maskApi.c, rleEncode, rleToString).

    >>> encode_labels(np.array([[0, 2], [0, 2], [1, 0]]))
    [{'size': [3, 2], 'counts': '213'}, {'size': [3, 2], 'counts': '321'}]
    """
    height, width = labels.shape
    flat = labels.T.reshape(-1)  # COCO counts down the columns
    count = max(int(flat.max(initial=0)), 0) if count is None else count
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    lengths = np.diff(starts, append=len(flat))
    instance = flat[starts].astype(np.int64) - 1
    kept = np.flatnonzero((instance >= 0) & (instance < count))
    kept = kept[np.argsort(instance[kept], kind="stable")]
    bounds = np.searchsorted(instance[kept], np.arange(count + 1))
    texts = []
    for first, last in pairwise(bounds):
        runs = kept[first:last]
        edges = np.stack([starts[runs], starts[runs] + lengths[runs]], 1).reshape(-1)
        counts = np.diff(edges, prepend=0, append=len(flat))
        texts.append(_compressed(counts if counts[-1] else counts[:-1]))
    return [{"size": [height, width], "counts": text} for text in texts]


def _compressed(counts: np.ndarray) -> str:
    """Run lengths (R,) int64 as text; see `tagwise.data.regions.rle_counts` for the way back."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    chars = []
    waiting = np.ones(len(values), bool)
    while waiting.any():
        low = values & 31
        values = values >> 5
        more = values != np.where(low & 16, -1, 0)
        chars.append(np.where(waiting, low + 32 * more + 48, 0))
        waiting &= more
    table = np.stack(chars, 1)
    return table[table > 0].astype(np.uint8).tobytes().decode("ascii")
