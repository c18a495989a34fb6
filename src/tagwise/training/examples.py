"""A few validation images, whose results are kept at each validation for the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.files import append_line, trim_lines
from tagwise.results import Boxes, Masks, Poses, Result
from tagwise.results.base import rounded, with_none
from tagwise.tasks import Task, read_result

_SIDE = 480  # the longest side of a picture in the report, in pixels
_ENLARGED = 4.0  # the most that small images are enlarged
_ROWS = 20  # the most rows of a plot of tags


class Example(NamedTuple):
    """The results of a validation for one image.

    found: what the network found. tags: (N, R, D) its tags at the R true detections of the N
    labelled instances, NaN where one is not labelled; None for tasks without such a measure.
    """

    found: Result
    tags: np.ndarray | None


class TrueTags(NamedTuple):
    """Tags at true detections, in the form that `plot_tags` takes; names: of the R rows."""

    names: Sequence[str]
    tags: np.ndarray
    file: str | None

    def __len__(self) -> int:
        return len(self.tags)

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        """The names, scores (all 0.5) and tags of the rows."""
        return self.names, np.full(self.tags.shape[:2], 0.5), self.tags


class Examples:
    """The same few images of a validation set at every validation, with what was found in them.

    Results are kept in examples.jsonl in the folder of the run, one line for each image and
    validation, so that a resumed run has those of the earlier one.

    start: the step at which the run starts or continues; results of later steps are removed.
    threshold: the lowest score of an instance in the pictures.
    """

    def __init__(self, folder: Path, val: Photos, threshold: float, start: int = 0) -> None:
        self.path, self.val, self.threshold = folder / "examples.jsonl", val, threshold
        self.indices = choose_examples(val)
        self._photos: dict[int, tuple[np.ndarray, np.ndarray, Result] | None] = {}
        rows, _ = trim_lines(self.path, lambda row: _is_example(row) and row["step"] <= start)
        self._rows: list[dict[str, Any]] = [row for row in rows if row["image"] in self.indices]

    def wanted(self) -> dict[int, Example | None]:
        """The dict that `validate` fills with the results of these images."""
        return dict.fromkeys(self.indices)

    def add(self, step: int, results: dict[int, Example | None]) -> None:
        """Keep the results of a validation. Raises UserError if they cannot be written."""
        for index, example in results.items():
            if example is None:
                continue
            found = example.found.above(self.threshold).to_dict()
            tags = None if example.tags is None else with_none(rounded(example.tags, 4))
            row = {"step": step, "image": index, "found": found, "tags": tags}
            append_line(self.path, row)
            self._rows.append(row)

    def steps(self) -> list[int]:
        """The steps of all validations, in order."""
        return sorted({row["step"] for row in self._rows})

    def found(self, index: int, step: int) -> Result | None:
        """The result of an image at a validation; None if there is none."""
        for row in self._rows:
            if (row["image"], row["step"]) == (index, step):
                try:
                    return read_result(row["found"], self.path)
                except UserError as error:  # a line that was changed by hand
                    print(f"tagwise: {error}", file=sys.stderr)
        return None

    def tags(self, index: int, step: int) -> TrueTags | None:
        """The tags at the true detections of an image at a validation; None if there are none."""
        for row in self._rows:
            if (row["image"], row["step"]) == (index, step) and row.get("tags"):
                tags = np.array(row["tags"], float)[:, :_ROWS]
                found = self.found(index, step)
                names = [] if found is None else found.tag_rows()[0]
                if len(names) != tags.shape[1]:
                    names = [str(number) for number in range(1, tags.shape[1] + 1)]
                return TrueTags(names, tags, self.val.info(index).file)
        return None

    def pictures(
        self, index: int, steps: list[int], task: Task
    ) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Draw an image with its labels, and with the results of some validations.

        Returns arrays (H, W, 3) uint8 RGB of at most 480 pixels, or None for an unreadable image.
        """
        if index not in self._photos:
            self._photos[index] = self._read(index, task)
        photo = self._photos[index]
        if photo is None:
            return None
        image, affine, truth = photo
        results = [truth]
        for step in steps:
            found = self.found(index, step)
            results.append(truth[:0] if found is None else self._shrunk(found, affine, image))
        drawn = [
            result.draw(image, labels=result is not truth) if len(result) else image
            for result in results
        ]
        return drawn[0], drawn[1:]

    def truth_count(self, index: int) -> int:
        """The number of labelled instances of an image that was drawn."""
        photo = self._photos.get(index)
        return len(photo[2]) if photo else 0

    def _read(self, index: int, task: Task) -> tuple[np.ndarray, np.ndarray, Result] | None:
        """A small image, the map from pixels of the image to its pixels, and its labels."""
        try:
            sample = self.val.load(index)
        except UserError:  # reported during validation
            return None
        height, width = sample.image.shape[:2]
        scale = min(_ENLARGED, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = cv2.resize(sample.image, size, interpolation=how)
        x, y = size[0] / width, size[1] / height
        affine = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
        return image, affine, self._shrunk(labelled_result(sample, task), affine, image)

    @staticmethod
    def _shrunk(result: Result, affine: np.ndarray, image: np.ndarray) -> Result:
        height, width = image.shape[:2]
        return result.transform(affine, width=width, height=height)


def choose_examples(val: Photos, count: int = 4) -> list[int]:
    """Choose images of a validation set for pictures, evenly spread over the set.

    Images with several instances are preferred, because only these show how well tags separate.
    """
    labelled = [len(getattr(image, "boxes", ())) for image in val.image_labels]
    for least in (2, 1, 0):
        indices = [index for index, instances in enumerate(labelled) if instances >= least]
        if len(indices) >= min(count, len(labelled)):
            break
    places = np.linspace(0, len(indices) - 1, min(count, len(indices)))
    return [indices[round(place)] for place in places]


def labelled_result(sample: Sample, task: Task) -> Result:
    """The labels of a sample as a result of the task, with a score of 1, in pixels of its image.

    Raises UserError for a task with results of its own.
    """
    ones = np.ones(len(sample.boxes), np.float32)
    if issubclass(task.result, Poses):
        keypoints = sample.keypoints.astype(np.float32).copy()
        missing = ~(keypoints[..., 2] > 0)
        keypoints[..., 2] = 1
        keypoints[missing] = (np.nan, np.nan, 0)
        return Poses(keypoints, ones, None, task.skeleton)
    if issubclass(task.result, Boxes):
        return Boxes(sample.boxes, ones, sample.classes, task.classes)
    if issubclass(task.result, Masks):
        return Masks(sample.labels, ones)
    raise UserError(f"the labels of the {task.name} task cannot be drawn")


def _is_example(row: dict[str, Any]) -> bool:
    return type(row.get("step")) is int and type(row.get("image")) is int and "found" in row
