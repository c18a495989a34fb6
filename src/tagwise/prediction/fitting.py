"""How images are fitted into a network's input, and how its maps of several passes are joined.

`FitInside` and `Tiled` are defined here. The fittings of published tests, which model files refer
to by name, are in `tagwise.prediction.published_fittings`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from tagwise.data.regions import Size
from tagwise.data.transforms import Affine, fit_affine
from tagwise.prediction import tta
from tagwise.prediction.tiles import in_tiles
from tagwise.prediction.tta import Maps, Pass
from tagwise.tasks.base import Head, Task

if TYPE_CHECKING:
    from torch import Tensor

    from tagwise.models.network import Network


class Fitting(ABC):
    """A way to fit images into a network's input, and to join the maps of several passes.

    size: (width, height) of the input in pixels, as a fitting understands it.
    scales: of the passes over an image, relative to `size`.
    stride: pixels of the input per cell of the maps that are decoded.
    needs_fp32: whether its results are only right in float32.
    fuses_one_pass: whether the task's `merge_results` is applied to the result of a single pass
        too. Other fittings skip it.
    """

    size: Size | None
    scales: tuple[float, ...]
    stride: int
    needs_fp32: ClassVar[bool] = False
    fuses_one_pass: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        """Create the fitting of a model; size: (width, height), None for the model's own."""

    @abstractmethod
    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
        """Fit an image (H, W, 3) uint8 into the input at a scale.

        Returns the input (h, w, 3) uint8, and the map from pixels of the image to the pixels in
        which the task decodes.
        """

    @property
    def base(self) -> int:
        """Index of the scale on whose grid the maps are decoded: the one nearest to 1.

        Raises UserError for scales that the fitting cannot join.
        """
        return int(np.argmin(np.abs(np.log(self.scales))))

    def run(self, network: Callable[[Tensor], Maps], images: Tensor) -> Maps:
        """Return the network's maps of a batch of inputs (B, 3, h, w) uint8."""
        return network(images)

    def join(self, passes: Sequence[Pass], task: Task, size: Size) -> Maps:
        """Join the maps of several passes into one set, for tasks that merge maps.

        passes: already mirrored back, see `Pass.upright`.
        size: (width, height) of the input of the base scale; maps are resampled to its grid.
        """
        base = self.scales[self.base]
        grid = (size[1] // self.stride, size[0] // self.stride)
        aligned = [
            {
                name: tta.resample(maps, grid, (one.scale / base, one.scale / base))
                for name, maps in one.maps.items()
            }
            for one in passes
        ]
        return tta.merge(
            aligned,
            task.heads(),
            to_values=task.heatmap_values,
            to_raw=task.heatmap_raw,
            tag_norm=task.tag_norm,
        )


@dataclass(frozen=True)
class FitInside(Fitting):
    """Scale the image to fit into the input, and keep its aspect ratio.

    For portrait images, width and height of a landscape input are swapped, and vice versa. Each
    side is padded only to the next multiple of `multiple`.
    """

    size: Size
    scales: tuple[float, ...]
    stride: int
    multiple: int

    @classmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        return cls(size or model.spec.input_size, scales, model.stride, model.multiple)

    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
        height, width = image.shape[:2]
        portrait = (height > width) != (self.size[1] > self.size[0])
        box = self.size[::-1] if portrait else self.size
        return _letterbox(image, (box[0] * scale, box[1] * scale), self.multiple)


@dataclass(frozen=True)
class Tiled(Fitting):
    """Scale the image by `zoom`, and run the network over it in tiles.

    size: largest (width, height) of a tile, in pixels.
    heads: heads of the task, see `tagwise.prediction.tiles.in_tiles`.
    """

    size: Size
    scales: tuple[float, ...]
    stride: int
    multiple: int
    zoom: float
    heads: dict[str, Head]

    @classmethod
    def for_model(cls, model: Network, size: Size | None, scales: tuple[float, ...]) -> Self:
        tile, task = size or model.spec.input_size, model.task
        return cls(tile, scales, model.stride, model.multiple, task.zoom, task.heads())

    def fit(self, image: np.ndarray, scale: float) -> tuple[np.ndarray, Affine]:
        height, width = image.shape[:2]
        box = (width * self.zoom * scale, height * self.zoom * scale)
        return _letterbox(image, box, self.multiple)

    def run(self, network: Callable[[Tensor], Maps], images: Tensor) -> Maps:
        return in_tiles(
            network,
            images,
            self.heads,
            tile=self.size,
            overlap=min(self.size) // 4,
            multiple=self.multiple,
            stride=self.stride,
        )


def _letterbox(
    image: np.ndarray, box: tuple[float, float], multiple: int
) -> tuple[np.ndarray, Affine]:
    """Fit an image into a box (width, height), centred on grey; returns it and the map to it."""
    affine, size = fit_affine(image.shape[1::-1], box, multiple)
    return affine.image(image, size), affine
