"""Datasets of a folder of images and a folder of label maps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tagwise.data.images import SUFFIXES
from tagwise.data.photos import Photos
from tagwise.data.pictures import opened
from tagwise.data.regions import Size
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.errors import UserError
from tagwise.label_maps import label_map_instances

_MAPS = (".png", ".tif", ".tiff")

# To detect what the numbers of a folder's label maps mean: the number of maps that are examined,
# the most numbers that a map of classes has, and the fewest regions per number that it has.
_MAX_EXAMINED, _FEW_NUMBERS, _MANY_REGIONS = 20, 20, 3


@dataclass(frozen=True)
class _Entry:
    """An image and its label map."""

    image_id: int
    file: str
    width: int
    height: int
    labels: Path


class LabelMaps(Photos):
    """A dataset of images whose instances are labelled pixel by pixel.

    images: a folder of images. labels: a folder that has a label map for each image, with the same
        name except for the suffix. A label map is a PNG or TIFF with one channel of 8, 16 or 32
        bit integers: 0 for the background and another number for each instance. The numbers may
        have gaps.

    Images are sorted by name, and their ids count from 1. Images whose label map is missing, has
    another size, has colours or cannot be read are left out and listed in `report`. UserError is
    raised only if a folder does not exist or no image is left.

    Foreground masks, with one number for all instances, are split into their connected regions (of
    8 neighbours), and `report` contains a note. Maps are treated as foreground masks if every map
    examined has a single number, which forms several regions in at least half of them.

    >>> data = LabelMaps("nuclei/train/images", "nuclei/train/labels")  # doctest: +SKIP
    >>> int(data[0].labels.max()), len(data[0].boxes)  # doctest: +SKIP
    (36, 36)
    """

    flip: tuple[int, ...] = ()  # there are no keypoint types to swap in a mirrored image

    def __init__(self, images: str | Path, labels: str | Path) -> None:
        self.images, self.annotations = Path(images), Path(labels)
        self.report: list[Problem] = []
        maps = {path.stem: path for path in _files(self.annotations, _MAPS)}
        self._labels: list[_Entry] = []
        for number, path in enumerate(_files(self.images, SUFFIXES), 1):
            try:
                self._labels.append(_entry(number, path, maps.pop(path.stem, None)))
            except _LabelMapError as fault:
                kind = f"{fault.kind}, image left out"
                self.report.append(Problem(kind, path.name, number, detail=fault.detail))
        self.report += [
            Problem("label map without an image, left out", path.name) for path in maps.values()
        ]
        if not self._labels:
            first = f" ({self.report[0].kind}: {self.report[0]})" if self.report else ""
            raise UserError(
                f"no image of {self.images} has a label map of the same name in "
                f"{self.annotations}{first}"
            )
        meaning, problem = _meaning_of([entry.labels for entry in self._labels])
        self._split = meaning == "foreground"
        self.report += [problem] if problem else []

    def count_instances(self) -> None:
        """None: the label maps would have to be read."""

    def has_instances(self) -> bool:
        """Whether at least one label map has an instance."""
        return any(self.label_map(index).any() for index in range(len(self)))

    def label_map(self, index: int) -> np.ndarray:
        """The label map of an image, (H, W) int32, with its N instances as 1 to N.

        Raises UserError, naming the file, if it cannot be read.
        """
        labels = _read_map(self._labels[index].labels)
        return _regions(labels) if self._split and _has_one_number(labels) else _consecutive(labels)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see `Photos.load`."""
        entry = self._labels[index]
        image = self._read(index, reduce)
        labels = self.label_map(index)
        count = int(labels.max(initial=0))
        boxes, areas = label_map_instances(labels, count)
        sample = Sample(
            image=image,
            keypoints=np.zeros((count, 0, 3), np.float32),
            boxes=boxes,
            areas=areas,
            ignore=np.zeros(labels.shape, bool),
            labelled=np.zeros(0, bool),
            image_id=entry.image_id,
            file=entry.file,
            labels=labels,
        )
        return reduced(sample, reduce)


