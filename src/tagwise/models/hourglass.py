"""The stacked hourglass of the pose paper, with the names of the published weights.

Newell, Huang, Deng: Associative Embedding, NIPS 2017; the public code is pose-ae-train. Its stacks
have no batch norms. Those of mmpose (HourglassAENet) have them, and predict no unused maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tagwise.published.names import MAPS_PER_KEYPOINT


class Conv(nn.Module):
    """A convolution that keeps the input's size at stride 1.

    norm: a batch norm follows it, and replaces its bias. relu: a ReLU comes last.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        relu: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=not norm)
        self.relu, self.norm = relu, norm
        if norm:
            self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.bn(x) if self.norm else x
        return torch.relu(x) if self.relu else x


class Hourglass(nn.Module):
    """`depth` steps down, each with `increase` more channels, and up again, with skip paths."""

    def __init__(self, depth: int, channels: int, increase: int, norm: bool = False) -> None:
        super().__init__()
        wider, last = channels + increase, depth == 1
        self.up1 = Conv(channels, channels, norm=norm)
        self.low1 = Conv(channels, wider, norm=norm)
        self.low2 = (
            Conv(wider, wider, norm=norm) if last else Hourglass(depth - 1, wider, increase, norm)
        )
        self.low3 = Conv(wider, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class Merge(nn.Module):
    """Converts the output of a stack to the channels of the next stack's input."""

    def __init__(self, inputs: int, outputs: int, norm: bool = False) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, 1, relu=False, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class StackedHourglass(nn.Module):
    """A sequence of hourglasses, each of which predicts all maps.

    keypoints: K. stacks: number of hourglasses. channels: at stride 4. increase: additional
    channels at each coarser stride. maps: of each stack; 4 K if None. norm: whether batch norms
    follow the convolutions.
    """

    def __init__(
        self,
        keypoints: int,
        stacks: int = 4,
        channels: int = 256,
        increase: int = 128,
        maps: int | None = None,
        norm: bool = False,
    ) -> None:
        super().__init__()
        maps = maps or MAPS_PER_KEYPOINT * keypoints
        self.pre = nn.Sequential(
            Conv(3, 64, 7, 2, norm=norm),
            Conv(64, 128, norm=norm),
            nn.MaxPool2d(2),
            Conv(128, 128, norm=norm),
            Conv(128, channels, norm=norm),
        )
        self.features = nn.ModuleList(
            nn.Sequential(
                Hourglass(4, channels, increase, norm),
                Conv(channels, channels, norm=norm),
                Conv(channels, channels, norm=norm),
            )
            for _ in range(stacks)
        )
        self.outs = nn.ModuleList(Conv(channels, maps, 1, relu=False) for _ in range(stacks))
        between = range(stacks - 1)
        self.merge_features = nn.ModuleList(Merge(channels, channels, norm) for _ in between)
        self.merge_preds = nn.ModuleList(Merge(maps, channels, norm) for _ in between)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised to (B, maps, H / 4, W / 4) of each stack; sides multiples of 64.

        Channels are K heatmaps, the tag maps, and in the network of the paper 2 K unused maps.
        """
        x, found = self.pre(x), []
        for n, (feature, out) in enumerate(zip(self.features, self.outs, strict=True)):
            features = feature(x)
            found.append(out(features))
            if n < len(self.merge_preds):
                x = x + self.merge_preds[n](found[-1]) + self.merge_features[n](features)
        return found
