"""Predict the images of a labelled set, for evaluation and validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tagwise.console.interrupts import stoppable
from tagwise.data.images import read_image
from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags
from tagwise.prediction.outcome import Outcome
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.tta import Maps
from tagwise.results import Result
from tagwise.tasks.base import Placement


def predict_labelled(predictor: Predictor, dataset: Photos) -> Iterator[Result | UserError]:
    """Yield the result of each image of a set, in the pixels of its labels, or an error."""
    paths = map(dataset.path, range(len(dataset)))
    for index, outcome in enumerate(stoppable(predictor.outcomes(paths))):
        try:
            yield _as_labelled(predictor, outcome, dataset.size(index))
        except UserError as error:
            yield error


def predict_with_truth(
    predictor: Predictor, dataset: Photos, oracle: str
) -> Iterator[Result | UserError]:
    """Yield the result of each image of a set with the help of an oracle, or an error.

    oracle: one of the task's `oracles`, see `Task.decode_with_truth`.
    """
    for index in stoppable(range(len(dataset))):
        try:
            sample = dataset.load(index)
            maps, affine = predictor.maps(sample.image)
        except UserError as error:
            yield error
            continue
        height, width = sample.image.shape[:2]
        placement = Placement(affine, (width, height))
        stride = predictor.stride
        found = predictor.task.decode_with_truth(oracle, maps, stride, placement, sample)
        yield predictor.calibrated(found)


@dataclass(frozen=True)
class Examined:
    """All that a diagnosis needs of one labelled image, from one run of the network.

    result: the prediction. oracles: the results with the help of the truth, by the oracle's name.
    tags: at the true detections. scale: pixels of the network's input per pixel of the image.
    """

    sample: Sample
    result: Result
    oracles: dict[str, Result]
    tags: InstanceTags | None
    scale: float


def examine_labelled(
    predictor: Predictor, dataset: Photos, oracles: Sequence[str]
) -> Iterator[Examined | UserError]:
    """Yield the prediction of each image of a set, with every oracle, or an error.

    oracles: some of the task's, see `Task.decode_with_truth`.
    """
    task, stride = predictor.task, predictor.stride
    for index in stoppable(range(len(dataset))):
        try:
            sample = dataset.load(index)
            maps, placement = placed_maps(predictor, sample.image)
            result = result_of(predictor, maps, placement, sample.image)
        except UserError as error:
            yield error
            continue
        helped = {
            name: predictor.calibrated(
                task.decode_with_truth(name, maps, stride, placement, sample)
            )
            for name in oracles
        }
        tags = task.true_tags(maps, stride, placement, sample)
        scale = float(np.sqrt(abs(np.linalg.det(placement.affine.matrix[:, :2]))))
        yield Examined(sample, result, helped, tags, scale)


def placed_maps(predictor: Predictor, image: np.ndarray) -> tuple[Maps, Placement]:
    """The raw maps of an image (H, W, 3), and its place in the network's input."""
    maps, affine = predictor.maps(image)
    return maps, Placement(affine, (image.shape[1], image.shape[0]))


def result_of(predictor: Predictor, maps: Maps, placement: Placement, image: np.ndarray) -> Result:
    """The prediction of an image whose maps are known; several passes run the network again."""
    single = not predictor.flip and len(predictor.scales) == 1
    merged = single or predictor.task.merges == "maps"
    if predictor.fitting.fuses_one_pass or not merged:
        return predictor(image)
    found = predictor.task.decode(maps, predictor.stride, [placement])[0]
    return predictor.calibrated(found).above(predictor.threshold)


def _as_labelled(predictor: Predictor, outcome: Outcome, size: tuple[int, int] | None) -> Result:
    """Return the result in the pixels of the labels.

    size: (width, height) in the labels, None if they do not state it. Raises UserError if the image
    has another size.
    """
    if outcome.error is not None:
        raise outcome.error
    height, width = outcome.image.shape[:2]
    if size in (None, (width, height)):
        return outcome.result
    if size == (height, width):  # labelled as stored, without its EXIF rotation
        return predictor(read_image(outcome.source, upright=False))
    raise UserError(
        f"image {outcome.source} is {width}×{height} pixels, but the annotations say "
        f"{size[0]}×{size[1]}; was it resized?"
    )