def _files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of a folder that have one of the suffixes, sorted by name."""
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in suffixes)


class _LabelMapError(Exception):
    """The reason why an image is left out, as the `kind` and `detail` of a Problem."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


def _entry(number: int, image: Path, labels: Path | None) -> _Entry:
    """Pair an image with its label map. Raises _LabelMapError if the map cannot be used."""
    if labels is None:
        raise _LabelMapError("no label map")
    size, bands = _header(labels, "label map")
    if len(bands) != 1 or bands[0] == "F":
        raise _LabelMapError("label map is not one channel of integers")
    image_size, _ = _header(image, "image")
    if size not in (image_size, image_size[::-1]):  # the EXIF orientation may swap the sides
        raise _LabelMapError("label map has another size")
    return _Entry(number, image.name, *size, labels)


def _header(path: Path, what: str) -> tuple[Size, tuple[str, ...]]:
    """The size and the channels of an image file. Raises _LabelMapError if it cannot be read."""
    try:
        with opened(path, what) as picture:
            return picture.size, picture.getbands()
    except UserError as error:
        raise _LabelMapError(f"{what} is empty or cannot be read", str(error)) from None


def _read_map(path: Path) -> np.ndarray:
    """Read a label map (H, W) of integers. Raises UserError, naming the file, if that fails."""
    with opened(path, "label map") as picture:
        # NumPy would make a bool of a bit that Pillow stores as 255, which equals no other True.
        return np.array(picture.convert("L") if picture.mode == "1" else picture)


# ---------------------------------------------------------------------- the meaning of the numbers


def _meaning_of(maps: list[Path]) -> tuple[str, Problem | None]:
    """Detect what the numbers of label maps mean.

    Reads maps, at most 20, until one is evidently a map of instances, which is usually the first.
    Returns "instances", "foreground" or "classes", with a problem to report unless "instances".
    """
    counts = []
    for path in maps[:: -(-len(maps) // _MAX_EXAMINED)]:
        try:
            numbers, regions = _count_regions(_read_map(path))
        except UserError:  # raised again when the map is needed
            continue
        if numbers > 1 and regions < _MANY_REGIONS * numbers:
            return "instances", None
        counts += [(numbers, regions)] if numbers else []
    scattered = sum(regions > numbers for numbers, regions in counts)
    found = f"{scattered} of {len(counts)} maps examined"
    if not scattered or 2 * scattered < len(counts):
        return "instances", None
    if all(numbers == 1 for numbers, _ in counts):
        kind = (
            "label maps are foreground masks, with one number for all instances: each connected "
            "region is treated as one instance, so that instances that touch are merged"
        )
        return "foreground", Problem(kind, detail=found)
    kind = "label maps have few numbers in many regions: are they classes rather than instances?"
    return "classes", Problem(kind, detail=found)


def _count_regions(labels: np.ndarray) -> tuple[int, int]:
    """The number of different labels of a map, and the number of connected regions they form.

    With more than 20 labels, the regions are not counted, and the same number is returned twice.
    """
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    if len(numbers) > _FEW_NUMBERS:
        return len(numbers), len(numbers)
    return len(numbers), sum(int(_regions(labels == number).max()) for number in numbers)


def _regions(labels: np.ndarray) -> np.ndarray:
    """Number the connected regions of the pixels above 0 from 1; (H, W) int32."""
    return cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[1]


def _has_one_number(labels: np.ndarray) -> bool:
    numbers = labels[labels > 0]
    return bool((numbers == numbers[:1]).all())


def _consecutive(labels: np.ndarray) -> np.ndarray:
    """Renumber the N instances of a label map from 1 to N, in the order of their numbers.

    Returns (H, W) int32; negative numbers become background.
    """
    labels = np.maximum(labels, 0, dtype=np.int32)
    if labels.max(initial=0) < 1 << 16:
        present = np.bincount(labels.ravel()) > 0
        present[0] = False
        return np.cumsum(present, dtype=np.int32)[labels]
    # np.unique is slower, but a lookup table of larger numbers could need too much memory.
    numbers, inverse = np.unique(labels, return_inverse=True)
    background = int(numbers[0] == 0)
    return inverse.reshape(labels.shape).astype(np.int32) + (1 - background)
