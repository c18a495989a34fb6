"""Labels of images in the explorer, and how results compare with them."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.geometry import iou, oks, to_xyxy
from tagwise.results import Boxes, Masks, Poses, Result
from tagwise.results.base import rounded
from tagwise.tasks import Task

LEAST = 0.5
"""The similarity (OKS, or intersection over union) from which an instance counts as found."""


class LabelledSet:
    """A set of labelled photos, opened for each model that asks for it.

    model, task: the first of these models, and its task.
    Raises UserError if no image is listed, or none exists.
    """

    def __init__(self, annotations: str | Path, images: str | Path, model: str, task: Task) -> None:
        self._paths = Path(annotations), Path(images)
        self._lock = Lock()
        first = task.open_dataset(*self._paths, like=task)
        self._opened: dict[str, Photos | None] = {model: first}
        self.names = [first.info(index).file for index in range(len(first))]

    def path(self, index: int) -> Path:
        """The file of a photo. Raises UserError if there is none of this index."""
        if not 0 <= index < len(self.names):
            raise UserError(f"there is no labelled photo {index}; there are {len(self.names)}")
        return self._paths[1] / self.names[index]

    def truth(
        self, model: str, task: Task, name: str | None, size: tuple[int, int]
    ) -> Truth | None:
        """The labels of a photo for the task of a model.

        name: of the file. size: (width, height) of the photo that was read. None if the set has no
        photo of this name and size, or cannot be read for this task.
        """
        dataset = self._for(model, task)
        matches = [n for n in self.names if name and Path(n).name == Path(name).name]
        if dataset is None or len(matches) != 1:
            return None
        files = [dataset.info(index).file for index in range(len(dataset))]
        try:
            sample = dataset.load(files.index(matches[0]))
        except (UserError, ValueError):
            return None
        return Truth(task, sample) if sample.image.shape[1::-1] == size else None

    def _for(self, model: str, task: Task) -> Photos | None:
        with self._lock:
            if model not in self._opened:
                try:
                    self._opened[model] = task.open_dataset(*self._paths, like=task)
                except UserError:  # labels of another task
                    self._opened[model] = None
            return self._opened[model]


class Truth:
    """The labels of one photo."""

    def __init__(self, task: Task, sample: Sample) -> None:
        self.task, self.sample = task, sample

    def to_dict(self) -> dict[str, Any]:
        """The labelled instances as shapes: keypoints with visibility, boxes, or outlines."""
        sample = self.sample
        if self.task.result is Poses:
            return {"keypoints": rounded(sample.keypoints, 1).tolist()}
        if self.task.result is Masks and sample.labels is not None:
            masks = Masks(sample.labels, np.ones(int(sample.labels.max(initial=0))))
            return {"outlines": [[p.tolist() for p in parts] for parts in masks.polygons()]}
        return {"boxes": rounded(sample.boxes, 1).tolist(), "classes": sample.classes.tolist()}

    def compare(self, result: Result) -> dict[str, Any]:
        """The similarity of each instance with its label, 0 without one, and counts.

        Pairs are one-to-one with the largest sum; the measure is OKS for poses, else IoU.
        """
        table = self._table(result)
        found, true = linear_sum_assignment(table, maximize=True)
        similarity = np.zeros(len(result))
        similarity[found] = table[found, true]
        hits = int((similarity >= LEAST).sum())
        return {
            "measure": "OKS" if isinstance(result, Poses) else "IoU",
            "similarity": rounded(similarity, 3).tolist(),
            "found": hits,
            "missed": table.shape[1] - hits,
            "extra": len(result) - hits,
        }

    def _table(self, result: Result) -> np.ndarray:
        sample = self.sample
        if isinstance(result, Poses):
            labelled = (sample.keypoints[..., 2] > 0).any(axis=1)
            sigmas = np.array(result.skeleton.sigmas)
            return oks(result.keypoints, sample.keypoints[labelled], sample.areas[labelled], sigmas)
        if isinstance(result, Masks) and sample.labels is not None:
            return _mask_iou(result.labels, sample.labels, len(result))
        table = iou(to_xyxy(result.boxes), to_xyxy(sample.boxes))
        if isinstance(result, Boxes):
            table = table * (result.classes[:, None] == sample.classes[None])
        return table


def _mask_iou(found: np.ndarray, true: np.ndarray, count: int) -> np.ndarray:
    """Intersection over union (count, M) of the instances of two label maps of one size."""
    others = int(true.max(initial=0))
    pairs = found.astype(np.int64).ravel() * (others + 1) + true.clip(0).ravel()
    shared = np.bincount(pairs, minlength=(count + 1) * (others + 1)).reshape(count + 1, -1)
    union = shared.sum(1)[1:, None] + shared.sum(0)[None, 1:] - shared[1:, 1:]
    return shared[1:, 1:] / np.maximum(union, 1)
