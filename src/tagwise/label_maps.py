"""Label maps, which give the instance of each pixel, and COCO run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tagwise.geometry import to_xywh
from tagwise.runtime import compiled


def label_map_instances(
    labels: np.ndarray, count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the tight boxes and the areas of the instances of a label map.

    labels: (H, W) of any integer type; 0 and negative values are background, and n + 1 is
        instance n. count: N; None takes the largest label.
    Returns boxes (N, 4) float32, x, y, width, height in pixels from the edge of the image, and
    areas (N,) float32 in pixels. An instance without pixels has a box of zeros and area 0; labels
    above N are left out.

    >>> boxes, areas = label_map_instances(np.array([[0, 2, 2], [0, 0, 2]]))
    >>> boxes.tolist(), areas.tolist()
    ([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, 2.0]], [0.0, 3.0])
    """
    if count is None:
        count = max(int(labels.max(initial=0)), 0)
    extents, areas = _extents(labels, count)
    return to_xywh(extents).astype(np.float32), areas.astype(np.float32)


@compiled()
def _extents(labels, count):
    """Boxes (N, 4) x1, y1, x2, y2 and numbers of pixels (N,), both int64."""
    height, width = labels.shape
    extents, areas = np.zeros((count, 4), np.int64), np.zeros(count, np.int64)
    for y in range(height):
        x = 0
        while x < width:  # one run of equal labels per iteration
            start, label = x, labels[y, x]
            while x < width and labels[y, x] == label:
                x += 1
            n = np.int64(label) - 1
            if n < 0 or n >= count:
                continue
            if areas[n] == 0:
                extents[n, 0], extents[n, 1], extents[n, 2], extents[n, 3] = start, y, x, y
            areas[n] += x - start
            extents[n, 0] = min(extents[n, 0], start)
            extents[n, 2] = max(extents[n, 2], x)
            extents[n, 3] = y + 1
    return extents, areas


# ---------------------------------------------------------------------- run lengths


def encode_labels(labels: np.ndarray, count: int | None = None) -> list[dict[str, Any]]:
    """Encode the mask of each instance of a label map as a compressed COCO RLE.

    labels: (H, W) of any integer type; 0 and negative values are background, and n + 1 is
        instance n. count: N; None takes the largest label.
    Returns N dicts of "size" [H, W] and "counts", a str that JSON can contain; labels above N are
    left out. All masks are encoded in one pass over the pixels, whatever N is.

    The format follows https://github.com/cocodataset/cocoapi (maskApi.c, rleEncode, rleToString).

    >>> encode_labels(np.array([[0, 2], [0, 2], [1, 0]]))
    [{'size': [3, 2], 'counts': '213'}, {'size': [3, 2], 'counts': '321'}]
    """
    height, width = labels.shape
    flat = labels.T.reshape(-1)  # COCO's order is column-major
    count = max(int(flat.max(initial=0)), 0) if count is None else count
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    lengths = np.diff(starts, append=len(flat))
    instance = flat[starts].astype(np.int64) - 1
    kept = np.flatnonzero((instance >= 0) & (instance < count))
    kept = kept[np.argsort(instance[kept], kind="stable")]
    bounds = np.searchsorted(instance[kept], np.arange(count + 1))
    begins = starts[kept]
    chars, edges = _compressed(begins, begins + lengths[kept], bounds, len(flat))
    text = chars.tobytes().decode("ascii")
    return [{"size": [height, width], "counts": text[a:b]} for a, b in pairwise(edges.tolist())]


@compiled()
def _compressed(starts, ends, bounds, total):
    """The texts of N masks, one after the other (C,) uint8, and where each begins (N + 1,) int64.

    starts, ends: (R,) the runs of all masks, as indices of pixels; those of mask n are bounds[n] to
    bounds[n + 1]. total: the number of pixels. `rle_counts` is the inverse.
    """
    masks = len(bounds) - 1
    chars = np.empty(13 * (2 * len(starts) + masks), np.uint8)  # 13 × 5 bits are enough for int64
    texts = np.zeros(masks + 1, np.int64)
    place = 0
    for n in range(masks):
        index, position, before, before_that = 0, 0, 0, 0
        for part in range(2 * (bounds[n + 1] - bounds[n]) + 1):  # gap, run, gap, run ... gap
            run = bounds[n] + part // 2
            last = run == bounds[n + 1]
            edge = total if last else ends[run] if part % 2 else starts[run]
            if last and edge == position:
                break
            count = edge - position
            value = count - before_that if index > 2 else count
            index, position, before, before_that = index + 1, edge, count, before
            more = True
            while more:
                low = value & 31
                value >>= 5
                more = value != (-1 if low & 16 else 0)
                chars[place] = low + 32 * more + 48
                place += 1
        texts[n + 1] = place
    return chars[:place], texts


