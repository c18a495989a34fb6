"""The base class of datasets whose images are files in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from tagwise.data.images import read_image
from tagwise.data.regions import paint_region
from tagwise.data.report import Problem, summary
from tagwise.data.sample import Sample
from tagwise.errors import UserError


class ImageInfo(NamedTuple):
    """The file name and the size in pixels of an image; None if the annotations lack the size."""

    file: str
    width: int | None
    height: int | None


class Labels(Protocol):
    """The fields that the labels of one image have in every dataset."""

    image_id: int
    file: str
    width: int | None
    height: int | None


AnyLabels = TypeVar("AnyLabels", bound=Labels)


class Photos:
    """The base class of datasets whose images are files.

    A subclass sets the attributes below and implements `load`.

    images: the folder of the image files. annotations: the file or folder of the labels.
    report: the problems found. _labels: one entry per image.
    """

    images: Path
    annotations: Path
    report: list[Problem]
    _labels: list

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Sample:
        return self.load(index)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample and shrink it by the factor `reduce` (1, 2, 4 or 8) during decoding.

        Raises UserError, naming the file, if the image cannot be read or its size differs from
        that in the annotations.
        """
        raise NotImplementedError

    @property
    def image_labels(self) -> list:
        """The labels of each image in the dataset."""
        return self._labels

    @property
    def ids(self) -> list[int]:
        """The image ids, in the order of the samples."""
        return [image.image_id for image in self._labels]

    def info(self, index: int) -> ImageInfo:
        """The file name and size of an image, as given in the annotations."""
        image = self._labels[index]
        return ImageInfo(image.file, image.width, image.height)

    def size(self, index: int) -> tuple[int, int] | None:
        """The width and height in pixels; None if the annotations do not give them."""
        image = self._labels[index]
        return None if None in (image.width, image.height) else (image.width, image.height)

    def path(self, index: int) -> Path:
        """The path of an image file."""
        return self.images / self._labels[index].file

    def check_images(self) -> list[Problem]:
        """Read every image once; remove broken images from the dataset and report them.

        Takes a few milliseconds per image. Returns the problems found.
        """
        problems, readable = [], []
        for index, labels in enumerate(self._labels):
            try:
                self.load(index, 8)
                readable.append(labels)
            except UserError as error:
                what = "image cannot be read, left out"
                problems.append(Problem(what, labels.file, labels.image_id, detail=str(error)))
        self._labels = readable
        self.report += problems
        return problems

    def keep(self, indices: Sequence[int]) -> None:
        """Reduce the dataset to these images, in this order."""
        self._labels = [self._labels[index] for index in indices]

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels, such as the skeleton."""
        return {}

    def require_labels(self) -> None:
        """Raise UserError if the dataset lacks labels that training needs."""

    def count_instances(self) -> int | None:
        """The number of labelled instances; None if counting them means reading every image."""
        return sum(len(image.boxes) for image in self._labels)

    def has_instances(self) -> bool:
        """Whether at least one image has a labelled instance."""
        return any(len(image.boxes) > 0 for image in self._labels)

    def require_instances(self) -> None:
        """Raise UserError, with a summary of the problems, if no instance is labelled."""
        if self.has_instances():
            return
        problems = f"; {' '.join(summary(self.report, 1).splitlines())}" if self.report else ""
        raise UserError(f"{self.annotations} has no labelled instance that can be used{problems}")

    def _ignore_mask(self, labels: Any, image: np.ndarray, reduce: int) -> np.ndarray:
        """(H, W) bool, True in the ignored regions, at the size given in the annotations."""
        width, height = labels.width, labels.height
        if width is None or height is None:
            height, width = (side * reduce for side in image.shape[:2])
        ignore = np.zeros((height, width), bool)
        try:
            for region in labels.regions:
                paint_region(ignore, region)
        except ValueError as error:  # possible only if the annotations lack the image size
            raise UserError(f"{self.annotations}: image {labels.file}: {error}") from None
        return ignore

    def _existing(self, labels: Sequence[AnyLabels], keep_missing: bool = False) -> list[AnyLabels]:
        """Return the images whose files exist, and report the others.

        keep_missing: return all images.
        Raises UserError if none of the files exists.
        """
        if not labels:
            raise UserError(f"{self.annotations} lists no images that can be used")
        kept, existing = [], 0
        for image in labels:
            if not _is_file(self.images / image.file) and "\\" in image.file:
                image.file = image.file.replace("\\", "/")  # the separator of Windows
            exists = _is_file(self.images / image.file)
            existing += exists
            if exists or keep_missing:
                kept.append(image)
            else:
                what = "image file is missing, image left out"
                self.report.append(Problem(what, image.file, image.image_id))
        if not existing:
            raise UserError(
                f"none of the {len(labels)} images of {self.annotations} is in {self.images}; "
                "give the folder that their file names are relative to"
            )
        return kept

    def _read(self, index: int, reduce: int) -> np.ndarray:
        labels, path = self._labels[index], self.path(index)
        given = (labels.height, labels.width)
        image = read_image(path, reduce)
        if None in given:
            return image
        expected = tuple(-(-side // reduce) for side in given)
        if image.shape[:2] != expected and image.shape[1::-1] == expected:
            # The labels were made without applying the EXIF orientation.
            image = read_image(path, reduce, upright=False)
        if image.shape[:2] != expected:
            height, width = image.shape[:2]
            raise UserError(
                f"image {path} is {width * reduce}×{height * reduce}, but {self.annotations} "
                f"gives {given[1]}×{given[0]}; use the original images that were labelled"
            )
        return image


def _is_file(path: Path) -> bool:
    """Whether a path is an existing file; False for a name that the system does not allow."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
