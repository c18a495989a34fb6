"""Boxes, their overlap, the similarity of poses, and the positions of map cells in the image.

Coordinates are x, then y. A box has one of two forms:

    xywh    x, y, width, height: results, samples, COCO JSON
    xyxy    x1, y1, x2, y2, two opposite corners: pairs of corners, overlap, supervision

Positions in an image have one of two origins, half a pixel apart:

    centre  (0, 0) is the centre of the top-left pixel: keypoints, affine maps
    edge    (0, 0) is the outer corner of the top-left pixel: boxes, and the corners of objects

Functions named `pair_...` and `boxes_around` are compiled, for other compiled loops to call. The
functions for arrays call them too, so that each formula is written only once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tagwise.runtime import compiled

# exp(-37) is less than the last digit of 1 in float64; keypoints farther apart count 0.
_FARTHEST = 37.0
# pycocotools adds this to areas, to avoid a division by 0.
_SPACING = float(np.spacing(1.0))


# ---------------------------------------------------------------------- forms of boxes


def to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) x, y, width, height as x1, y1, x2, y2, of the same dtype.

    >>> to_xyxy(np.array([[10, 20, 30, 40]])).tolist()
    [[10, 20, 40, 60]]
    """
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) x1, y1, x2, y2 as x, y, width, height, of the same dtype.

    >>> to_xywh(np.array([[10, 20, 40, 60]])).tolist()
    [[10, 20, 30, 40]]
    """
    boxes = np.asarray(boxes)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


# ---------------------------------------------------------------------- overlap of boxes


def iou(a: np.ndarray, b: np.ndarray, *, inclusive: bool = False) -> np.ndarray:
    """Intersection over union of every box of `a` with every box of `b`.

    a: (N, 4), b: (M, 4); x1, y1, x2, y2 in the same unit, any real dtype.
    inclusive: x2 and y2 are the last pixel, so that a side is x2 - x1 + 1, as in the published
        code of CornerNet (which follows Fast R-CNN).

    Returns (N, M) float64 in [0, 1]; 0 where a box has no area or a coordinate is not finite.

    >>> iou(np.array([[0, 0, 4, 4]]), np.array([[0, 0, 4, 2], [2, 0, 6, 4], [8, 8, 9, 9]])).round(3)
    array([[0.5  , 0.333, 0.   ]])
    """
    a, b = (np.ascontiguousarray(boxes, np.float64).reshape(-1, 4) for boxes in (a, b))
    return _iou_table(a, b, float(inclusive))


@compiled()
def _iou_table(a, b, extra):
    table = np.empty((len(a), len(b)))
    for n in range(len(a)):
        for m in range(len(b)):
            table[n, m] = pair_iou(a[n], b[m], extra)
    return table


@compiled(inline="always")
def pair_iou(a, b, extra=0.0):
    """Intersection over union of two boxes (4,) x1, y1, x2, y2; compiled, see `iou`.

    extra: added to every side; 1 if x2 and y2 are the last pixel.

    >>> pair_iou(np.array([0.0, 0.0, 3.0, 3.0]), np.array([0.0, 0.0, 3.0, 1.0]), 1.0)
    0.5
    """
    width = min(a[2], b[2]) - max(a[0], b[0]) + extra
    height = min(a[3], b[3]) - max(a[1], b[1]) + extra
    if not (width > 0 and height > 0):
        return 0.0
    first = (a[2] - a[0] + extra) * (a[3] - a[1] + extra)
    second = (b[2] - b[0] + extra) * (b[3] - b[1] + extra)
    union = first + second - width * height
    return width * height / union if union > 0 else 0.0


# ---------------------------------------------------------------------- keypoints


def present_keypoints(keypoints: np.ndarray) -> np.ndarray:
    """Whether each of the keypoints (..., 3) is present; bool (...).

    A keypoint is x, y, and a score or a visibility. It is missing if the third value is not above
    0, as in (0, 0, 0) and (NaN, NaN, 0), or if x or y is not finite.

    >>> present_keypoints(np.array([[5, 5, 0.1], [5, 5, 0], [np.nan, 5, 1]])).tolist()
    [True, False, False]
    """
    return (keypoints[..., 2] > 0) & np.isfinite(keypoints[..., :2]).all(axis=-1)


@compiled(inline="always")
def _is_present(keypoints, k):
    """`present_keypoints` for one of the keypoints (K, 3)."""
    x, y, score = keypoints[k, 0], keypoints[k, 1], keypoints[k, 2]
    return score > 0 and np.isfinite(x) and np.isfinite(y)


def keypoint_boxes(keypoints: np.ndarray, least: float = 0.0) -> np.ndarray:
    """The box around the keypoints of each instance that are present.

    keypoints: (N, K, 3), any real dtype; x, y, and score or visibility, see `present_keypoints`.
    least: shorter sides are extended to this, symmetrically, so that a single keypoint, or several
        on a line, have a box with an area. In the unit of x and y.

    Returns (N, 4) float64 x, y, width, height in the unit of x and y; zeros for an instance
    without any keypoint, whatever `least` is.

    >>> keypoint_boxes(np.array([[[2, 3, 1], [6, 3, 1], [90, 90, 0]]])).tolist()
    [[2.0, 3.0, 4.0, 0.0]]
    >>> keypoint_boxes(np.array([[[2, 3, 1]]]), least=2).tolist()
    [[1.0, 2.0, 2.0, 2.0]]
    """
    keypoints = np.ascontiguousarray(keypoints, np.float64)
    if keypoints.ndim != 3 or keypoints.shape[2] != 3:
        raise ValueError(f"keypoints must be (N, K, 3), not {keypoints.shape}")
    return boxes_around(keypoints, float(least))


def least_side(width: float | None, height: float | None) -> float:
    """The least width and height, in pixels, of the box around the keypoints of an instance.

    One keypoint, or several on a line, have no extent, but object keypoint similarity and motion
    are measured relative to one.

    width, height: of the image in pixels. The least side is 3 % of its diagonal, or 20 pixels if
        its size is unknown.

    >>> least_side(400, 300)
    15.0
    """
    if width is None or height is None:
        return 20.0
    return 0.03 * float(np.hypot(width, height))


@compiled()
def boxes_around(keypoints, least):
    """The box around each instance's keypoints (N, K, 3); compiled, see `keypoint_boxes`.

    >>> boxes_around(np.array([[[2.0, 3.0, 1.0], [6.0, 5.0, 1.0]]]), 0.0).tolist()
    [[2.0, 3.0, 4.0, 2.0]]
    """
    boxes = np.zeros((len(keypoints), 4))
    for n in range(len(keypoints)):
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for k in range(keypoints.shape[1]):
            if _is_present(keypoints[n], k):
                x, y = keypoints[n, k, 0], keypoints[n, k, 1]
                left, right = min(left, x), max(right, x)
                top, bottom = min(top, y), max(bottom, y)
        if left <= right:
            width, height = max(right - left, least), max(bottom - top, least)
            boxes[n, 0] = left - (width - (right - left)) / 2
            boxes[n, 1] = top - (height - (bottom - top)) / 2
            boxes[n, 2], boxes[n, 3] = width, height
    return boxes


# ---------------------------------------------------------------------- similarity of poses


def oks(
    found: np.ndarray,
    reference: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    *,
    common: bool = False,
) -> np.ndarray:
    """Object keypoint similarity of every found pose with every reference pose.

    With d_i the distance of the two keypoints of type i, and s^2 the reference's area,

        OKS = sum_i exp(-d_i^2 / (2 s^2 (2 sigma_i)^2)) / number of i

    over the types i that the reference has (https://cocodataset.org/#keypoints-eval, and
    `computeOks` of pycocotools). A type that `found` lacks counts 0; in COCO it is at (0, 0).

    found: (N, K, 3), reference: (M, K, 3); x, y, and score or visibility, which only
        determines whether the keypoint is present, see `present_keypoints`.
    areas: s^2, at least 0, in squared units of x and y; (M,), or (N, M) for each pair.
    sigmas: (K,) or one number, above 0: the spread of annotations, as a share of s.
    common: take the mean over the types that both have.

    Returns (N, M) float64 in [0, 1]; 0 where no type counts.

    >>> truth = np.array([[[10, 10, 2], [20, 10, 2], [0, 0, 0]]])
    >>> found = np.array([[[10, 10, 0.9], [20, 14, 0.8], [55, 55, 0.7]]])
    >>> oks(found, truth, areas=[100], sigmas=[0.1, 0.1, 0.1]).round(3)
    array([[0.568]])
    """
    found, reference = (np.ascontiguousarray(each, np.float64) for each in (found, reference))
    if found.ndim != 3 or reference.ndim != 3 or found.shape[1:] != reference.shape[1:]:
        raise ValueError(
            f"poses must be (N, K, 3) and (M, K, 3), not {found.shape} and {reference.shape}"
        )
    K, table = reference.shape[1], (len(found), len(reference))
    areas, sigmas = np.asarray(areas, np.float64), np.asarray(sigmas, np.float64)
    if not ((areas >= 0).all() and (sigmas > 0).all()):
        raise ValueError("areas must be at least 0, and sigmas above 0")
    areas, sigmas = np.array(np.broadcast_to(areas, table)), np.array(np.broadcast_to(sigmas, K))
    return _oks_table(found, reference, areas, sigmas, common)


@compiled()
def _oks_table(found, reference, areas, sigmas, common):
    table = np.empty(areas.shape)
    for m in range(len(reference)):
        count = count_common(reference[m], reference[m])
        for n in range(len(found)):
            if common:
                count = count_common(found[n], reference[m])
            table[n, m] = pair_oks(found[n], reference[m], areas[n, m], sigmas, count)
    return table


@compiled(inline="always")
def pair_oks(found, reference, area, sigmas, count, least=-np.inf):
    """Object keypoint similarity of two poses (K, 3); compiled, see `oks`.

    area: of the reference. sigmas: (K,). count: the number of types in the mean, those of the
        reference or those that both have, see `count_common`.
    least: 0 is returned as soon as the similarity cannot reach this value any more. For different
        instances, a few keypoints are enough, most of them without an exponential.

    >>> pose = np.array([[10.0, 10.0, 1.0], [20.0, 10.0, 1.0]])
    >>> pair_oks(pose, pose, 100.0, np.array([0.1, 0.1]), 2)
    1.0
    """
    total, left = 0.0, count
    for k in range(len(reference)):
        if _is_present(reference, k):
            left -= 1
            if _is_present(found, k):
                x, y = found[k, 0] - reference[k, 0], found[k, 1] - reference[k, 1]
                away = (x * x + y * y) / (8 * sigmas[k] ** 2 * (area + _SPACING))
                if away < _FARTHEST:
                    total += np.exp(-away)
            if total + left < least * count:
                return 0.0
    return total / count if count else 0.0


@compiled(inline="always")
def count_common(a, b):
    """The number of keypoint types that both poses (K, 3) have; compiled.

    >>> count_common(np.array([[5, 5, 1], [0, 0, 0]]), np.array([[8, 9, 1], [6, 6, 1]]))
    1
    """
    count = 0
    for k in range(len(a)):
        count += _is_present(a, k) and _is_present(b, k)
    return count


# ---------------------------------------------------------------------- cells and pixels


def cell_to_pixel(xy: Any, stride: float) -> Any:
    """Convert positions on a map to the image, both from centres: (cell + .5) stride - .5.

    xy: numbers, lists, arrays or tensors, in cells; (0, 0) is the centre of the top-left cell, and
    fractions lie between cells. stride: pixels per cell. Returns pixels, where (0, 0) is the centre
    of the top-left pixel. This is used for keypoints, peaks and affine maps.

    >>> cell_to_pixel(0, 4)
    1.5
    """
    return (_numbers(xy) + 0.5) * stride - 0.5


def pixel_to_cell(xy: Any, stride: float) -> Any:
    """Convert positions in the image to a map, both from centres; the inverse of `cell_to_pixel`.

    >>> pixel_to_cell(1.5, 4)
    0.0
    """
    return (_numbers(xy) + 0.5) / stride - 0.5


def edges_to_pixels(xy: Any, stride: float) -> Any:
    """Convert positions on a map to the image, both from edges: cell · stride.

    xy: numbers, arrays or tensors, in cells; integers are edges of cells, and the centre of the
    top-left cell is (.5, .5). stride: pixels per cell. Returns pixels, whose integers are edges,
    too. It is the same transform as `cell_to_pixel`, which counts from centres:
    edges_to_pixels(cell + .5, stride) = cell_to_pixel(cell, stride) + .5.

    This is used for boxes and the corners of objects (Law and Deng 2018, arXiv:1808.01244, section
    3.2: a corner is in the cell floor(x / stride), and its offset is the remainder).

    >>> edges_to_pixels(np.array([0.5, 3.0]), 4).tolist()
    [2.0, 12.0]
    """
    return _numbers(xy) * stride


def edges_to_cells(xy: Any, stride: float) -> Any:
    """Convert positions in the image to a map, both from edges; see `edges_to_pixels`.

    >>> edges_to_cells(np.array([2.0, 12.0]), 4).tolist()
    [0.5, 3.0]
    """
    return _numbers(xy) / stride


def _numbers(xy: Any) -> Any:
    """Lists as arrays; numbers, arrays and tensors as they are."""
    return np.asarray(xy, np.float64) if isinstance(xy, list | tuple) else xy
