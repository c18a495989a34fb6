"""One step of training, whose batch may be divided over processes and into parts.

The gradient of a step is that of the loss of all its images together, however they are divided: a
term that is divided by a count of the batch, such as the number of keypoints, is divided by that of
all parts. Only batch norms, and losses that are not sums over images, depend on the division.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tagwise.console.interrupts import stop_requested
from tagwise.errors import UserError
from tagwise.models.network import Network
from tagwise.tasks import Task
from tagwise.training.model import network_input, stage_loss
from tagwise.training.optimizer import MovingAverage
from tagwise.training.recipe import Recipe

Targets = dict[int, dict[str, Tensor]]
"""The targets of a batch, by stride and name."""


def images_per_step(recipe: Recipe, processes: int) -> int:
    """The number of images of a step, of all processes together."""
    return recipe.optim.batch * recipe.optim.accumulate * processes


def add_gradients(
    wrapped: nn.Module, model: Network, parts: Sequence[tuple[Tensor, Targets]], accelerator: Any
) -> dict[str, Tensor]:
    """Add the gradients of a step to those of the parameters; return the terms of its loss.

    wrapped: the model as `accelerator.prepare` returned it. parts: (images, targets) of each batch
    of this process. The terms are those of all parts of all processes, without a gradient.
    """
    count = len(parts)
    share_divisors(model.task, [targets for _, targets in parts], accelerator)
    sums: dict[str, Tensor] = {}
    for number, (images, targets) in enumerate(parts, 1):
        # The processes exchange their gradients once per step, with those of the last part.
        with nullcontext() if number == count else accelerator.no_sync(wrapped):
            with accelerator.autocast():
                outputs = wrapped(network_input(images))
            terms = stage_loss(model, outputs, targets)
            accelerator.backward(terms["total"] / count)
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + term.detach() / count
    if accelerator.num_processes == 1:
        return sums
    means = accelerator.reduce(torch.stack([sums[name].float() for name in sums]), "mean")
    return dict(zip(sums, means.unbind(), strict=True))


class FiniteLoss:
    """Raises UserError for a step whose loss is not finite.

    Reading a loss makes the CPU wait for the GPU, which would then wait for the CPU. On a GPU, the
    loss of a step is therefore read when the next step has been launched, and by `check`, before
    anything is written.
    """

    def __init__(self) -> None:
        self._unread: tuple[Tensor, int] | None = None

    def add(self, total: Tensor, step: int) -> None:
        """Add the loss of a step, and read the one before, or on a CPU this one."""
        before, self._unread = self._unread, (total.detach(), step)
        if total.device.type == "cpu":
            self.check()
        elif before is not None:
            _require_finite(*before)

    def check(self) -> None:
        """Read the loss that was added last."""
        if self._unread is not None:
            _require_finite(*self._unread)
            self._unread = None


def _require_finite(total: Tensor, step: int) -> None:
    if not math.isfinite(value := float(total)):
        raise UserError(
            f"the loss is {value} at step {step}; lower optim.lr or raise warmup, "
            "then continue from the last checkpoint with --resume"
        )


@contextmanager
def memory_explained(recipe: Recipe) -> Iterator[None]:
    """Raise UserError where the memory of the GPU is too small for a step."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        width, height = recipe.data.input_size
        raise UserError(
            f"the memory of the GPU is too small for optim.batch {recipe.optim.batch} at {width} × "
            f"{height}; halve optim.batch and double optim.accumulate, which gives the same "
            "gradient, or lower data.input_size"
        ) from error


@dataclass
class Stepper:
    """Makes the steps of a run.

    wrapped, optimizer: as `accelerator.prepare` returned them. model: what `wrapped` wraps.
    """

    recipe: Recipe
    accelerator: Any
    wrapped: nn.Module
    model: Network
    optimizer: torch.optim.Optimizer
    average: MovingAverage
    finite: FiniteLoss = field(default_factory=FiniteLoss)

    def make(
        self, parts: Sequence[tuple[Tensor, Targets]], step: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Make a step with some batches; returns the terms of the loss and the gradient's norm."""
        self.optimizer.zero_grad(set_to_none=True)
        with memory_explained(self.recipe):
            terms = add_gradients(self.wrapped, self.model, parts, self.accelerator)
            self.finite.add(terms["total"], step)
            weights = self.wrapped.parameters()
            norm = self.accelerator.clip_grad_norm_(weights, self.recipe.optim.clip)
            self.optimizer.step()
            self.average.update_parameters(self.model)
        return terms, norm


class StopTogether:
    """The signal on which all processes of a run end after the same step.

    A process that ended alone would leave the others waiting for its gradients.
    """

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self._agreed = 0

    def ask(self) -> int:
        """Return the number of the signal that any process has received, 0 for none.

        All processes call it once per step.
        """
        self._agreed = stop_requested()
        if self._accelerator.num_processes > 1:
            own = torch.tensor([self._agreed], device=self._accelerator.device)
            self._agreed = int(self._accelerator.gather(own).max())
        return self._agreed

    def agreed(self) -> int:
        """What `ask` returned last; 0 before."""
        return self._agreed


def share_divisors(task: Task, parts: Sequence[Targets], accelerator: Any) -> None:
    """Add the means of `Task.divisors` over all parts of all processes to the targets.

    The sum over all parts counts as at least 1, as in a batch that is not divided.
    """
    total = len(parts) * accelerator.num_processes
    if total == 1:
        return
    own = [{s: task.divisors(targets) for s, targets in part.items()} for part in parts]
    keys = [(stride, name) for stride, found in own[0].items() for name in found]
    if not keys:
        return
    sums = torch.stack([sum(part[stride][name] for part in own) for stride, name in keys])
    means = accelerator.reduce(sums, "sum").clamp(min=1) / total
    for part in parts:
        for (stride, name), mean in zip(keys, means.unbind(), strict=True):
            part[stride][f"divisor.{name}"] = mean
