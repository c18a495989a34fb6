"""The optimizer, the learning rate at each step, and the moving average of the weights."""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tagwise.models.network import parameter_groups
from tagwise.training.recipe import OptimConfig


def make_optimizer(model: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    """Create AdamW for the parameter groups of a model; each group stores its `initial_lr`."""
    groups = parameter_groups(model, optim.lr, optim.backbone_scale, optim.weight_decay)
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.AdamW(groups)


def learning_rate(optim: OptimConfig, step: int) -> float:
    """Linear warm-up over the first share of the steps, then a cosine down to `final_lr` of `lr`.

    With `drops`, the rate is constant instead, except that it falls to a tenth at each drop.

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


def set_learning_rate(optimizer: torch.optim.Optimizer, optim: OptimConfig, step: int) -> float:
    """Set the learning rates of all parameter groups for a step; returns that of the heads."""
    rate = learning_rate(optim, step)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] / optim.lr * rate
    return rate


def keep_steps_on_cpu(optimizer: torch.optim.Optimizer) -> None:
    """Keep the counts of steps on the CPU, where AdamW reads them.

    A state that was loaded is moved to the GPU with its counts, and AdamW would then wait for the
    GPU twice per parameter in each step.
    """
    for state in optimizer.state.values():
        state["step"] = state["step"].cpu()


class MovingAverage(AveragedModel):
    """An exponential moving average of the parameters and buffers of a model.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), because the weights change fast in
    the first steps, which should count less. Integer tensors are copied. The number of updates
    stays on the CPU, since reading it from a GPU would wait for the step.
    """

    def __init__(self, model: nn.Module, decay: float, device: torch.device | None = None) -> None:
        super().__init__(model, device, use_buffers=True)
        self.decay = decay
        self.n_averaged = self.n_averaged.cpu()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Average with the current values of the model that was given."""
        count = int(self.n_averaged)
        new = 1 - min(self.decay, (1 + count) / (10 + count)) if count else 1.0
        values = (chain(each.parameters(), each.buffers()) for each in (self.module, model))
        pairs = list(zip(*values, strict=True))
        smooth = [pair for pair in pairs if pair[0].is_floating_point() and new < 1]
        copied = [pair for pair in pairs if not pair[0].is_floating_point() or new == 1]
        if smooth:
            torch._foreach_lerp_(*map(list, zip(*smooth)), new)
        if copied:
            torch._foreach_copy_(*map(list, zip(*copied)))
        self.n_averaged += 1
