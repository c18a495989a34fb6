"""The base class of synthetic datasets, and the textures that they share.

Synthetic scenes are meant for tests, for first runs without data, and for pretraining.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tagwise.data.images import shrink
from tagwise.data.photos import ImageInfo
from tagwise.data.regions import Size
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.files import whole_file


class Scenes:
    """The base class of datasets that draw their images.

    A subclass implements `_scene`, `_annotation` and `_categories`.

    length: the number of scenes. seed: scene i depends only on (seed, i) and the other arguments.
    size: (width, height) in pixels.
    """

    def __init__(self, length: int, seed: int, size: Size) -> None:
        self.seed = seed
        self.report: list[Problem] = []
        self._length, self._size = length, (int(size[0]), int(size[1]))

    def __len__(self) -> int:
        return self._length

    @property
    def ids(self) -> list[int]:
        """The image ids, which count from 1."""
        return list(range(1, self._length + 1))

    def info(self, index: int) -> ImageInfo:
        """The size of a scene and the file name under which `save` writes it."""
        return ImageInfo(f"{index + 1:06d}.png", *self._size)

    def size(self, index: int) -> Size:
        """Width and height in pixels."""
        return self._size

    def __getitem__(self, index: int) -> Sample:
        return self.load(index)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Draw a scene and shrink it by the factor `reduce` (1, 2, 4 or 8)."""
        if not 0 <= index < self._length:
            raise IndexError(f"scene index {index} is out of range: there are {self._length}")
        rng = np.random.default_rng((self.seed, index))
        sample = self._scene(rng, index)
        sample.image = shrink(sample.image, reduce)
        return reduced(sample, reduce)

    def to_coco(self) -> dict[str, Any]:
        """The labels of all scenes as the content of a COCO annotation file."""
        return self._coco([self.load(index) for index in range(len(self))])

    def save(self, folder: str | Path) -> Path:
        """Write images/*.png and annotations.json into a folder; return the path of the JSON file.

        Label maps, where scenes have them, are written to labels/*.png as 16-bit images.
        """
        folder, samples = Path(folder), []
        for index in range(len(self)):
            sample, file = self.load(index), self.info(index).file
            _write_png(folder / "images" / file, cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
            if sample.labels is not None:
                _write_png(folder / "labels" / file, sample.labels.astype(np.uint16))
            samples.append(replace(sample, image=sample.image[:0], labels=None))
        path = folder / "annotations.json"
        with whole_file(path) as file:
            file.write(json.dumps(self._coco(samples)).encode())
        return path

    def _coco(self, samples: list[Sample]) -> dict[str, Any]:
        images, annotations = [], []
        for index, sample in enumerate(samples):
            file, width, height = self.info(index)
            images.append({"id": index + 1, "file_name": file, "width": width, "height": height})
            for n, (box, area) in enumerate(zip(sample.boxes, sample.areas)):
                entry = {"id": len(annotations) + 1, "image_id": index + 1, "iscrowd": 0}
                entry |= {"bbox": [float(v) for v in box], "area": float(area)}
                annotations.append(entry | self._annotation(sample, n))
        return {"images": images, "annotations": annotations, "categories": self._categories()}

    def _scene(self, rng: np.random.Generator, index: int) -> Sample:
        raise NotImplementedError

    def _annotation(self, sample: Sample, n: int) -> dict[str, Any]:
        """The fields of an instance's COCO annotation, except its ids, box and area."""
        raise NotImplementedError

    def _categories(self) -> list[dict[str, Any]]:
        """The "categories" of the COCO file."""
        raise NotImplementedError


def _write_png(path: Path, image: np.ndarray) -> None:
    with whole_file(path) as file:
        file.write(cv2.imencode(".png", image)[1].tobytes())


def clouds(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Generate a texture (height, width, 3) uint8 of coloured clouds of several sizes."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for cells, share in ((3, 0.5), (8, 0.3), (40, 0.2)):
        grid = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        cloud = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR)
        image = cv2.scaleAdd(cloud, share, image)
    return image


def background(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Generate a texture (height, width, 3) uint8 of coloured clouds with lines and shapes."""
    image = clouds(rng, size)
    for _ in range(rng.integers(0, 12)):
        a, b = (tuple(int(v) for v in rng.integers(0, size)) for _ in range(2))
        colour, shape = random_colour(rng), rng.integers(3)
        if shape == 0:
            cv2.line(image, a, b, colour, int(rng.integers(1, 12)), cv2.LINE_AA)
        elif shape == 1:
            cv2.rectangle(image, a, b, colour, int(rng.integers(1, 6)))
        else:
            cv2.circle(image, a, int(rng.integers(4, 40)), colour, -1, cv2.LINE_AA)
    return image


def random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw a colour whose channels are between 30 and 255."""
    return tuple(int(v) for v in rng.integers(30, 256, 3))


def paint_textured(
    rng: np.random.Generator, image: np.ndarray, layer: np.ndarray, mask: np.ndarray
) -> None:
    """Copy a layer into the image where the mask is not 0, multiplied by a random texture.

    image, layer: (H, W, 3) uint8; the image is changed in place. mask: (H, W) uint8.
    """
    x, y, w, h = cv2.boundingRect(mask)
    if not w or not h:
        return
    cut = np.s_[y : y + h, x : x + w]
    grain = rng.integers(96, 160, (max(2, h // 4), max(2, w // 4)), np.uint8)
    grain = cv2.resize(grain, (w, h), interpolation=cv2.INTER_LINEAR)
    rough = cv2.multiply(layer[cut], cv2.merge([grain] * 3), scale=1 / 128)
    cv2.copyTo(rough, mask[cut], image[cut])
