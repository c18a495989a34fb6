"""The losses as modules, with fixed settings."""

import inspect
from typing import Any

from torch import Tensor, nn

from tagwise.losses.maps import focal, heatmap_mse, offset_l1
from tagwise.losses.tags import PRESETS, pull_push


class _Loss(nn.Module):
    """A loss function with fixed settings."""

    function: Any

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        inspect.signature(self.function).bind_partial(**settings)  # TypeError if one is unknown
        self.settings = settings

    def forward(self, *inputs: Tensor, **more: Any) -> Any:
        return self.function(*inputs, **more, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


class AELoss(_Loss):
    """`pull_push` as a module: the name of a preset in `PRESETS`, and settings that override it.

    >>> import torch
    >>> tags, group, image = torch.zeros(2, 1), torch.tensor([0, 1]), torch.tensor([0, 0])
    >>> AELoss("higherhrnet", push="hinge")(tags, group, image)
    TagLoss(pull=tensor(0.), push=tensor(0.5000))
    """

    function = staticmethod(pull_push)

    def __init__(self, preset: str | None = None, **settings: Any) -> None:
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"unknown preset {preset!r}; use one of {', '.join(PRESETS)}")
        super().__init__(**{**PRESETS.get(preset, {}), **settings})


class HeatmapMSE(_Loss):
    """`heatmap_mse` as a module."""

    function = staticmethod(heatmap_mse)


class FocalLoss(_Loss):
    """`focal` as a module."""

    function = staticmethod(focal)


class OffsetL1(_Loss):
    """`offset_l1` as a module."""

    function = staticmethod(offset_l1)
