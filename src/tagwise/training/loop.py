"""The training loop, which is the same for every task.

Sample number n depends only on (seed, n), and the learning rate only on the step. A run that was
killed can therefore continue from its last checkpoint with the results of an uninterrupted run.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from tagwise.console.interrupts import stop_requested, stoppable
from tagwise.data.photos import Photos
from tagwise.errors import UserError, optional, unknown_name
from tagwise.models.create import create_model
from tagwise.models.model_file import save_model
from tagwise.models.network import Network
from tagwise.models.spec import check_decoder
from tagwise.prediction.labelled import predict_labelled
from tagwise.prediction.predictor import Predictor
from tagwise.tasks import Task
from tagwise.training.checkpoint import Checkpoint
from tagwise.training.data import make_loader, open_datasets
from tagwise.training.log import TrainingLog, due
from tagwise.training.optimizer import learning_rate, make_optimizer, moving_average
from tagwise.training.recipe import Recipe, RunConfig


def run_training(recipe: Recipe, folder: Path, resume: bool = False) -> None:
    """Train a model as the recipe describes.

    folder: an existing folder, to which recipe.yaml, log.jsonl, last.pt, best.safetensors and
        last.safetensors are written.
    resume: continue from last.pt if the folder has one.

    Raises UserError for invalid values, missing data, and a loss that is not finite.
    """
    written, recipe = recipe, recipe.complete()
    accelerator = make_accelerator(recipe.run)
    torch.manual_seed(recipe.run.seed)
    datasets, val, task = open_datasets(recipe)
    if val is not None:
        check_best(recipe.run.best, task, val)
    model = make_model(recipe, task)
    average = AveragedModel(model, multi_avg_fn=moving_average(recipe.optim.ema), use_buffers=True)
    optimizer = make_optimizer(model, recipe.optim)
    checkpoint = Checkpoint(folder, model, average, optimizer)
    start = checkpoint.load() if resume else 0
    loader = make_loader(recipe, datasets, model, accelerator.num_processes, start)
    if recipe.run.compile:
        model.compile()
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    average.to(accelerator.device)
    log = TrainingLog(folder, written, start, quiet=not accelerator.is_main_process)

    wrapped.train()
    batches = iter(loader)
    for step in stoppable(range(start, recipe.optim.steps)):
        rate = learning_rate(recipe.optim, step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] / recipe.optim.lr * rate
        with log.waiting():
            images, targets = next(batches)
        with accelerator.autocast():
            outputs = wrapped(network_input(images))
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
        if val is not None and (done or due(step + 1, recipe.run.validate_every)):
            figures = validate(average.module, val, recipe)
            log.validation(step + 1, figures)
            if checkpoint.is_best(figures[recipe.run.best]):
                save_model(average.module, folder / "best.safetensors")
        if done or due(step + 1, recipe.run.save_every) or stop_requested():
            checkpoint.save(step + 1)
    if accelerator.is_main_process:
        save_model(average.module, folder / "last.safetensors")
    log.close()


def stage_loss(
    model: nn.Module,
    outputs: dict[str, Tensor] | list[dict[str, Tensor]],
    targets: dict[int, dict[str, Tensor]],
) -> dict[str, Tensor]:
    """The terms of the task's loss, averaged over the stages of the network.

    A term that a stage does not have counts as 0 for that stage.

    outputs: maps by name, or one such dict per stage. targets: the targets for each stride in
        `model.strides`, by name.
    """
    stages = outputs if isinstance(outputs, list) else [outputs]
    each = [
        model.task.loss(maps, targets[stride])
        for maps, stride in zip(stages, model.strides, strict=True)
    ]
    return {name: sum(t[name] for t in each if name in t) / len(each) for name in each[0]}


def validate(model: nn.Module, dataset: Photos, recipe: Recipe) -> dict[str, float]:
    """Return the task's figures of a model on a labelled dataset, at one scale without flip."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    size = recipe.data.val_size or recipe.data.input_size
    predictor = Predictor(model, device=device, size=size, threshold=0.0)
    scorer = model.task.make_scorer(dataset)
    results = predict_labelled(predictor, dataset)
    bar = tqdm(results, "validating", len(dataset), leave=False, disable=None)
    for index, result in enumerate(bar):
        if isinstance(result, UserError):
            tqdm.write(str(result), file=sys.stderr)
        else:
            scorer.add(index, result)
    model.train(training)
    return scorer.figures()


def check_best(name: str, task: Task, val: Photos) -> None:
    """Raise UserError if validation does not compute a figure of that name."""
    figures = task.make_scorer(val).figures()
    if name not in figures:
        raise unknown_name("figure for run.best:", name, figures)


def network_input(images: Tensor) -> Tensor:
    """Convert (B, H, W, 3) uint8 to (B, 3, H, W) float32 in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div(255)


def make_model(recipe: Recipe, task: Task) -> Network:
    """Create the network of a recipe for a task, with its initial weights."""
    taken = {"name", "task", "pretrained", "input_size"} & set(recipe.model.options)
    if taken:
        raise UserError(f"no network has the option {sorted(taken)[0]}; remove it: model.options")
    model = create_model(
        recipe.model.name,
        task,
        pretrained=recipe.model.pretrained,
        input_size=recipe.data.val_size or recipe.data.input_size,
        drop_head=recipe.model.drop_head,
        **recipe.model.options,
    )
    _check_size(recipe, model)
    check_decoder(recipe.decoder, "the recipe's")
    for name in recipe.decoder:
        if name not in ("threshold", "fitting"):
            raise unknown_name("setting of decoder", name, ("threshold", "fitting"))
    info = {**model.spec.info, **recipe.info}
    model.spec = replace(model.spec, info=info, decoder=recipe.decoder)
    model.freeze(recipe.model.freeze)
    return model


def _check_size(recipe: Recipe, model: Network) -> None:
    """Raise UserError unless the network takes images of data.input_size.

    Validation pads images as prediction does, so that data.val_size may be any size.
    """
    width, height = recipe.data.input_size
    if not (model.takes(width) and model.takes(height)):
        raise UserError(
            f"data.input_size is {width} × {height}, but the sides must be multiples of "
            f"{model.multiple} for the network {recipe.model.name}"
        )


def make_accelerator(run: RunConfig) -> Any:
    """Create an `accelerate.Accelerator` for the device and the precision of a recipe.

    Raises UserError if accelerate or the device is missing.
    """
    accelerate = optional("accelerate", "train", "training needs an extra")
    if run.device == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device is cuda, but this machine has no usable GPU; use cpu")
    if run.threads:
        torch.set_num_threads(run.threads)
    mixed = "bf16" if run.precision == "bf16" else "no"
    return accelerate.Accelerator(cpu=run.device == "cpu", mixed_precision=mixed)
