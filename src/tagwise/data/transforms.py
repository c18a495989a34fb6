"""Affine maps that move the image, keypoints, boxes and masks of a sample together.

Points are in pixels, x then y, and (0, 0) is the centre of the top-left pixel. Scaling by s is
therefore x' = (x + .5)s - .5, which maps the *edges* of the image to the edges of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tagwise.data.instances import clip_boxes, hide_keypoints, inside, keep_visible
from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.geometry import cell_to_pixel, to_xywh, to_xyxy

FILL = 127  # grey outside the image, in training and prediction alike
_IDENTITY = np.eye(2, 3)
_EXACT = 1e-6  # pixels; smaller differences are rounding


@dataclass(frozen=True, eq=False)
class Affine:
    """An affine map of the plane, x' = A x + b.

    matrix: (2, 3) float64, [A | b], from source pixels to target pixels.

    >>> double = Affine.scaling(2)
    >>> double.points(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """

    matrix: np.ndarray

    @classmethod
    def identity(cls) -> Affine:
        """The map that changes nothing."""
        return cls(np.eye(2, 3))

    @classmethod
    def shift(cls, x: float, y: float) -> Affine:
        """Translate by x, y."""
        return cls(np.array([[1.0, 0.0, x], [0.0, 1.0, y]]))

    @classmethod
    def scaling(cls, x: float, y: float | None = None) -> Affine:
        """Scale by x horizontally and by y, by default x, vertically.

        The top-left corner of the image stays fixed. With the stride of a map, this is
        `cell_to_pixel`; with 1 / stride, it is the inverse.
        """
        y = x if y is None else y
        return cls(np.array([[x, 0.0, cell_to_pixel(0, x)], [0.0, y, cell_to_pixel(0, y)]]))

    @classmethod
    def mirror(cls, width: float) -> Affine:
        """Swap left and right in an image of this width."""
        return cls(np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]]))

    @classmethod
    def turn(cls, degrees: float, scale: float = 1.0) -> Affine:
        """Rotate clockwise on the screen (y points down) and scale around the point (0, 0)."""
        c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
        return cls(np.array([[c, -s, 0.0], [s, c, 0.0]]))

    def __matmul__(self, first: Affine) -> Affine:
        """The map that applies `first`, then this map."""
        linear = self.matrix[:, :2] @ first.matrix[:, :2]
        offset = self.matrix[:, :2] @ first.matrix[:, 2] + self.matrix[:, 2]
        return Affine(np.column_stack([linear, offset]))

    def inverse(self) -> Affine:
        """The inverse map. Raises ZeroDivisionError if there is none."""
        (a, b, x), (c, d, y) = self.matrix.tolist()
        area = self._determinant
        a, b, c, d = d / area, -b / area, -c / area, a / area
        return Affine(np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]]))

    @property
    def scale(self) -> float:
        """The factor by which lengths grow (the geometric mean over both axes)."""
        return math.sqrt(abs(self._determinant))

    @property
    def mirrored(self) -> bool:
        """Whether the map swaps left and right."""
        return self._determinant < 0

    @property
    def _determinant(self) -> float:
        (a, b, _), (c, d, _) = self.matrix.tolist()
        return a * d - b * c

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Move points (..., 2), of any float type; returns the same shape and type."""
        moved = xy @ self.matrix[:, :2].T + self.matrix[:, 2]
        return moved.astype(xy.dtype, copy=False)

    def boxes(self, boxes: np.ndarray, *, ellipses: bool = False) -> np.ndarray:
        """Move boxes (N, 4) x, y, width, height; each becomes the upright box around the moved box.

        ellipses: use the upright box around the moved inscribed ellipse instead, which is smaller
            under rotation.
        """
        if ellipses:
            middle = self.points(boxes[..., :2] + boxes[..., 2:] / 2 - 0.5) + 0.5
            axes = self.matrix[:, :2] * boxes[..., None, 2:]  # the x and y extent of each axis
            sides = np.sqrt((axes**2).sum(-1))
            moved = np.concatenate([middle - sides / 2, sides], -1)
            return moved.astype(boxes.dtype, copy=False)
        left, top, right, bottom = np.moveaxis(to_xyxy(boxes), -1, 0)
        corners = np.stack([[left, top], [right, top], [left, bottom], [right, bottom]])
        corners = np.moveaxis(corners, 1, -1)  # (4, N, 2)
        corners = self.points(corners - 0.5) + 0.5  # boxes end at edges of pixels
        moved = to_xywh(np.concatenate([corners.min(0), corners.max(0)], -1))
        return moved.astype(boxes.dtype, copy=False)

    def image(self, image: np.ndarray, size: Size, fill: int = FILL) -> np.ndarray:
        """Warp an image (H, W, 3) uint8 to `size` (width, height), bilinear and anti-aliased.

        An image that shrinks to less than half is averaged in blocks first, since bilinear
        interpolation would skip pixels. If nothing changes, the result is the image itself, or
        a copy if it is not contiguous or not writable.
        """
        if image.shape[1::-1] == tuple(size) and np.array_equal(self.matrix, _IDENTITY):
            return np.require(image, requirements=("C", "W"))
        source, shrunk = image, self
        if self.scale < 0.5:
            height, width = image.shape[:2]
            factor = int(1 / max(self.scale, 1e-6) + 1e-6)  # 8 for a scale of .12500001
            small = (max(1, round(width / factor)), max(1, round(height / factor)))
            source = cv2.resize(_halved(image, small), small, interpolation=cv2.INTER_AREA)
            shrunk = self @ Affine.scaling(width / small[0], height / small[1])
        resized = _resized(source, shrunk.matrix, size, fill)
        if resized is not None:
            return resized
        return cv2.warpAffine(
            source, shrunk.matrix, size, flags=cv2.INTER_LINEAR, borderValue=(fill,) * 3
        )

    def mask(self, mask: np.ndarray, size: Size, outside: bool = False) -> np.ndarray:
        """Warp a mask (H, W) bool to `size`, nearest neighbour, with `outside` beyond its edge."""
        if not outside and not mask.any():
            return np.zeros((size[1], size[0]), bool)
        warped = cv2.warpAffine(
            mask.view(np.uint8),
            self.matrix,
            size,
            flags=cv2.INTER_NEAREST,
            borderValue=int(outside),
        )
        return warped.view(bool)

    def labels(self, labels: np.ndarray, size: Size) -> np.ndarray:
        """Warp a label map (H, W) int32 to `size`, nearest neighbour, with 0 beyond its edge."""
        return cv2.warpAffine(labels, self.matrix, size, flags=cv2.INTER_NEAREST)


def _resized(image: np.ndarray, matrix: np.ndarray, size: Size, fill: int) -> np.ndarray | None:
    """What `cv2.warpAffine` gives, up to rounding, in less than half of the time.

    None unless the map places the whole image upright, inside `size`, with its top left corner on
    the corner of a pixel.
    """
    (x_scale, shear, x), (turn, y_scale, y) = matrix.tolist()
    x, y = x - cell_to_pixel(0, x_scale), y - cell_to_pixel(0, y_scale)
    left, top = round(x), round(y)
    if shear or turn or min(x_scale, y_scale) <= 0 or max(abs(x - left), abs(y - top)) > _EXACT:
        return None
    width, height = round(image.shape[1] * x_scale), round(image.shape[0] * y_scale)
    fits = left >= 0 and top >= 0 and left + width <= size[0] and top + height <= size[1]
    if not fits or not width or not height:
        return None
    resized = cv2.resize(image, None, fx=x_scale, fy=y_scale, interpolation=cv2.INTER_LINEAR)
    if (width, height) == tuple(size):
        return resized
    canvas = np.full((size[1], size[0], 3), fill, np.uint8)
    canvas[top : top + height, left : left + width] = resized
    return canvas


def _halved(image: np.ndarray, least: Size) -> np.ndarray:
    """Halve an image while its sides are even and stay at least `least` (width, height).

    OpenCV averages blocks of 2 × 2 pixels several times as fast as blocks of other sizes.
    """
    height, width = image.shape[:2]
    while width % 2 == height % 2 == 0 and width >= 2 * least[0] and height >= 2 * least[1]:
        width, height = width // 2, height // 2
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return image


def fit_affine(size: Size, input_size: Size, multiple: int | None = None) -> tuple[Affine, Size]:
    """Compute the map that fits an image into a network's input, centred, keeping its aspect ratio.

    size, input_size: (width, height). multiple: None pads to exactly input_size. A number pads each
    side only to the next multiple of it, so that the network computes less padding.
    Returns the map and the padded size. The padding on the left and at the top is a whole number of
    pixels, so the image is off the centre by half a pixel at most.

    >>> fit_affine((640, 480), (512, 512), multiple=32)[1]
    (512, 384)
    """
    scale = min(input_size[0] / size[0], input_size[1] / size[1])
    inner = (size[0] * scale, size[1] * scale)
    if multiple is None:
        outer = input_size
    else:  # 384.0000001 is 384
        outer = tuple(max(1, math.ceil(side / multiple - _EXACT)) * multiple for side in inner)
    left, top = (round((outer[axis] - inner[axis]) / 2 - _EXACT) for axis in (0, 1))
    x, y = left + cell_to_pixel(0, scale), top + cell_to_pixel(0, scale)
    matrix = np.array([[scale, 0.0, x], [0.0, scale, y]])
    return Affine(matrix), (int(outer[0]), int(outer[1]))


def warp_sample(
    sample: Sample,
    affine: Affine,
    size: Size,
    flip: Sequence[int],
    *,
    fill: int = FILL,
    ignore_outside: bool = False,
    ellipses: bool = False,
) -> Sample:
    """Move a sample with its labels onto a canvas of `size` (width, height).

    flip: the `flip` of the dataset, by which keypoint types are swapped if the map mirrors.
    fill: the grey value outside of the photo.
    ignore_outside: ignore the area outside of the photo, which is otherwise background, like the
        padding in prediction.
    ellipses: see `Affine.boxes`.

    Keypoints outside of the canvas get v = 0. Instances whose keypoints, box or mask are no longer
    visible are removed (see `instances.keep_visible`).
    """
    keypoints, labelled = sample.keypoints.copy(), sample.labelled.copy()
    keypoints[..., :2] = affine.points(keypoints[..., :2])
    if affine.mirrored:
        keypoints, labelled = keypoints[:, list(flip)], labelled[list(flip)]
    hide_keypoints(keypoints, ~inside(keypoints, size))
    whole = affine.boxes(sample.boxes, ellipses=ellipses)
    moved = replace(
        sample,
        image=affine.image(sample.image, size, fill),
        keypoints=keypoints,
        boxes=clip_boxes(whole, size),
        areas=(sample.areas * affine.scale**2).astype(np.float32),
        ignore=affine.mask(sample.ignore, size, ignore_outside),
        labelled=labelled,
        labels=None if sample.labels is None else affine.labels(sample.labels, size),
    )
    return keep_visible(moved, whole)


def reduced(sample: Sample, factor: int) -> Sample:
    """Shrink the labels of a sample by a factor, to match an image that was read at that size."""
    if factor == 1:
        return sample
    small = Affine.scaling(1 / factor)
    height, width = sample.image.shape[:2]
    sample.keypoints[..., :2] = small.points(sample.keypoints[..., :2])
    hide_keypoints(sample.keypoints, np.zeros(sample.keypoints.shape[:2], bool))
    smaller = replace(
        sample,
        boxes=small.boxes(sample.boxes),
        areas=sample.areas / factor**2,
        ignore=small.mask(sample.ignore, (width, height)),
    )
    if sample.labels is None:
        return smaller
    smaller.labels = small.labels(sample.labels, (width, height))
    return keep_visible(smaller, smaller.boxes)
