"""A small residual network that can be trained from scratch in minutes on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.heads import Block, check_range
from tagwise.models.layers import ConvNorm
from tagwise.models.network import Network
from tagwise.models.pyramid import pyramid_network
from tagwise.tasks.base import Head


class SmallBackbone(nn.Module):
    """Images (B, 3, H, W) to features "c2" to "c32": one strided convolution and one block each.

    width: channels at strides 2 and 4; they double at strides 8 and 16.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        stages = {"c4": width, "c8": 2 * width, "c16": 4 * width, "c32": 4 * width}
        self.channels = {"c2": width, **stages}
        self.stem = ConvNorm(3, width, 3, stride=2, activation="relu")
        inputs, self.stages = width, nn.ModuleDict()
        for name, outputs in stages.items():
            down = ConvNorm(inputs, outputs, 3, stride=2, activation="relu")
            self.stages[name] = nn.Sequential(down, Block(outputs, separable=False))
            inputs = outputs
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # there are no pretrained statistics, and runs are short

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised, to features by name, (B, C, H / stride, W / stride)."""
        x = self.stem(x)
        features = {"c2": x}
        for name, stage in self.stages.items():
            x = features[name] = stage(x)
        return features


def small(
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    width: int = 32,
    channels: int = 32,
    stride: int = 4,
) -> Network:
    """The small backbone with a feature pyramid of width `channels`; it has no public weights.

    stride: of the output maps, see `pyramid_network`.
    """
    if pretrained is not None:
        raise UserError("the network 'small' has no pretrained weights; set model.pretrained: null")
    check_range("width", width, 1, 4096)
    backbone = SmallBackbone(width)
    network = pyramid_network(
        backbone,
        heads,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        channels=channels,
        tag_channels=channels,
        stride=stride,
    )
    return network.to(memory_format=torch.channels_last)
