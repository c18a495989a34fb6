"""The optimizer, the learning rate at each step, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

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


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Create the update function of an exponential moving average, for `AveragedModel`.

    After n updates the decay is min(decay, (1 + n) / (10 + n)), because the weights change fast in
    the first steps, which should count less. Integer tensors are copied.
    """

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - keep)
        else:
            torch._foreach_copy_(averaged, current)

    return update
