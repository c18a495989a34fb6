"""The training loop, which is the same for every task.

Sample number n depends only on (seed, n), and the learning rate only on the step. A run that was
killed can therefore continue from its last checkpoint with the results of an uninterrupted run.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tagwise.console.interrupts import stoppable
from tagwise.console.streams import print_note
from tagwise.models.model_file import save_model
from tagwise.training.checkpoint import Checkpoint
from tagwise.training.data import make_loader, open_datasets
from tagwise.training.log import TrainingLog, due
from tagwise.training.model import make_accelerator, make_model, synchronise_batch_norm
from tagwise.training.optimizer import (
    MovingAverage,
    keep_steps_on_cpu,
    make_optimizer,
    set_learning_rate,
)
from tagwise.training.overview import print_overview
from tagwise.training.recipe import Recipe
from tagwise.training.step import Stepper, StopTogether, images_per_step
from tagwise.training.validation import Validation, check_best


def run_training(recipe: Recipe, folder: Path, resume: bool = False) -> None:
    """Train a model as the recipe describes.

    folder: an existing folder, to which recipe.yaml, log.jsonl, last.pt, best.safetensors and
        last.safetensors are written, and with a validation set examples.jsonl and report.html.
    resume: continue from last.pt if the folder has one.

    Raises UserError for invalid values, missing data, and a loss that is not finite.
    """
    written, recipe = recipe, recipe.complete()
    accelerator = make_accelerator(recipe.run)
    is_main = accelerator.is_main_process
    torch.manual_seed(recipe.run.seed)
    datasets, val, task = open_datasets(recipe)
    check_best(recipe.run.best, task, val)
    model = make_model(recipe, task)
    if recipe.run.sync_batch_norm:
        synchronise_batch_norm(model, accelerator)
    average = MovingAverage(model, recipe.optim.ema, accelerator.device)
    optimizer = make_optimizer(model, recipe.optim)
    images = images_per_step(recipe, accelerator.num_processes)
    checkpoint = Checkpoint(folder, model, average, optimizer, images=images)
    start = _resumed(checkpoint, recipe, is_main) if resume else 0
    loader = make_loader(recipe, datasets, model, accelerator.num_processes, start)
    if recipe.run.compile:
        model.compile()
    wrapped, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    keep_steps_on_cpu(optimizer)
    print_overview(recipe, datasets, val, model, accelerator, folder)
    log = TrainingLog(folder, written, start, not is_main, images)
    validation = Validation(recipe, val, folder, accelerator, checkpoint, log)

    wrapped.train()
    batches, stop = iter(loader), StopTogether(accelerator)
    stepper = Stepper(recipe, accelerator, wrapped, model, optimizer, average)
    end = start if checkpoint.is_stale(recipe.run.patience) else recipe.optim.steps
    for step in stoppable(range(start, end), stop.agreed):
        rate = set_learning_rate(optimizer, recipe.optim, step)
        with log.waiting():
            parts = [next(batches) for _ in range(recipe.optim.accumulate)]
        terms, norm = stepper.make(parts, step)
        done = step + 1 == recipe.optim.steps
        validate = val is not None and (done or due(step + 1, recipe.run.validate_every))
        if done or validate or due(step + 1, recipe.run.log_every):
            stepper.finite.check()
        log.step(step + 1, terms, norm, rate)
        if validate:
            done |= validation.ends_training(average.module, step + 1)
        if stop.ask() or done or due(step + 1, recipe.run.save_every):
            stepper.finite.check()
            if is_main:
                checkpoint.save(step + 1)
        if done:
            break
    if is_main:
        save_model(average.module, folder / "last.safetensors")
    log.close()


def _resumed(checkpoint: Checkpoint, recipe: Recipe, is_main: bool) -> int:
    """Restore the last checkpoint, say what was found, and return its step."""
    step = checkpoint.load()
    if not is_main:
        return step
    if step:
        print_note(f"{checkpoint.folder} continues after step {step} of {recipe.optim.steps}")
        before, now = checkpoint.loaded_images, checkpoint.images
        if before not in (None, now):
            print_note(
                f"a step had {before} images and now has {now}, so the run differs from one that "
                "was not stopped; optim.batch and optim.accumulate can keep the number"
            )
    else:
        print_note(f"{checkpoint.folder} has no checkpoint yet; training starts at the beginning")
    if checkpoint.is_stale(recipe.run.patience):
        print_note(
            f"it ended early: {recipe.run.best} has not risen for {checkpoint.stale} validations; "
            "raise run.patience to go on"
        )
    return step
