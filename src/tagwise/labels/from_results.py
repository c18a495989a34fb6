"""Results of a model as labels: all of them, or confident ones with ignored regions elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tagwise.errors import UserError
from tagwise.label_maps import encode_labels
from tagwise.labels.label_set import Box, Category, Instance, LabelledImage
from tagwise.prediction.sources import Source
from tagwise.results import Boxes, Masks, Poses, Result
from tagwise.tasks import Task

_MARGIN = 0.15  # of a box around keypoints: these end at ankles and eyes, bodies at soles and hair
_AROUND = 0.08  # half the side of the region around an unsure keypoint, relative to the instance


def categories_of(task: Task) -> list[Category]:
    """The categories that a model of a task finds."""
    if issubclass(task.result, Poses):
        skeleton = task.skeleton
        pairs = tuple((a, b) for a, b in enumerate(skeleton.flip) if a < b)
        extra = {"sigmas": list(skeleton.sigmas)}
        return [Category(skeleton.name, skeleton.keypoints, skeleton.edges, pairs, extra)]
    if issubclass(task.result, Boxes):
        return [Category(name) for name in task.classes]
    return [Category("instance")]


def image_of(source: Source, result: Result) -> LabelledImage:
    """A photo or a frame of a video without instances. Raises UserError for an image in memory."""
    size = {"width": result.width, "height": result.height}
    if source.file is not None:
        return LabelledImage(source.file.name, source.file, source.index, **size, group=source.name)
    if result.file is None:
        raise UserError("an image in memory has no file that labels could name; give files")
    return LabelledImage(result.file, source.image, **size)


def instances_of(result: Result, task: Task) -> list[Instance]:
    """All instances of a result as predictions, with their scores."""
    return [_instance(result, n, task) for n in range(len(result))]


def confident_instances(
    result: Result, task: Task, confident: float, least: float
) -> list[Instance]:
    """The confident instances as labels, and regions to ignore where the model is unsure.

    An instance with a score of at least `confident` becomes a label; its keypoints with less than
    half of that are left out, and a small region around each is ignored. The box of an instance
    with a score from `least` to `confident` is ignored. Empty if no instance is confident.
    """
    if not (result.scores >= confident).any():
        return []
    return [
        instance
        for n, score in enumerate(result.scores)
        if score >= least
        for instance in (
            _label(result, n, task, confident / 2)
            if score >= confident
            else [_ignored(result, n, task)]
        )
    ]


def _label(result: Result, n: int, task: Task, least: float) -> Iterator[Instance]:
    instance = _instance(result, n, task)
    instance.score = None
    if instance.keypoints is not None:
        unsure = (instance.keypoint_scores > 0) & (instance.keypoint_scores < least)
        x, y, width, height = result.boxes[n].tolist()
        half = max(4.0, _AROUND * max(width, height))
        for x, y, _ in instance.keypoints[unsure]:
            box = (x - half, y - half, 2 * half, 2 * half)
            yield Instance(instance.category, box=box, crowd=True)
        instance.keypoints[unsure] = 0
        instance.keypoint_scores = None
        if not (instance.keypoints[:, 2] > 0).any():
            yield _ignored(result, n, task)
            return
    yield instance


def _ignored(result: Result, n: int, task: Task) -> Instance:
    margin = _MARGIN if isinstance(result, Poses) else 0.0
    box = _with_margin(result.boxes[n], margin)
    return Instance(_instance(result, n, task).category, box=box, crowd=True)


def _with_margin(box: np.ndarray, share: float) -> Box:
    x, y, width, height = box.astype(float).tolist()
    margin = share * max(width, height)
    return x - margin, y - margin, max(1.0, width + 2 * margin), max(1.0, height + 2 * margin)


def _instance(result: Result, n: int, task: Task) -> Instance:
    score = float(result.scores[n])
    if isinstance(result, Poses):
        keypoints = np.nan_to_num(result.keypoints[n].astype(float))
        scores = keypoints[:, 2].copy()
        keypoints[:, 2] = np.where(scores > 0, 2, 0)
        name = task.skeleton.name
        return Instance(name, keypoints, score=score, keypoint_scores=scores)
    if isinstance(result, Boxes):
        box = tuple(result.boxes[n].astype(float).tolist())
        return Instance(result.names[result.classes[n]], box=box, score=score)
    if isinstance(result, Masks):
        return Instance("instance", mask=encode_labels(result.labels, len(result))[n], score=score)
    raise UserError(f"results of the {task.name} task cannot be written as labels")
