"""Predict the images of a labelled set, for evaluation and validation."""

from __future__ import annotations

from collections.abc import Iterator

from tagwise.console.interrupts import stoppable
from tagwise.data.images import read_image
from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.prediction.predictor import Outcome, Predictor
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
        yield predictor.task.decode_with_truth(oracle, maps, predictor.stride, placement, sample)


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
