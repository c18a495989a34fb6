"""What datasets of photos in a folder have in common, whatever their labels are."""

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
    """An image of a dataset; its size in pixels is None where the annotations do not say."""

    file: str
    width: int | None
    height: int | None


class Labels(Protocol):
    """The labels of one image, as far as every dataset has them."""

    image_id: int
    file: str
    width: int | None
    height: int | None


AnyLabels = TypeVar("AnyLabels", bound=Labels)


class Photos:
    """The base of datasets whose images are files: a subclass fills these and writes `load`.

    images: the folder of the files. annotations: the file or folder of their labels.
    _labels: one entry an image. report: every fault that was found.
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
        """Read a sample; reduce (1, 2, 4 or 8) shrinks it while the image is decoded.

        Raises UserError, naming the file, if the image cannot be read or has another size than
        the annotations say.
        """
        raise NotImplementedError

    @property
    def image_labels(self) -> list:
        """The labels of each image that counts."""
        return self._labels

    @property
    def ids(self) -> list[int]:
        """The image ids, in the order of the samples."""
        return [image.image_id for image in self._labels]

    def info(self, index: int) -> ImageInfo:
        """File name and size of an image as the annotations give them."""
        image = self._labels[index]
        return ImageInfo(image.file, image.width, image.height)

    def size(self, index: int) -> tuple[int, int] | None:
        """Width and height in pixels, None where the annotations do not say."""
        image = self._labels[index]
        return None if None in (image.width, image.height) else (image.width, image.height)

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self.images / self._labels[index].file

    def check_images(self) -> list[Problem]:
        """Read every image once; leave out from now on, and report, those that are broken.

        Takes a few milliseconds an image. Returns the problems found.
        """
        found, whole = [], []
        for index, labels in enumerate(self._labels):
            try:
                self.load(index, 8)
                whole.append(labels)
            except UserError as error:
                kind = "image cannot be read, left out"
                found.append(Problem(kind, labels.file, labels.image_id, detail=str(error)))
        self._labels = whole
        self.report += found
        return found

    def keep(self, indices: Sequence[int]) -> None:
        """Only these images count from now on, in this order."""
        self._labels = [self._labels[index] for index in indices]

    def labels_of_task(self) -> dict[str, Any]:
        """The options of a task that the labels settle, such as its skeleton."""
        return {}

    def require_labels(self) -> None:
        """Raises UserError if the set lacks something that training needs to be labelled."""

    def has_instances(self) -> bool:
        """Whether some image has a labelled instance."""
        return any(len(image.boxes) > 0 for image in self._labels)

    def require_instances(self) -> None:
        """Raises UserError, saying what was left out, if not one instance is labelled."""
        if self.has_instances():
            return
        why = f"; what was left out: {summary(self.report, 1)}" if self.report else ""
        raise UserError(
            f"{self.annotations} labels no instance that can be used{' '.join(why.split(chr(10)))}"
        )

    def _ignore_mask(self, labels: Any, image: np.ndarray, reduce: int) -> np.ndarray:
        """(H, W) bool at the annotations' size, True in the regions where nothing is learned."""
        width, height = labels.width, labels.height
        if width is None or height is None:
            height, width = (side * reduce for side in image.shape[:2])
        ignore = np.zeros((height, width), bool)
        try:
            for region in labels.regions:
                paint_region(ignore, region)
        except ValueError as error:  # only where the annotations do not say the image's size
            raise UserError(f"{self.annotations}: image {labels.file}: {error}") from None
        return ignore

    def _existing(self, labels: Sequence[AnyLabels], keep_missing: bool = False) -> list[AnyLabels]:
        """The images whose files are there; raises UserError if none is.

        keep_missing: all images, as long as one is there.
        """
        if not labels:
            raise UserError(f"{self.annotations} lists no image that can be used")
        found, there = [], 0
        for image in labels:
            if not _is_file(self.images / image.file) and "\\" in image.file:
                image.file = image.file.replace("\\", "/")  # as programs on Windows write it
            exists = _is_file(self.images / image.file)
            there += exists
            if exists or keep_missing:
                found.append(image)
            else:
                kind = "image file is missing, image left out"
                self.report.append(Problem(kind, image.file, image.image_id))
        if not there:
            raise UserError(
                f"none of the {len(labels)} images of {self.annotations} is in {self.images}; "
                "give the folder that their file names start from"
            )
        return found

    def _read(self, index: int, reduce: int) -> np.ndarray:
        labels, path = self._labels[index], self.path(index)
        said = (labels.height, labels.width)
        image = read_image(path, reduce)
        if None in said:
            return image
        want = tuple(-(-side // reduce) for side in said)
        if image.shape[:2] != want and image.shape[1::-1] == want:
            image = read_image(path, reduce, upright=False)  # labelled as stored, not as shown
        if image.shape[:2] != want:
            height, width = image.shape[:2]
            raise UserError(
                f"image {path} is {width * reduce}×{height * reduce}, but {self.annotations} "
                f"says {said[1]}×{said[0]}; were the images resized?"
            )
        return image


def _is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
