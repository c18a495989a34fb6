"""A folder of images and one of label maps, as samples."""

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

# To tell what kind of maps a folder holds: how many are looked at, and how many numbers and pieces
# of each a map of classes has.
_LOOKED_AT, _FEW_NUMBERS, _MANY_PIECES = 20, 20, 3


@dataclass(frozen=True)
class _Entry:
    """An image and its label map."""

    image_id: int
    file: str
    width: int
    height: int
    labels: Path


class LabelMaps(Photos):
    """Images whose instances are given pixel by pixel.

    images: a folder of images. labels: a folder with a label map of the same name (but for the
        ending) for each: a PNG or TIFF of one channel of integers, 8, 16 or 32 bits, 0 where
        there is nothing and any other number for the pixels of an instance, gaps allowed.

    Images are taken in the order of their names, and their ids count from 1. What has no label
    map, or one of another size, with colours or that cannot be read, is named in `report` and
    left out; only folders that leave no image raise UserError.

    Maps that evidently are foreground masks, with one number for all instances, are split into
    their connected regions (of 8 neighbours), and `report` says so: every map looked at has a
    single number, and in half of them or more it lies in several regions.

    >>> data = LabelMaps("nuclei/train/images", "nuclei/train/labels")  # doctest: +SKIP
    >>> int(data[0].labels.max()), len(data[0].boxes)  # doctest: +SKIP
    (36, 36)
    """

    flip: tuple[int, ...] = ()  # no keypoints that change sides in a mirror

    def __init__(self, images: str | Path, labels: str | Path) -> None:
        self.images, self.annotations = Path(images), Path(labels)
        self.report: list[Problem] = []
        maps = {path.stem: path for path in _files(self.annotations, _MAPS)}
        self._labels: list[_Entry] = []
        for number, path in enumerate(_files(self.images, SUFFIXES), 1):
            try:
                self._labels.append(_entry(number, path, maps.pop(path.stem, None)))
            except _FaultError as fault:
                kind = f"{fault.kind}, image left out"
                self.report.append(Problem(kind, path.name, number, detail=fault.detail))
        self.report += [
            Problem("label map without an image, left out", path.name) for path in maps.values()
        ]
        if not self._labels:
            why = f" ({self.report[0].kind}: {self.report[0]})" if self.report else ""
            raise UserError(
                f"no image of {self.images} has a label map of the same name in "
                f"{self.annotations}{why}"
            )
        kind, problem = _meaning_of([entry.labels for entry in self._labels])
        self._split = kind == "foreground"
        self.report += [problem] if problem else []

    def has_instances(self) -> bool:
        """Whether some label map has an instance."""
        return any(self.label_map(index).any() for index in range(len(self)))

    def label_map(self, index: int) -> np.ndarray:
        """The label map of an image, (H, W) int32, its N instances as 1 to N.

        Raises UserError, naming the file, if it cannot be read.
        """
        labels = _read_map(self._labels[index].labels)
        return _regions(labels) if self._split and _has_one_number(labels) else _consecutive(labels)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see Photos.load."""
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


def _files(folder: Path, endings: Collection[str]) -> list[Path]:
    """The files of a folder that have one of the endings, by name."""
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in endings)


class _FaultError(Exception):
    """Why an image is left out: in words that others share, and what else is known."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


def _entry(number: int, image: Path, labels: Path | None) -> _Entry:
    """An image with its label map. Raises _FaultError, saying in short what is wrong with it."""
    if labels is None:
        raise _FaultError("no label map")
    size, bands = _header(labels, "label map")
    if len(bands) != 1 or bands[0] == "F":
        raise _FaultError("label map is not one channel of integers")
    shown, _ = _header(image, "image")
    if size not in (shown, shown[::-1]):  # turned about if the camera's note says so
        raise _FaultError("label map is of another size")
    return _Entry(number, image.name, *size, labels)


def _header(path: Path, what: str) -> tuple[Size, tuple[str, ...]]:
    """The size and the channels of an image file. Raises _FaultError if it is none."""
    try:
        with opened(path, what) as picture:
            return picture.size, picture.getbands()
    except UserError as error:
        raise _FaultError(f"{what} is empty or cannot be read", str(error)) from None


def _read_map(path: Path) -> np.ndarray:
    """A label map (H, W) of integers. Raises UserError, naming the file."""
    with opened(path, "label map") as picture:
        # NumPy would make a bool of a bit that Pillow stores as 255, which equals no other True.
        return np.array(picture.convert("L") if picture.mode == "1" else picture)


# ---------------------------------------------------------------------- what the numbers mean


def _meaning_of(maps: list[Path]) -> tuple[str, Problem | None]:
    """Whether maps hold "instances", "foreground" masks or "classes", and a word if not instances.

    Reads maps until one is like those of instances: mostly the first, twenty at most.
    """
    counts = []
    for path in maps[:: -(-len(maps) // _LOOKED_AT)]:
        try:
            numbers, pieces = _pieces(_read_map(path))
        except UserError:  # named when it is needed
            continue
        if numbers > 1 and pieces < _MANY_PIECES * numbers:
            return "instances", None
        counts += [(numbers, pieces)] if numbers else []
    scattered = sum(pieces > numbers for numbers, pieces in counts)
    found = f"{scattered} of {len(counts)} maps looked at"
    if not scattered or 2 * scattered < len(counts):
        return "instances", None
    if all(numbers == 1 for numbers, _ in counts):
        kind = (
            "label maps are foreground masks, with one number for all instances: each connected "
            "region is taken as an instance, and instances that touch as one"
        )
        return "foreground", Problem(kind, detail=found)
    kind = "label maps have few numbers in many pieces: are they classes rather than instances?"
    return "classes", Problem(kind, detail=found)


def _pieces(labels: np.ndarray) -> tuple[int, int]:
    """How many numbers a label map has, and in how many connected regions they lie.

    With more than a few numbers the regions are not counted: as many as numbers.
    """
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    if len(numbers) > _FEW_NUMBERS:
        return len(numbers), len(numbers)
    return len(numbers), sum(int(_regions(labels == number).max()) for number in numbers)


def _regions(labels: np.ndarray) -> np.ndarray:
    """The connected regions of all that is above 0, (H, W) int32, from 1 on."""
    return cv2.connectedComponents((labels > 0).astype(np.uint8), connectivity=8)[1]


def _has_one_number(labels: np.ndarray) -> bool:
    there = labels[labels > 0]
    return bool((there == there[:1]).all())


def _consecutive(labels: np.ndarray) -> np.ndarray:
    """A label map (H, W) int32 whose N instances are 1 to N, in the order of their numbers."""
    labels = np.maximum(labels, 0, dtype=np.int32)
    if labels.max(initial=0) < 1 << 16:
        there = np.bincount(labels.ravel()) > 0
        there[0] = False
        return np.cumsum(there, dtype=np.int32)[labels]
    numbers, places = np.unique(labels, return_inverse=True)  # a table of all could be enormous
    background = int(numbers[0] == 0)
    return places.reshape(labels.shape).astype(np.int32) + (1 - background)
