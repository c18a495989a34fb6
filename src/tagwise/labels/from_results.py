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


def instances_of(result: Result, category: str) -> list[Instance]:
    """All instances of a result as predictions, with their scores.

    category: the name of the category of poses and masks; those of boxes are their classes.
    Raises UserError for results that labels cannot describe.
    """
    scores = [float(score) for score in result.scores]
    if isinstance(result, Poses):
        found = []
        for keypoints, score in zip(np.nan_to_num(result.keypoints.astype(float)), scores):
            confidence = keypoints[:, 2].copy()
            keypoints[:, 2] = np.where(confidence > 0, 2, 0)
            found.append(Instance(category, keypoints, score=score, keypoint_scores=confidence))
        return found
    if isinstance(result, Boxes):
        names = [str(result.names[number]) for number in result.classes.tolist()]
        boxes = map(tuple, result.boxes.astype(float).tolist())
        return [
            Instance(name, box=box, score=score) for name, box, score in zip(names, boxes, scores)
        ]
    if isinstance(result, Masks):
        masks = encode_labels(result.labels, len(result))
        return [Instance(category, mask=mask, score=score) for mask, score in zip(masks, scores)]
    raise UserError(f"{type(result).__name__} cannot be written as labels")


def confident_instances(
    result: Result, category: str, confident: float, least: float
) -> list[Instance]:
    """The confident instances as labels, and regions to ignore where the model is unsure.

    An instance with a score of at least `confident` becomes a label; its keypoints with less than
    half of that are left out, and a small region around each is ignored. The box of an instance
    with a score from `least` to `confident` is ignored. Empty if no instance is confident.
    category: see `instances_of`.
    """
    if not (result.scores >= confident).any():
        return []
    margin = _MARGIN if isinstance(result, Poses) else 0.0
    labels: list[Instance] = []
    for instance, box in zip(instances_of(result, category), result.boxes):
        around = Instance(instance.category, box=_with_margin(box, margin), crowd=True)
        if instance.score >= confident:
            labels += _label(instance, box, around, confident / 2)
        elif instance.score >= least:
            labels.append(around)
    return labels


def _label(
    instance: Instance, box: np.ndarray, around: Instance, least: float
) -> Iterator[Instance]:
    """A label without unsure keypoints, and regions there; `around`: if all are unsure."""
    instance.score = None
    if instance.keypoints is not None:
        unsure = (instance.keypoint_scores > 0) & (instance.keypoint_scores < least)
        half = max(4.0, _AROUND * max(box[2:].tolist()))
        for x, y, _ in instance.keypoints[unsure]:
            region = (x - half, y - half, 2 * half, 2 * half)
            yield Instance(instance.category, box=region, crowd=True)
        instance.keypoints[unsure] = 0
        instance.keypoint_scores = None
        if not (instance.keypoints[:, 2] > 0).any():
            yield around
            return
    yield instance


def _with_margin(box: np.ndarray, share: float) -> Box:
    x, y, width, height = box.astype(float).tolist()
    margin = share * max(width, height)
    return x - margin, y - margin, max(1.0, width + 2 * margin), max(1.0, height + 2 * margin)
