"""The work of a process or an actor: the results of a shard, written to its files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tagwise.errors import UserError
from tagwise.files import Store
from tagwise.prediction.outcome import Outcome
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.run import fingerprint
from tagwise.runtime import keep_freed_memory
from tagwise.scale.images import image_source
from tagwise.scale.plan import Shard
from tagwise.scale.shards import Summary, find_whole, write_shard


@dataclass(frozen=True)
class Work:
    """What a worker needs to know.

    weights, options: of the `Predictor`. fingerprint: of the weights. out: the output folder.
    base: the folder that paths of images are relative to. threads: of the network on a CPU, None
    for torch's own number.
    """

    weights: str
    options: dict[str, Any]
    fingerprint: str
    out: str
    base: str
    threads: int | None = None


class Worker:
    """Predicts shards. The model is loaded with the first one that is not whole already."""

    def __init__(self, work: Work, device: str | None = None) -> None:
        self.work, self.out = work, Store(work.out)
        self._device, self._predictor = device, None

    def __call__(self, shard: Shard) -> Summary:
        """Predict a shard, unless its files are whole. An error that ends the run is returned."""
        try:
            return find_whole(self.out, shard) or self._predict(shard)
        except UserError as error:
            return Summary(shard.number, problem=str(error), exit_code=error.exit_code)

    def _predict(self, shard: Shard) -> Summary:
        if self._predictor is None:
            self._predictor = open_model(self.work, self._device)
        outcomes = predict_all(self._predictor, shard.images)
        return write_shard(self.out, shard, outcomes, self._predictor.task)


def open_model(work: Work, device: str | None) -> Predictor:
    """The predictor of a worker; device: None is that of the options.

    Raises UserError if the weights are not those that the main process has.
    """
    keep_freed_memory()
    if os.path.isdir(work.base):
        os.chdir(work.base)
    if fingerprint(work.weights) != work.fingerprint:
        raise UserError(
            f"{work.weights} is another file on this machine; put the same model file on every "
            "machine"
        )
    torch = sys.modules.get("torch")
    if torch is not None and work.threads is not None:
        torch.set_num_threads(work.threads)
    return Predictor(work.weights, **work.options, **({} if device is None else {"device": device}))


def predict_all(predictor: Predictor, images: Iterable[str | bytes | None]) -> list[Outcome]:
    """The outcomes of images, without their pixels.

    images: paths, addresses, or encoded images; None is empty.
    """
    sources = (image_source(image) if isinstance(image, str) else image or b"" for image in images)
    outcomes = []
    for outcome in predictor.outcomes(sources):
        outcome.image = None
        if outcome.result is not None:
            outcome.result = replace(outcome.result, image=None)
        outcomes.append(outcome)
    return outcomes