def rle_counts(text: str | bytes) -> np.ndarray:
    """Decode the run lengths of a compressed COCO RLE; int64.

    Each number is a sequence of 6-bit characters, each with 5 bits of the value, lowest first, and
    a bit that is set if more characters follow. From the fourth number on, the difference to the
    number two places before is stored (cocodataset/cocoapi, maskApi.c, rleFrString).

    >>> rle_counts("111").tolist()
    [1, 1, 1]
    """
    data = text.encode("ascii") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        char = byte - 48
        if not 0 <= char < 64:
            raise ValueError(f"character {chr(byte)!r} does not belong in run lengths")
        value |= (char & 31) << shift
        shift += 5
        if shift > 60:
            raise ValueError("run lengths have a number of more than 60 bits")
        if char & 32:
            continue
        if char & 16:
            value |= -1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end in the middle of a number")
    return np.array(counts, np.int64)


def rle_mask(rle: dict[str, Any]) -> np.ndarray:
    """Decode a COCO RLE, whose "counts" are compressed text or a list, into a mask (H, W) bool.

    Raises ValueError if the runs do not fill the "size" (height, width).
    """
    height, width = (int(side) for side in rle["size"])
    runs = _filling_runs(rle["counts"], width, height)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T  # COCO's order is column-major


def decode_labels(masks: Sequence[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """Decode COCO RLEs into a label map (height, width) int32; the inverse of `encode_labels`.

    masks: one RLE per instance. size: (height, width) of each mask.
    Raises ValueError if a mask has another size or overlaps another mask.
    """
    height, width = (int(side) for side in size)
    flat = np.zeros(height * width, np.int32)
    for number, rle in enumerate(masks, 1):
        if tuple(rle["size"]) != (height, width):
            raise ValueError(
                f"mask {number} has size {rle['size']}, but the image has {[height, width]}"
            )
        runs = _filling_runs(rle["counts"], width, height)
        edges = np.cumsum(runs)[: len(runs) // 2 * 2].reshape(-1, 2)  # off, on, off, on, ...
        for start, end in edges:
            if flat[start:end].any():
                raise ValueError(f"mask {number} overlaps another")
            flat[start:end] = number
    return np.ascontiguousarray(flat.reshape(width, height).T)


def check_rle(rle: dict[str, Any]) -> tuple[int, int]:
    """Return the (height, width) of a COCO RLE without decoding its mask.

    Raises ValueError if it has no size, or its runs do not fill it.
    """
    try:
        height, width = (int(side) for side in rle["size"])
        if min(height, width) < 0:
            raise ValueError(f"a mask cannot have the size {height}×{width}")
        _filling_runs(rle["counts"], width, height)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not run lengths ({error})") from None
    return height, width


def _filling_runs(counts: Any, width: int, height: int) -> np.ndarray:
    """Decode run lengths (R,) int64. Raises ValueError if they do not fill a mask of that size."""
    try:
        given = isinstance(counts, str | bytes)
        runs = rle_counts(counts) if given else np.asarray(counts, np.int64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"run lengths are not numbers ({error})") from None
    total, most = height * width, runs.max(initial=0)
    if runs.ndim != 1 or runs.min(initial=0) < 0 or most > total or _sum(runs) != total:
        raise ValueError(f"runs of {_sum(runs)} pixels do not fill a mask of {width}×{height}")
    return runs


def _sum(runs: np.ndarray) -> int:
    """The sum of integers, which may be larger than int64 allows."""
    if np.abs(runs, dtype=np.float64).sum() < 2**62:
        return int(runs.sum())
    return sum(runs.ravel().tolist())
