"""The network of a recipe, the accelerator that it trains on, and its input."""

from __future__ import annotations

import atexit
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, optional, unknown_name
from tagwise.models.create import create_model
from tagwise.models.network import Network
from tagwise.models.spec import check_decoder
from tagwise.tasks import Task
from tagwise.training.recipe import Recipe, RunConfig


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
    # accelerate keeps precision and device of an earlier run in this process; a process group of
    # several processes belongs to the device.
    alone = not torch.distributed.is_initialized()
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=alone)
    accelerator = accelerate.Accelerator(
        cpu=run.device == "cpu",
        mixed_precision=mixed,
        dataloader_config=accelerate.utils.DataLoaderConfiguration(non_blocking=True),
    )
    if accelerator.num_processes > 1:
        atexit.register(_end_process_group)
    return accelerator


def _end_process_group() -> None:
    """Join the threads of torch's collectives before the interpreter ends.

    Such a thread may still have to free a tensor of Python. One that tries to do so while the
    interpreter ends would abort the process, and the launcher would report a failed training.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def synchronise_batch_norm(model: Network, accelerator: Any) -> None:
    """Make batch norms take their statistics from the images of all processes, in place.

    Raises UserError on CPUs, where torch cannot do so. A single process needs no change.
    """
    if accelerator.num_processes == 1:
        return
    if accelerator.device.type == "cpu":
        raise UserError(
            "run.sync_batch_norm needs a GPU for each process, because torch synchronises batch "
            "norms only there; set it to false, or freeze the network's trunk"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(model)


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
