"""How published tests fit a photo into their network, and join what it says of several looks.

Their answers depend on it to the pixel: on sizes, on where pixels begin, on what is averaged.
A model file names one under "fitting" in its decoder settings; other models do without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.data.transforms import Affine, Size
from tagwise.errors import UserError, unknown_name
from tagwise.prediction import tta
from tagwise.tasks.base import Head

# Their decoders count from a pixel's edge where ours counts from its centre, and take the result
# to the photo without half a pixel's shift back.
_HALF_PIXEL = Affine.shift(-0.5, -0.5)


def _times(x: float, y: float | None = None) -> Affine:
    """Both coordinates multiplied, with no thought of pixels."""
    return Affine(np.array([[x, 0.0, 0.0], [0.0, x if y is None else y, 0.0]]))


@dataclass(frozen=True)
class Look:
    """What a network said at one look at photos.

    maps: name -> (B, C, h, w); those of mirrored photos are mirrored back already.
    scale: of the look, relative to the model's size.
    """

    maps: dict[str, Tensor]
    scale: float


@dataclass(frozen=True)
class HigherHRNetFitting:
    """HigherHRNet's: lib/utils/transforms.py and lib/core/inference.py of its public code.

    The photo's shorter side fills the input's, sides are multiples of 64, and all maps are brought
    to the size of the input before they are decoded. Heatmaps of all looks are averaged, tags are
    those of scale 1.

    size: (width, height); the shorter counts. stride: of the maps that are decoded.
    """

    size: Size
    stride: int | None = 1
    fuses_one_look: bool = False

    def fit(self, image: np.ndarray, scale: float, scales: Sequence[float]) -> tuple:
        """The input (h, w, 3) uint8, and the map to it from what decoding gives in the photo."""
        height, width = image.shape[:2]
        matrix, size = self.geometry((width, height), scale, min(scales))
        return _warp(image, matrix, size), _HALF_PIXEL @ matrix

    def geometry(self, size: Size, scale: float, least: float) -> tuple[Affine, Size]:
        """From pixels of a photo of that (width, height) to the input, and the input's size."""
        short = int((least * min(self.size) + 63) // 64 * 64)
        across = int(size[0] < size[1])  # the axis that is longer
        ratio = short / size[across ^ 1]
        inner = int((ratio * size[across] + 63) // 64 * 64)
        sides = [0, 0]
        sides[across], sides[across ^ 1] = int(inner * scale / least), int(short * scale / least)
        factor = sides[across ^ 1] / size[across ^ 1]
        centre = [int(side / 2 + 0.5) for side in size]
        to_middle = Affine.shift(sides[0] / 2, sides[1] / 2) @ _times(factor)
        return to_middle @ Affine.shift(-centre[0], -centre[1]), (sides[0], sides[1])

    def base(self, scales: Sequence[float]) -> int:
        """Number of the scale on whose grid maps are decoded."""
        return _scale_one(scales)

    def join(self, looks: Sequence[Look], heads: dict[str, Head], size: Size) -> dict[str, Tensor]:
        """All looks as one, at the size (width, height) of the input of scale 1."""
        shape = size[::-1]
        larger = [{n: _resized(m, shape) for n, m in look.maps.items()} for look in looks]
        heatmaps = torch.stack([maps["heatmaps"] for maps in larger]).mean(0)
        tags = [maps["tags"] for maps, look in zip(larger, looks) if look.scale == 1]
        return {"heatmaps": heatmaps, "tags": tta.beside(tags, heads["heatmaps"].channels)}


@dataclass(frozen=True)
class MMPose1Fitting(HigherHRNetFitting):
    """mmpose 1.x's: BottomupResize ("expand", multiples of 64) and AssociativeEmbeddingHead.

    As HigherHRNet's, with three differences: each scale is fitted by itself, a side that is the
    least bit beyond a multiple of 64 goes up to the next, and the photo's middle is not rounded to
    a whole pixel. At several scales it joins looks as HigherHRNet does: mmpose's own join fails.

    size: (width, height); the photo covers both.
    """

    def geometry(self, size: Size, scale: float, least: float) -> tuple[Affine, Size]:
        """As `HigherHRNetFitting.geometry`; least is of no matter."""
        width, height = (math.ceil(int(side * scale) / 64) * 64 for side in self.size)
        ratio = size[0] / size[1]
        covered = max(width, height * ratio), max(height, width / ratio)
        sides = math.ceil(covered[0] / 64) * 64, math.ceil(covered[1] / 64) * 64
        # Through three points in float32, as published: the last digit decides which of two
        # neighbouring pixels is seen where the factor is a simple fraction.
        here = _three_points(size, size[0] * sides[0] / covered[0])
        return Affine(cv2.getAffineTransform(here, _three_points(sides, sides[0]))), sides


def _three_points(size: Size, width: float) -> np.ndarray:
    """(3, 2) float32: the middle of a size, half a width to its left, and as much below that."""
    points = np.empty((3, 2), np.float32)
    points[0] = size[0] / 2, size[1] / 2
    points[1] = points[0] - (np.float32(width) / 2, 0)
    points[2] = points[1] + (0, points[0, 0] - points[1, 0])
    return points


@dataclass(frozen=True)
class PoseAEFitting:
    """pose-ae's: test.py of its public code.

    The photo's longer side fills a square, whose side is a multiple of 64. Maps are decoded at
    stride 4 of the largest scale; heatmaps of all looks are averaged and cut at 1, tags are those
    of scales near 1.

    size: (width, height); the longer counts. stride: of the maps that are decoded.
    """

    size: Size
    stride: int | None = 4
    fuses_one_look: bool = False

    def fit(self, image: np.ndarray, scale: float, scales: Sequence[float]) -> tuple:
        """As `HigherHRNetFitting.fit`."""
        height, width = image.shape[:2]
        matrix, size = self.geometry((width, height), scale)
        return _warp(image, matrix, size), _HALF_PIXEL @ matrix

    def geometry(self, size: Size, scale: float) -> tuple[Affine, Size]:
        """From pixels of a photo of that (width, height) to the input, and the input's size."""
        side = int((scale * max(self.size) + 63) // 64 * 64)
        centred = Affine.shift(-size[0] / 2, -size[1] / 2)
        return Affine.shift(side / 2, side / 2) @ _times(side / max(size)) @ centred, (
            side,
            side,
        )

    def base(self, scales: Sequence[float]) -> int:
        """Number of the scale on whose grid maps are decoded."""
        _scale_one(scales)
        return int(np.argmax(scales))

    def join(self, looks: Sequence[Look], heads: dict[str, Head], size: Size) -> dict[str, Tensor]:
        """All looks as one, at a quarter of the size (width, height) of the largest input."""
        shape = (size[1] // 4, size[0] // 4)
        larger = [{n: _resized(m, shape) for n, m in look.maps.items()} for look in looks]
        heatmaps = torch.stack([maps["heatmaps"] for maps in larger]).mean(0).clamp(max=1)
        tags = [maps["tags"] for maps, look in zip(larger, looks) if abs(look.scale - 1) < 0.5]
        return {"heatmaps": heatmaps, "tags": tta.beside(tags, heads["heatmaps"].channels)}


@dataclass(frozen=True)
class CornerNetFitting:
    """CornerNet's: test/coco.py of its public code.

    The photo keeps its size and lies in the middle of black, with sides of one less than a
    multiple of 128. The boxes of all looks go through soft suppression together, and so do those
    of one look.

    size: (width, height) whose longer side the photo's is brought to first; None leaves it.
    stride: None, the network's own.
    """

    size: Size | None = None
    stride: int | None = None
    fuses_one_look: bool = True

    def fit(self, image: np.ndarray, scale: float, scales: Sequence[float]) -> tuple:
        """As `HigherHRNetFitting.fit`."""
        height, width = image.shape[:2]
        if self.size is not None:
            scale = scale * max(self.size) / max(height, width)
        inner = max(1, int(width * scale)), max(1, int(height * scale))
        image = cv2.resize(image, inner)
        outer = inner[0] | 127, inner[1] | 127
        canvas = np.zeros((outer[1], outer[0], 3), np.uint8)
        low, high = zip(*(_middle(*sides) for sides in zip(inner, outer)))
        start = [o // 2 - i // 2 + lo for o, i, lo in zip(outer, inner, low)]
        part = image[low[1] : high[1], low[0] : high[0]]
        canvas[start[1] : start[1] + part.shape[0], start[0] : start[0] + part.shape[1]] = part
        # A map of (side + 1) / stride cells stands for a side that is one pixel shorter.
        stretch = _times(*((side + 1) / side for side in outer))
        edges = stretch @ Affine.shift(*start) @ _times(scale)
        return canvas, _HALF_PIXEL @ edges @ Affine.shift(0.5, 0.5)

    def base(self, scales: Sequence[float]) -> int:
        """Number of the scale whose maps stand for all."""
        return int(np.argmin(np.abs(np.log(scales))))


def _middle(inner: int, outer: int) -> tuple[int, int]:
    """Which of `inner` pixels are kept when they are laid in the middle of `outer`.

    Where both are equal and odd the last one is lost, as in the public code.
    """
    centre = inner // 2
    return max(0, centre - outer // 2), min(centre + outer // 2, inner)


def _warp(image: np.ndarray, affine: Affine, size: Size) -> np.ndarray:
    return cv2.warpAffine(image, affine.matrix, size, flags=cv2.INTER_LINEAR)


def _resized(maps: Tensor, shape: Size) -> Tensor:
    if maps.shape[-2:] == shape:
        return maps.float()
    return F.interpolate(maps.float(), size=shape, mode="bilinear", align_corners=False)


def _scale_one(scales: Sequence[float]) -> int:
    if 1.0 not in scales:
        raise UserError(
            f"scales are {tuple(scales)}; the published test of this model reads its tags at scale "
            "1: have it among them, such as 0.5 1 2"
        )
    return list(scales).index(1.0)


Fitting = HigherHRNetFitting | PoseAEFitting | CornerNetFitting
FITTINGS = {
    "higherhrnet": HigherHRNetFitting,
    "mmpose1": MMPose1Fitting,
    "poseae": PoseAEFitting,
    "cornernet": CornerNetFitting,
}


def fitting_of(name: str | None, own: Size, given: Size | None) -> Fitting | None:
    """The fitting of that name; None for None.

    own, given: (width, height) of the model's input, and what the user asked for in its place.
    """
    if name is None:
        return None
    if name not in FITTINGS:
        raise unknown_name("fitting", str(name), FITTINGS)
    return CornerNetFitting(given) if name == "cornernet" else FITTINGS[name](given or own)
