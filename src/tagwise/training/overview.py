"""What a training run is about, printed before its first step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tagwise.data.photos import Photos
from tagwise.models.network import Network
from tagwise.training.recipe import Recipe
from tagwise.training.step import images_per_step


def print_overview(
    recipe: Recipe,
    datasets: Sequence[Photos],
    val: Photos | None,
    model: Network,
    accelerator: Any,
    folder: Path,
) -> None:
    """Describe a run in a few lines on standard error, if this is the main process.

    accelerator: see `make_accelerator`.
    """
    if not accelerator.is_main_process:
        return
    device, processes = accelerator.device, accelerator.num_processes
    lines = {
        "photos": _photos(datasets, val),
        "instances": _types(model),
        "network": _network(recipe, model),
        "device": _device(recipe, device, processes),
        "steps": _steps(recipe, sum(map(len, datasets)), processes),
        "folder": _folder(recipe, val, folder),
    }
    for name, text in lines.items():
        print(f"{name:<11}{text}", file=sys.stderr)


def _photos(datasets: Sequence[Photos], val: Photos | None) -> str:
    counts = [dataset.count_instances() for dataset in datasets]
    text = f"{_number(sum(map(len, datasets)), 'photo')} to train on"
    if None not in counts:
        text += f" with {_number(sum(counts), 'instance')}"
    if val is None:
        return f"{text}, and none to validate"
    text += f", {len(val):,} to validate"
    instances = val.count_instances()
    return text if instances is None else f"{text} with {instances:,}"


def _types(model: Network) -> str:
    skeleton = getattr(model.task, "skeleton", None)
    if skeleton is not None:
        pairs = sum(a < b for a, b in enumerate(skeleton.flip))
        types = _number(len(skeleton), "keypoint type")
        return f"{skeleton.name}: {types}, {_number(pairs, 'left/right pair')}"
    classes = getattr(model.task, "classes", None)
    if classes is None:
        return "masks"
    text = ", ".join(classes[:8])
    return f"{len(classes)} classes: {text}{', ...' if len(classes) > 8 else ''}"


def _network(recipe: Recipe, model: Network) -> str:
    weights = sum(parameter.numel() for parameter in model.parameters())
    width, height = recipe.data.input_size
    source = recipe.model.pretrained or "random weights"
    return (
        f"{recipe.model.name}, {weights / 1e6:.1f} million weights, from {source}, "
        f"input {width} × {height}"
    )


def _device(recipe: Recipe, device: torch.device, processes: int) -> str:
    text = f"{device.type}, {recipe.run.precision}"
    if device.type == "cuda":
        text = f"{torch.cuda.get_device_name(device)}, {recipe.run.precision}"
    if device.type == "cpu":
        text += f", {_number(torch.get_num_threads(), 'thread')}"
    return text if processes == 1 else f"{processes} processes, {text} each"


def _steps(recipe: Recipe, photos: int, processes: int) -> str:
    steps, batch = recipe.optim.steps, images_per_step(recipe, processes)
    times = steps * batch / max(1, photos)
    return f"{steps:,} with {batch} images each; each photo is seen about {times:,.3g} times"


def _folder(recipe: Recipe, val: Photos | None, folder: Path) -> str:
    if val is None:
        return str(folder)
    every = recipe.run.validate_every
    when = f"every {every:,} steps" if every and every < recipe.optim.steps else "at the end"
    return f"{folder}; report.html in it is written {when}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
