"""Fittings of published tests: how they fit images and join the maps of several passes.

Published results depend on each detail: on sizes, on the origin of pixel coordinates, and on which
maps are averaged. A model file names its fitting under "fitting" in its decoder settings, see
`FITTINGS`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import cv2
import numpy as np

from tagwise.data.regions import Size
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.prediction.fitting import Fitting
from tagwise.prediction.tta import Maps, Pass, stack_tags
from tagwise.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor

    from tagwise.models.network import Network

# Published decoders measure coordinates from the edge of the first pixel, ours from its centre, and
# they do not shift their results in the image back by half a pixel.
_HALF_PIXEL = Affine.shift(-0.5, -0.5)


def _times(x: float, y: float | None = None) -> Affine:
    """Return the map that multiplies both coordinates, without a shift of half a pixel."""
    return Affine(np.array([[x, 0.0, 0.0], [0.0, x if y is None else y, 0.0]]))


class _PoseFitting(Fitting):
    """The base of the fittings of published pose tests.

    A subclass defines how an image is placed (`geometry`) and how maps are joined.
    """

    needs_fp32: ClassVar[bool] = True

    @classmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        return cls(size or model.spec.input_size, scales)

    @abstractmethod
    def geometry(self, size: Size, scale: float) -> tuple[Affine, Size]:
        """Return the map from an image of (width, height) to the input, and the input's size."""

    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
        matrix, size = self.geometry(image.shape[1::-1], scale)
        warped = cv2.warpAffine(image, matrix.matrix, size, flags=cv2.INTER_LINEAR)
        return warped, _HALF_PIXEL @ matrix

    def _scale_one(self) -> int:
        """Return the index of scale 1. Raises UserError if it is missing."""
        if 1.0 not in self.scales:
            raise UserError(
                f"scales are {self.scales}; the published test of this model reads its tags at "
                "scale 1; include it, as in 0.5 1 2"
            )
        return self.scales.index(1.0)


@dataclass(frozen=True)
class HigherHRNetFitting(_PoseFitting):
    """The fitting of HigherHRNet (lib/utils/transforms.py, lib/core/inference.py).

    The shorter side of the image is scaled to that of the input, sides are multiples of 64, and all
    maps are resized to the size of the input before they are decoded. Heatmaps of all passes are
    averaged; tags are taken from scale 1.

    size: (width, height); only the shorter is used.
    """

    size: Size
    scales: tuple[float, ...] = (1.0,)
    stride: ClassVar[int] = 1
    aligned: ClassVar[bool] = False  # whether resizing keeps the centres of corner cells in place

    def geometry(self, size: Size, scale: float) -> tuple[Affine, Size]:
        least = min(self.scales)
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

    @property
    def base(self) -> int:
        return self._scale_one()

    def join(self, passes: Sequence[Pass], task: Task, size: Size) -> Maps:
        """Join all passes at the size (width, height) of the input of scale 1."""
        import torch

        resized = _resized(passes, size[::-1], self.aligned)
        heatmaps = torch.stack([maps["heatmaps"] for maps in resized]).mean(0)
        tags = [maps["tags"] for maps, one in zip(resized, passes) if one.scale == 1]
        return {"heatmaps": heatmaps, "tags": stack_tags(tags, len(task.flip))}


@dataclass(frozen=True)
class MMPoseHourglassFitting(HigherHRNetFitting):
    """The fitting of mmpose 0.x for networks whose config does not say how to align maps.

    That is its hourglass. mmpose then resizes maps with aligned corners, in which cell j of h cells
    becomes cell j (H - 1) / (h - 1) of H (mmpose/models/detectors/associative_embedding.py).
    """

    aligned: ClassVar[bool] = True


@dataclass(frozen=True)
class MMPose1Fitting(HigherHRNetFitting):
    """The fitting of mmpose 1.x: BottomupResize ("expand", 64) and AssociativeEmbeddingHead.

    It differs from that of HigherHRNet in three ways: each scale is fitted independently, any side
    above a multiple of 64 is rounded up to the next one, and the centre of the image is not rounded
    to a whole pixel. Passes at several scales are joined as in HigherHRNet, because the join of
    mmpose itself fails.

    size: (width, height); the image covers both.
    """

    def geometry(self, size: Size, scale: float) -> tuple[Affine, Size]:
        width, height = (math.ceil(int(side * scale) / 64) * 64 for side in self.size)
        ratio = size[0] / size[1]
        covered = max(width, height * ratio), max(height, width / ratio)
        sides = math.ceil(covered[0] / 64) * 64, math.ceil(covered[1] / 64) * 64
        # From three points in float32, as published: if the factor is a simple fraction, the last
        # digit decides which of two neighbouring pixels is read.
        here = _three_points(size, size[0] * sides[0] / covered[0])
        return Affine(cv2.getAffineTransform(here, _three_points(sides, sides[0]))), sides


def _three_points(size: Size, width: float) -> np.ndarray:
    """Return (3, 2) float32: the centre of a size, half a width left of it, as much below that."""
    points = np.empty((3, 2), np.float32)
    points[0] = size[0] / 2, size[1] / 2
    points[1] = points[0] - (np.float32(width) / 2, 0)
    points[2] = points[1] + (0, points[0, 0] - points[1, 0])
    return points


