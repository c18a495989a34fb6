"""Validation during training: the figures that `tagwise eval` prints, on one or many processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from tagwise.data.photos import Photos
from tagwise.errors import UserError, optional, unknown_name
from tagwise.models.load import network_of
from tagwise.models.model_file import as_float32, save_model, stored_state
from tagwise.models.network import Network
from tagwise.prediction.labelled import predict_labelled
from tagwise.prediction.predictor import DEFAULT_THRESHOLD, Predictor
from tagwise.results import Result
from tagwise.tasks import Task
from tagwise.tasks.base import Placement
from tagwise.training.checkpoint import Checkpoint
from tagwise.training.examples import Example, Examples
from tagwise.training.log import TrainingLog
from tagwise.training.recipe import Recipe
from tagwise.training.report import write_report


class Validation:
    """Measures the network at intervals, keeps the best one, and writes the report of the run.

    val: the validation set; None if there is none. folder: of the run. accelerator: see
    `make_accelerator`; each of its processes predicts another part of the set, and the main one
    writes. checkpoint: remembers the best figure. log: takes the figures.
    """

    def __init__(
        self,
        recipe: Recipe,
        val: Photos | None,
        folder: Path,
        accelerator: Any,
        checkpoint: Checkpoint,
        log: TrainingLog,
    ) -> None:
        self.recipe, self.val, self.folder = recipe, val, folder
        self.accelerator, self.checkpoint, self.log = accelerator, checkpoint, log
        self.examples: Examples | None = None
        if val is not None and accelerator.is_main_process:
            threshold = recipe.decoder.get("threshold", DEFAULT_THRESHOLD)
            self.examples = Examples(folder, val, threshold, log.start)

    def ends_training(self, model: Network, step: int) -> bool:
        """Measure a network after a step, and save it if it is the best so far.

        Returns whether training should end, because the figure has not risen for too long.
        """
        found = self.examples.wanted() if self.examples else {}
        figures = validate(model, self.val, self.recipe, found, self.accelerator)
        if self.examples:
            self._keep(model, step, figures, found)
        if self.accelerator.num_processes == 1:
            return self._is_stale()
        stale = torch.tensor([float(self._is_stale())], device=self.accelerator.device)
        return bool(self.accelerator.reduce(stale, "sum").item())

    def _is_stale(self) -> bool:
        return self.checkpoint.is_stale(self.recipe.run.patience)

    def _keep(
        self,
        model: Network,
        step: int,
        figures: dict[str, float],
        found: dict[int, Example | None],
    ) -> None:
        name = self.recipe.run.best
        self.log.validation(step, figures)
        if self.checkpoint.is_best(figures[name]):
            save_model(model, self.folder / "best.safetensors")
        self.examples.add(step, found)
        write_report(self.folder, self.recipe, self.examples, model.task)
        if self._is_stale():
            self.log.note(
                f"training ends early: {name} has not risen for {self.checkpoint.stale} "
                f"validations; its best is {100 * self.checkpoint.best:.1f}"
            )


def validate(
    model: nn.Module,
    dataset: Photos,
    recipe: Recipe,
    examples: dict[int, Example | None] | None = None,
    accelerator: Any = None,
) -> dict[str, float]:
    """Return the task's figures of a model on a labelled dataset, at one scale without flip.

    The network is measured as its model file will contain it, with weights in float16. The figures
    are therefore those that `tagwise eval` gives for the file.

    examples: images whose results are stored in this dict, by their index.
    accelerator: its processes share the images, and those except the main one return {}.
    """
    device = next(model.parameters()).device
    size = recipe.data.val_size or recipe.data.input_size
    network = as_in_file(model, device, accelerator)
    predictor = Predictor(network, device=device, size=size, threshold=0.0)
    scorer = model.task.make_scorer(dataset)
    for index, result in _results(predictor, dataset, accelerator):
        if isinstance(result, UserError):
            tqdm.write(str(result), file=sys.stderr)
            continue
        scorer.add(index, result)
        if examples is not None and index in examples:
            examples[index] = Example(result, _true_tags(predictor, dataset, index))
    return scorer.figures() if accelerator is None or accelerator.is_main_process else {}


def _true_tags(predictor: Predictor, dataset: Photos, index: int) -> np.ndarray | None:
    """The tags (N, R, D) that the network gives to the true detections of an image."""
    sample = dataset.load(index)
    maps, affine = predictor.maps(sample.image)
    height, width = sample.image.shape[:2]
    placement = Placement(affine, (width, height))
    tags = predictor.task.true_tags(maps, predictor.stride, placement, sample)
    return None if tags is None else np.asarray(tags.tags)


def _results(
    predictor: Predictor, dataset: Photos, accelerator: Any
) -> Iterator[tuple[int, Result | UserError]]:
    """Yield the index and the result of each image; of several processes, only in the main one."""
    processes = accelerator.num_processes if accelerator is not None else 1
    first = accelerator.process_index if accelerator is not None else 0
    indices = range(len(dataset))[first::processes]
    part = copy(dataset)
    part.keep(indices)
    results = zip(indices, predict_labelled(predictor, part), strict=True)
    quiet = True if first else None
    bar = tqdm(results, "validating", len(indices), leave=False, disable=quiet)
    if processes == 1:
        yield from bar
        return
    gathered = optional("accelerate", "train", "training needs an extra").utils.gather_object(
        list(bar)
    )
    if accelerator.is_main_process:
        yield from gathered


def as_in_file(model: Network, device: torch.device, accelerator: Any = None) -> Network:
    """A copy of a network that is equal to the one that its model file gives, for inference.

    accelerator: all of its processes get the weights and statistics of the main one.
    """
    state = {name: tensor.clone() for name, tensor in stored_state(model).items()}
    if accelerator is not None and accelerator.num_processes > 1:
        accelerate = optional("accelerate", "train", "training needs an extra")
        on_device = {name: tensor.to(device) for name, tensor in state.items()}
        state = {n: t.cpu() for n, t in accelerate.utils.broadcast(on_device).items()}
    return network_of(model.spec, as_float32(state), Path("the network"), device, fuse=True)


def check_best(name: str, task: Task, val: Photos | None) -> None:
    """Raise UserError if validation does not compute a figure of that name."""
    if val is None:
        return
    figures = task.make_scorer(val).figures()
    if name not in figures:
        raise unknown_name("figure for run.best:", name, figures)
