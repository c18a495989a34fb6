"""Training: one loop for every task, from a recipe to a model file.

Sample number n is a function of (seed, n) alone, and the learning rate one of the step, so that a
run that was killed goes on from its last checkpoint exactly as if nothing had happened.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from tagwise.data.report import summary
from tagwise.data.training_set import TrainingSet
from tagwise.errors import UserError, optional, unknown_name
from tagwise.models.model_file import save_model
from tagwise.models.network import parameter_groups
from tagwise.models.zoo import create_model
from tagwise.prediction.predictor import Predictor
from tagwise.runtime import keep_freed_memory
from tagwise.tasks import Task, create_task, task_named
from tagwise.training.checkpoint import Checkpoint
from tagwise.training.log import TrainingLog, due
from tagwise.training.recipe import OptimConfig, Recipe, SetConfig, load_recipe


def train(
    recipe: str | Path | Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overrides: Sequence[str] = (),
) -> Path:
    """Train what the recipe describes and return the folder of the run.

    The folder holds recipe.yaml (resolved), log.jsonl, last.pt (all that resuming needs),
    best.safetensors (by validation) and last.safetensors, both of the averaged weights.

    recipe: a YAML file or a Recipe.
    out: folder of the run; by default runs/ and the recipe's name.
    resume: go on from last.pt where there is one.
    overrides: single values, such as "optim.steps=100".
    Raises UserError for bad recipes, missing data, and a loss that is not finite.
    """
    recipe, name = _read(recipe, overrides)
    folder = _run_folder(Path(out) if out is not None else Path("runs") / name, resume)
    keep_freed_memory()
    accelerator = _accelerator(recipe)
    torch.manual_seed(recipe.run.seed)
    datasets, val = _datasets(recipe)
    model = _model(recipe, datasets[0])
    average = AveragedModel(model, multi_avg_fn=_moving_average(recipe.optim.ema), use_buffers=True)
    optimizer = _optimizer(model, recipe.optim)
    checkpoint = Checkpoint(folder, model, average, optimizer)
    start = checkpoint.load() if resume else 0
    loader = _loader(recipe, datasets, model, accelerator.num_processes, start)
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    average.to(accelerator.device)
    log = TrainingLog(folder, recipe, start, quiet=not accelerator.is_main_process)

    wrapped.train()
    batches = iter(loader)
    for step in range(start, recipe.optim.steps):
        rate = learning_rate(recipe.optim, step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] / recipe.optim.lr * rate
        with log.waiting():
            images, targets = next(batches)
        with accelerator.autocast():
            outputs = wrapped(_network_input(images))
        terms = stage_loss(model, outputs, targets)
        log.check(terms["total"], step)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(terms["total"])
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), recipe.optim.clip)
        optimizer.step()
        average.update_parameters(model)
        log.step(step + 1, terms, norm, rate)

        if not accelerator.is_main_process:
            continue
        done = step + 1 == recipe.optim.steps
        if val and (done or due(step + 1, recipe.run.validate_every)):
            figures = validate(average.module, val, recipe)
            log.validation(step + 1, figures)
            if checkpoint.is_best(figures[recipe.run.best]):
                save_model(average.module, folder / "best.safetensors")
        if done or due(step + 1, recipe.run.save_every):
            checkpoint.save(step + 1)
    if accelerator.is_main_process:
        save_model(average.module, folder / "last.safetensors")
    log.close()
    return folder


def stage_loss(
    model: nn.Module,
    outputs: dict[str, Tensor] | list[dict[str, Tensor]],
    targets: dict[int, dict[str, Tensor]],
) -> dict[str, Tensor]:
    """The terms of the task's loss, averaged over the network's stages; what one lacks counts as 0.

    outputs: maps, or one dict of them a stage. targets: of each stride among `model.strides`.
    """
    stages = outputs if isinstance(outputs, list) else [outputs]
    each = [
        model.task.loss(maps, targets[stride])
        for maps, stride in zip(stages, model.strides, strict=True)
    ]
    return {name: sum(t[name] for t in each if name in t) / len(each) for name in each[0]}


def learning_rate(optim: OptimConfig, step: int) -> float:
    """Linear warm-up over the first share of the steps, then a cosine down to `final_lr` of `lr`.

    With `drops` the rate stays as it is in place of the cosine, but for a fall to a tenth at each.

    >>> optim = OptimConfig(steps=100, lr=1.0, warmup=0.1, final_lr=0.0)
    >>> [round(learning_rate(optim, step), 3) for step in (0, 9, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    warm = max(0 if optim.drops else 1, round(optim.warmup * optim.steps))
    if step < warm:
        return optim.lr * (step + 1) / warm
    if optim.drops:
        return optim.lr * 0.1 ** sum(step >= drop * optim.steps for drop in optim.drops)
    share = (step - warm) / max(1, optim.steps - warm)
    cosine = (1 + math.cos(math.pi * min(1.0, share))) / 2
    return optim.lr * (optim.final_lr + (1 - optim.final_lr) * cosine)


def validate(model: nn.Module, dataset: Any, recipe: Recipe) -> dict[str, float]:
    """The task's figures of a model on a dataset, one scale, no flip."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    size = recipe.data.val_size or recipe.data.input_size
    predictor = Predictor(model, device=device, size=size, threshold=0.0)
    files = [dataset.path(i) for i in range(len(dataset))]
    results = list(predictor.stream(tqdm(files, desc="validating", leave=False, disable=None)))
    model.train(training)
    return model.task.metric(results, dataset)


# ---------------------------------------------------------------------- what a run is made of


def _read(recipe: str | Path | Recipe, overrides: Sequence[str]) -> tuple[Recipe, str]:
    if isinstance(recipe, Recipe):
        return recipe, "training"
    return load_recipe(recipe, overrides), Path(recipe).stem


def _run_folder(folder: Path, resume: bool) -> Path:
    if (folder / "last.pt").exists() and not resume:
        raise UserError(f"{folder} holds a run already; add --resume, or name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, optim.lr, optim.backbone_scale, optim.weight_decay)
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.AdamW(groups)


def _datasets(recipe: Recipe) -> tuple[list[Any], Any]:
    """The training sets, all labelled like the first, and the validation set, if any."""
    data = recipe.data
    first = _dataset(recipe, data.train[0])
    sets = [first, *(_dataset(recipe, config, first) for config in data.train[1:])]
    val = _dataset(recipe, data.val, first) if data.val else None
    if val:
        val.check_images()  # training replaces a broken photo; validation could only stop at it
    for dataset in [*sets, *([val] if val else [])]:
        if dataset.report:
            print(summary(dataset.report), file=sys.stderr)
    return sets, val


def _dataset(recipe: Recipe, config: SetConfig, like: Any = None) -> Any:
    root = Path(recipe.data.root).expanduser()
    options = {"sigmas": recipe.sigmas, "fill_results": config.fill_results}
    options["mapping"] = config.mapping or None
    options["ignore_results"] = config.ignore_results and root / config.ignore_results
    given = {name: value for name, value in options.items() if value is not None}
    task = task_named(recipe.task)
    return task.open_dataset(root / config.annotations, root / config.images, like, **given)


def _model(recipe: Recipe, dataset: Any) -> nn.Module:
    task = create_task(recipe.task, **{**dataset.labels_of_task(), **recipe.task_options})
    model = create_model(
        recipe.model.name,
        task,
        pretrained=recipe.model.pretrained,
        input_size=recipe.data.val_size or recipe.data.input_size,
        **recipe.model.options,
    )
    info = {**model.spec.info, **recipe.info}
    model.spec = replace(model.spec, info=info, decoder=recipe.decoder)
    model.freeze(recipe.model.freeze)
    return model


def _accelerator(recipe: Recipe) -> Any:
    accelerate = optional("accelerate", "train", "training needs an extra")
    device, precision = recipe.run.device, recipe.run.precision
    if precision not in ("no", "bf16"):
        raise unknown_name("run.precision", precision, ("no", "bf16"))
    if device not in (None, "cpu", "cuda"):
        raise UserError(f"run.device {device!r}: expected cpu, cuda or nothing")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device cuda: this machine has no usable GPU; use cpu")
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    return accelerate.Accelerator(cpu=device == "cpu", mixed_precision=precision)


class _Encoded(Dataset):
    """Samples with their targets at every stride, made in the loader's workers."""

    def __init__(self, samples: TrainingSet, task: Task, strides: Iterable[int]) -> None:
        self.samples, self.task, self.strides = samples, task, sorted(set(strides))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[np.ndarray, dict[int, dict[str, np.ndarray]]]:
        sample = self.samples[number]
        return sample.image, {stride: self.task.encode(sample, stride) for stride in self.strides}

    def collate(self, items: list[tuple]) -> tuple[Tensor, dict[int, dict[str, Tensor]]]:
        images, targets = zip(*items, strict=True)
        batch = {s: self.task.collate([each[s] for each in targets]) for s in self.strides}
        return torch.from_numpy(np.stack(images)), batch


def _loader(
    recipe: Recipe, datasets: list[Any], model: nn.Module, processes: int, start: int
) -> DataLoader:
    """Batches of samples number start · batch and on; each process takes every P-th batch."""
    batch, total = recipe.optim.batch, recipe.optim.steps * processes
    samples = TrainingSet(
        datasets,
        weights=[config.weight for config in recipe.data.train],
        augment=recipe.data.augment,
        input_size=recipe.data.input_size,
        seed=recipe.run.seed,
        length=total * batch,
        cache_bytes=int(recipe.data.cache_gib * 2**30),
    )
    encoded = _Encoded(samples, model.task, model.strides)
    numbers = [list(range(b * batch, (b + 1) * batch)) for b in range(start * processes, total)]
    return DataLoader(
        encoded,
        batch_sampler=numbers,
        collate_fn=encoded.collate,
        num_workers=recipe.data.workers,
        worker_init_fn=_one_thread,
        persistent_workers=False,
    )


def _one_thread(_: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _network_input(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div(255)


def _moving_average(decay: float) -> Any:
    """Exponential moving average that trusts the first, fast-moving steps less."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - keep)
        else:
            torch._foreach_copy_(averaged, current)

    return update