@dataclass(frozen=True)
class OpenModelZooFitting(Fitting):
    """The fitting of Open Model Zoo's demo (model_api/models/hpe_associative_embedding.py).

    The shorter side of the image is scaled to that of the input, sides are multiples of 32, and the
    image is at the top left of black. Maps are decoded at their own stride.

    size: (width, height); only the shorter is used.
    """

    size: Size
    scales: tuple[float, ...] = (1.0,)
    stride: int = 2
    multiple: ClassVar[int] = 32
    needs_fp32: ClassVar[bool] = True

    @classmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        if scales != (1.0,):
            raise UserError(
                f"scales are {scales}; the test of this model has one scale: leave them out"
            )
        return cls(size or model.spec.input_size, scales, model.stride)

    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
        (height, width), short = image.shape[:2], round(scale * min(self.size))
        ratio = width / height
        sides = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
        across, down = (math.ceil(side / self.multiple) * self.multiple for side in sides)
        factor = min(across / width, down / height)
        inner = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        canvas = np.zeros((down, across, 3), np.uint8)
        canvas[: inner.shape[0], : inner.shape[1]] = inner
        # The demo multiplies cells by the stride; the centre of cell 0 is (stride - 1) / 2.
        offset = (self.stride - 1) / 2
        stretch = _times(inner.shape[1] / width, inner.shape[0] / height)
        return canvas, Affine.shift(offset, offset) @ stretch


@dataclass(frozen=True)
class PoseAEFitting(_PoseFitting):
    """The fitting of pose-ae: test.py of its public code.

    The longer side of the image fills a square, whose side is a multiple of 64. Maps are decoded at
    stride 4 of the largest scale. Heatmaps of all passes are averaged and clipped at 1; tags are
    taken from scales near 1.

    size: (width, height); only the longer is used.
    """

    size: Size
    scales: tuple[float, ...] = (1.0,)
    stride: ClassVar[int] = 4

    def geometry(self, size: Size, scale: float) -> tuple[Affine, Size]:
        side = int((scale * max(self.size) + 63) // 64 * 64)
        centred = Affine.shift(-size[0] / 2, -size[1] / 2)
        to_middle = Affine.shift(side / 2, side / 2) @ _times(side / max(size))
        return to_middle @ centred, (side, side)

    @property
    def base(self) -> int:
        self._scale_one()
        return int(np.argmax(self.scales))

    def join(self, passes: Sequence[Pass], task: Task, size: Size) -> Maps:
        """Join all passes at a quarter of the size (width, height) of the largest input."""
        import torch

        resized = _resized(passes, (size[1] // 4, size[0] // 4))
        heatmaps = torch.stack([maps["heatmaps"] for maps in resized]).mean(0).clamp(max=1)
        tags = [maps["tags"] for maps, one in zip(resized, passes) if abs(one.scale - 1) < 0.5]
        return {"heatmaps": heatmaps, "tags": stack_tags(tags, len(task.flip))}


@dataclass(frozen=True)
class CornerNetFitting(Fitting):
    """The fitting of CornerNet: test/coco.py of its public code.

    The image keeps its size and is centred on black, with sides of one less than a multiple of 128.
    Soft suppression is applied to the boxes of all passes together, even if there is one pass only.

    size: (width, height); the longer side of the image is first scaled to the longer of these. None
        keeps the size of the image.
    """

    size: Size | None = None
    scales: tuple[float, ...] = (1.0,)
    stride: int = 4
    needs_fp32: ClassVar[bool] = True
    fuses_one_pass: ClassVar[bool] = True

    @classmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        return cls(size, scales, model.stride)

    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
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
        # A map of (side + 1) / stride cells covers a side that is one pixel shorter.
        stretch = _times(*((side + 1) / side for side in outer))
        edges = stretch @ Affine.shift(*start) @ _times(scale)
        return canvas, _HALF_PIXEL @ edges @ Affine.shift(0.5, 0.5)


def _middle(inner: int, outer: int) -> tuple[int, int]:
    """Return the range of `inner` pixels, (first, end), that is kept in the middle of `outer`.

    If both are equal and odd, the last pixel is lost, as in the public code.
    """
    centre = inner // 2
    return max(0, centre - outer // 2), min(centre + outer // 2, inner)


def _resized(passes: Sequence[Pass], shape: tuple[int, int], aligned: bool = False) -> list[Maps]:
    """Resize the maps of each pass to a shape (height, width); returns float32."""
    return [
        {name: _resize(maps, shape, aligned) for name, maps in one.maps.items()} for one in passes
    ]


def _resize(maps: Tensor, shape: tuple[int, int], aligned: bool) -> Tensor:
    if maps.shape[-2:] == shape:
        return maps.float()
    from torch.nn import functional as F

    return F.interpolate(maps.float(), size=shape, mode="bilinear", align_corners=aligned)


FITTINGS: dict[str, type[Fitting]] = {
    "higherhrnet": HigherHRNetFitting,
    "mmpose_hourglass": MMPoseHourglassFitting,
    "mmpose1": MMPose1Fitting,
    "openmodelzoo": OpenModelZooFitting,
    "poseae": PoseAEFitting,
    "cornernet": CornerNetFitting,
}
"""Fittings by their names in model files."""
