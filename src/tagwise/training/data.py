"""Opens the datasets of a recipe, and loads batches of samples with their targets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tagwise.data.photos import Photos
from tagwise.data.report import summary
from tagwise.data.training_set import TrainingSet
from tagwise.runtime import count_cores
from tagwise.tasks import Task, create_task, task_named
from tagwise.training.folds import held_out_images
from tagwise.training.recipe import Recipe, SetConfig


def open_datasets(recipe: Recipe) -> tuple[list[Photos], Photos | None, Task]:
    """Open the training sets and the validation set, if any, and create their task.

    The keypoint types or classes are those of the first training set. Returns the training sets,
    the validation set or None, and the task. Raises UserError if a set has no labelled instance.
    """
    data = recipe.data
    first = _open(recipe, data.train[0])
    task = create_task(recipe.task, **{**first.labels_of_task(), **recipe.task_options})
    sets = [first, *(_open(recipe, config, task) for config in data.train[1:])]
    val = open_validation(recipe, task)
    if data.fold is not None:
        held_out = set(held_out_images(first, data.fold))
        first.keep([index for index in range(len(first)) if index not in held_out])
    for dataset in sets:
        dataset.require_labels()
    if val is not None:
        val.check_images()  # training replaces a broken photo, but validation would stop
    for dataset in (*sets, *([val] if val is not None else [])):
        if dataset.report:
            print(summary(dataset.report), file=sys.stderr)
        dataset.require_instances()
    if first.flip:
        print(task.skeleton.mirror_note(flipping=data.augment.flip > 0), file=sys.stderr)
    return sets, val, task


def open_validation(recipe: Recipe, task: Task) -> Photos | None:
    """Open the validation set of a recipe for a model of this task; None if it has none.

    With `data.fold`, it is the part of the first training set that is held out. The OKS sigmas of
    the recipe are those of the task, which apply unless the file states its own, as in `tagwise
    eval`.
    """
    data = recipe.data
    config = data.val if data.fold is None else data.train[0]
    if config is None:
        return None
    val = _open(replace(recipe, sigmas=None), config, task)
    if data.fold is not None:
        val.keep(held_out_images(val, data.fold))
    return val


def _open(recipe: Recipe, config: SetConfig, like: Task | None = None) -> Photos:
    root = Path(recipe.data.root).expanduser()
    options = {"sigmas": recipe.sigmas, "fill_results": config.fill_results}
    options |= {"category": config.category, "mapping": config.mapping or None}
    options["flip_pairs"] = recipe.data.flip_pairs
    options["ignore_results"] = config.ignore_results and root / config.ignore_results
    given = {name: value for name, value in options.items() if value is not None}
    task = task_named(recipe.task)
    return task.open_dataset(root / config.annotations, root / config.images, like, **given)


class EncodedSamples(Dataset):
    """Samples with their targets at every stride, encoded in the worker processes of the loader."""

    def __init__(self, samples: TrainingSet, task: Task, strides: Iterable[int]) -> None:
        self.samples, self.task, self.strides = samples, task, sorted(set(strides))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[int, dict[str, np.ndarray]]]:
        sample = self.samples[index]
        return sample.image, {stride: self.task.encode(sample, stride) for stride in self.strides}

    def collate(self, items: list[tuple]) -> tuple[Tensor, dict[int, dict[str, Tensor]]]:
        """Combine items into a batch: images (B, H, W, 3) uint8, and targets by stride and name."""
        images, targets = zip(*items, strict=True)
        batch = {s: self.task.collate([each[s] for each in targets]) for s in self.strides}
        return torch.from_numpy(np.stack(images)), batch


def make_loader(
    recipe: Recipe, datasets: list[Photos], model: nn.Module, processes: int, start: int
) -> DataLoader:
    """Create a loader of batches of encoded samples.

    processes: the number of processes P that train together; each takes every P-th batch, and
        `optim.accumulate` of them for each step.
    start: the step at which the run starts or continues; the first sample has the number
        start · P · accumulate · batch.
    """
    workers = count_workers(recipe, processes)
    batch, per_step = recipe.optim.batch, processes * recipe.optim.accumulate
    total = recipe.optim.steps * per_step
    samples = TrainingSet(
        datasets,
        weights=[config.weight for config in recipe.data.train],
        augment=recipe.data.augment,
        input_size=recipe.data.input_size,
        seed=recipe.run.seed,
        length=total * batch,
        cache_bytes=int(recipe.data.cache_gib * 2**30) // max(1, workers),
    )
    encoded = EncodedSamples(samples, model.task, model.strides)
    return DataLoader(
        encoded,
        pin_memory=torch.cuda.is_available() and recipe.run.device != "cpu",
        batch_sampler=_Batches(batch, range(start * per_step, total)),
        collate_fn=encoded.collate,
        num_workers=workers,
        worker_init_fn=_use_one_thread,
        persistent_workers=False,
    )


def count_workers(recipe: Recipe, processes: int) -> int:
    """The number of processes that make samples for each of the processes that train.

    Where the recipe does not say: 1 on a CPU, which the network needs itself; next to a GPU, all
    cores except one, but at most 16. A worker makes about 100 samples of 384 × 384 per second.
    """
    if recipe.data.workers is not None:
        return recipe.data.workers
    if recipe.run.device == "cpu" or not torch.cuda.is_available():
        return 1
    return max(1, min(16, (count_cores() - 1) // processes))


@dataclass(frozen=True)
class _Batches:
    """The sample numbers of each batch; size: samples per batch. numbers: of the batches."""

    size: int
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(b * self.size, (b + 1) * self.size)) for b in self.numbers)


def _use_one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
