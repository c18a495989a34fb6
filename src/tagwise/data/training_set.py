"""Samples for training: several datasets mixed and augmented, reproducible by sample number."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import cv2
import numpy as np

from tagwise.data.augment import Augment, apply_view, random_view, vary_colours
from tagwise.data.collage import mosaic, paste
from tagwise.data.regions import Size
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine, warp_sample
from tagwise.errors import UserError

_TRIES = 20  # the number of broken images in a row after which an error is raised


class Dataset(Protocol):
    """The interface of CocoKeypoints, CocoBoxes, LabelMaps and the synthetic datasets."""

    @property
    def flip(self) -> Sequence[int]:
        """For each of K keypoint types, the type that it becomes in a mirrored image.

        Empty without keypoints.
        """

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels: a skeleton, classes or none."""

    def __len__(self) -> int: ...

    def size(self, index: int) -> Size | None:
        """The width and height in pixels; None if they are unknown until the image is read."""

    def load(self, index: int, reduce: int = 1) -> Sample: ...


class TrainingSet:
    """An endless sequence of augmented samples, indexed by number.

    datasets: datasets with the same skeleton or classes (CocoKeypoints, CocoBoxes, LabelMaps, ...).
    weights: the relative frequency of each dataset; None uses their lengths.
    augment: the settings of augmentation. input_size: (width, height) of every image.
    length: samples per epoch; None is the number of images. Any number can be requested. Sample
        `number` depends only on (seed, number), so that a resumed run gets the samples of an
        uninterrupted one.
    cache_bytes: memory per process for decoded images, at the resolution that training needs; 0 for
        none.

    An image that cannot be read is reported once (in `report`, and as a warning) and replaced by
    another one. UserError is raised when 20 in a row cannot be read.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        weights: Sequence[float] | None = None,
        augment: Augment | None = None,
        input_size: Size = (512, 512),
        seed: int = 0,
        length: int | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.datasets = list(datasets)
        self.augment = augment if augment is not None else Augment()
        self.input_size, self.seed = (int(input_size[0]), int(input_size[1])), seed
        _check_same_names(self.datasets)
        lengths = [len(dataset) for dataset in self.datasets]
        shares = np.array(lengths if weights is None else weights, float)
        if len(shares) != len(self.datasets) or shares.min() < 0 or not shares.sum() > 0:
            raise UserError(f"{len(self.datasets)} datasets need as many weights, not {weights}")
        self.shares = shares / shares.sum()
        self.length = sum(lengths) if length is None else length
        self.report: list[Problem] = []
        self._cache: dict[tuple[int, int], Sample] = {}
        self._cache_left = cache_bytes
        self._broken: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        """The augmented sample of this number, at input_size."""
        rng = np.random.default_rng((self.seed, number))
        which = int(rng.choice(len(self.datasets), p=self.shares))
        augment, flip = self.augment, self.datasets[which].flip

        def draw(rng: np.random.Generator) -> Sample:
            return self._draw(rng, which)

        if rng.random() < augment.mosaic:
            sample = mosaic(rng, draw, self.input_size, augment, flip)
        else:
            sample = draw(rng)
            affine = random_view(rng, sample, self.input_size, augment)
            sample = apply_view(sample, affine, self.input_size, flip, augment)
        if rng.random() < augment.paste:
            sample = paste(rng, sample, draw, augment, flip)
        return vary_colours(rng, sample, augment)

    def _draw(self, rng: np.random.Generator, which: int) -> Sample:
        """Draw a sample of a dataset without augmentation; report and replace broken images."""
        for _ in range(_TRIES):
            item = int(rng.integers(len(self.datasets[which])))
            try:
                return self._source(which, item)
            except UserError as error:
                self._report_once(which, item, error)
        raise UserError(
            f"{_TRIES} images in a row could not be read; the last: {self.report[-1].detail}"
        )

    def _report_once(self, which: int, item: int, error: UserError) -> None:
        if (which, item) not in self._broken:
            self._broken.add((which, item))
            problem = Problem("image cannot be read, another image is used", detail=str(error))
            self.report.append(problem)
            warnings.warn(f"{error} (another image is used instead)", stacklevel=4)

    def _source(self, which: int, item: int) -> Sample:
        """Return a sample at the resolution that its largest view needs, cached if possible."""
        key = (which, item)
        if key in self._cache:
            return self._cache[key]
        dataset = self.datasets[which]
        size = dataset.size(item)
        wanted = self._resolution(size) if size else 1.0
        reduce = next(factor for factor in (8, 4, 2, 1) if wanted * factor <= 1)
        sample = _shrunk(dataset.load(item, reduce), wanted * reduce, dataset.flip)
        maps = (sample.image, sample.ignore, sample.labels)
        cost = sum(part.nbytes for part in maps if part is not None)
        if cost <= self._cache_left:
            self._cache_left -= cost
            self._cache[key] = sample
        return sample

    def _resolution(self, size: Size) -> float:
        """The maximum scale, at most 1, at which a view can show an image of `size`."""
        if self.augment.native:
            return min(1.0, self.augment.enlargement())
        across, down = self.input_size
        fit = min(across / size[0], down / size[1])
        if self.augment.quarter:
            fit = max(fit, min(down / size[0], across / size[1]))
        return min(1.0, fit * self.augment.enlargement())


def _shrunk(sample: Sample, scale: float, flip: Sequence[int]) -> Sample:
    """Shrink a sample by `scale`, if that saves at least a fifth of its width."""
    if scale > 0.8:
        return sample
    height, width = sample.image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    affine = Affine.scaling(size[0] / width, size[1] / height)
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
    empty = replace(sample, image=np.zeros((1, 1, 3), np.uint8))
    return replace(warp_sample(empty, affine, size, flip), image=image)


def _check_same_names(datasets: Sequence[Dataset]) -> None:
    """Raise UserError unless all datasets have the same keypoint types or the same classes."""
    if not datasets:
        raise UserError("a training set needs at least one dataset")
    first = _names(datasets[0])
    for dataset in datasets[1:]:
        if _names(dataset) != first:
            raise UserError(
                f"datasets of {_listed(first)} and of {_listed(_names(dataset))} cannot be mixed; "
                "give all of them the same skeleton or classes, with a mapping of names"
            )


def _names(dataset: Dataset) -> tuple[str, list[str]]:
    """What a dataset labels, "keypoints", "classes" or "masks", and the names of these."""
    labels = dataset.labels_of_task()
    if "skeleton" in labels:
        return "keypoints", list(labels["skeleton"]["keypoints"])
    return ("classes", list(labels["classes"])) if "classes" in labels else ("masks", [])


def _listed(names: tuple[str, list[str]]) -> str:
    what, listed = names
    return f"{len(listed)} {what} ({', '.join(listed)})" if listed else what
