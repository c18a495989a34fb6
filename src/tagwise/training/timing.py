"""How long training takes on this machine, from a few steps that are really made."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from tagwise.data.photos import Photos
from tagwise.tasks import Task
from tagwise.training.data import count_workers, make_loader
from tagwise.training.model import make_model, network_input, stage_loss
from tagwise.training.recipe import Recipe
from tagwise.training.step import memory_explained

_LONG, _SHORT = 2 * 3600.0, 20 * 60.0  # seconds of training that are too many, and well spent
_FEWEST = 1000  # steps, below which a model is not worth having


def seconds_per_step(recipe: Recipe, dataset: Photos, task: Task, steps: int = 2) -> float:
    """Measure a step of training, with its batch, after one step to warm up.

    dataset: the first training set of the recipe. Samples are made in this process. On a CPU, this
    takes a little longer than in the worker of a training run; on a GPU, a step takes as long as
    the slower of its computation and its samples, which several workers share. Raises UserError for
    a recipe whose network or initial weights cannot be used, and if the memory is too small.
    """
    workers = count_workers(recipe, 1)
    recipe = replace(
        recipe,
        data=replace(recipe.data, workers=0, train=recipe.data.train[:1]),
        optim=replace(recipe.optim, steps=steps + 1),
    )
    device = _device(recipe)
    model = make_model(recipe, task).to(device).train()
    batches = iter(make_loader(recipe, [dataset], model, 1, 0))
    loading, computing = [], []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        images, targets = next(batches)
        loaded = time.perf_counter()
        with memory_explained(recipe):
            with torch.autocast(device, torch.bfloat16, enabled=recipe.run.precision == "bf16"):
                outputs = model(network_input(images.to(device)))
            stage_loss(model, outputs, _moved(targets, device))["total"].backward()
            if device == "cuda":
                torch.cuda.synchronize()
        loading.append(loaded - begun)
        computing.append(time.perf_counter() - loaded)
    samples, network = mean(loading[1:]), mean(computing[1:])
    return max(network, samples / max(1, workers)) if device == "cuda" else samples + network


def plan_steps(usual: int, seconds: float) -> tuple[int, str]:
    """The number of steps for a machine, and the reason.

    usual: the number that suits the data. seconds: of one step. A run of over two hours is
    shortened, but not below 1,000 steps; one of under twenty minutes gets up to three times the
    steps, since the time is there.
    """
    took = f"a step takes {seconds:.2g} s here, measured"
    if usual * seconds > _LONG:
        steps = max(min(_FEWEST, usual), int(_LONG / seconds))
        if steps < usual:
            return _hundreds(steps), f"{usual} would suit the data, but {took}"
    if usual * seconds < _SHORT:
        return _hundreds(min(3 * usual, int(_SHORT / seconds))), took
    return usual, took


def _hundreds(steps: int) -> int:
    return max(100, steps // 100 * 100)


def _device(recipe: Recipe) -> str:
    return recipe.run.device or ("cuda" if torch.cuda.is_available() else "cpu")


def _moved(targets: Any, device: str) -> Any:
    if isinstance(targets, dict):
        return {name: _moved(value, device) for name, value in targets.items()}
    return targets.to(device) if isinstance(targets, Tensor) else targets
