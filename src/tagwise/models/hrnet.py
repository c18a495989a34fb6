"""HRNet and HigherHRNet, with the names of the published weights.

Sun et al., Deep High-Resolution Representation Learning, CVPR 2019 (arXiv:1902.09212); Cheng et
al., HigherHRNet, CVPR 2020 (arXiv:1908.10357).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias and its batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.normal_(conv.weight, std=0.001)
    return [conv, nn.BatchNorm2d(outputs)]


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(channels, channels)
        self.conv2, self.bn2 = conv_norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions to 4 · width channels, with a skip connection.

    stride: of the 3 × 3 convolution.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(inputs, width, 1)
        self.conv2, self.bn2 = conv_norm(width, width, stride=stride)
        self.conv3, self.bn3 = conv_norm(width, 4 * width, 1)
        other = inputs != 4 * width or stride != 1
        skip = conv_norm(inputs, 4 * width, 1, stride) if other else []
        self.downsample = nn.Sequential(*skip) if other else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Exchange(nn.Module):
    """Branches of four blocks each at strides 4, 8, 16, ..., followed by an exchange between all.

    channels: of every branch. outputs: number of branches after the exchange.
    """

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(c) for _ in range(4))) for c in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_bridge(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        found = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return [
            torch.relu(sum(x if way is None else way(x) for way, x in zip(ways, found)))
            for ways in self.fuse_layers
        ]


def _bridge(channels: Sequence[int], source: int, target: int) -> nn.Module | None:
    """Layers from the branch `source` to the size and channels of the branch `target`."""
    if source == target:
        return None
    if source > target:
        larger = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(*conv_norm(channels[source], channels[target], 1), larger)
    steps = []
    for step in range(target - source):
        last = step == target - source - 1
        width = channels[target] if last else channels[source]
        parts = conv_norm(channels[source], width, stride=2)
        steps.append(nn.Sequential(*parts, *([] if last else [nn.ReLU()])))
    return nn.Sequential(*steps)


class HRNet(nn.Module):
    """Parallel branches from stride 4 to 32 with repeated exchange.

    width: channels at stride 4 (32 for W32, 48 for W48); each further branch has twice as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 64, stride=2)
        self.conv2, self.bn2 = conv_norm(64, 64, stride=2)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        channels = [width * 2**n for n in range(4)]
        before = [256]
        for number, modules in ((2, 1), (3, 4), (4, 3)):
            now = channels[:number]
            setattr(self, f"transition{number - 1}", _transition(before, now))
            # Only stride 4 is used after the last exchange.
            ends = [number] * (modules - 1) + [1 if number == 4 else number]
            setattr(self, f"stage{number}", nn.Sequential(*(Exchange(now, end) for end in ends)))
            before = now

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W), normalised, to (B, width, H / 4, W / 4); sides multiples of 32."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        features = [self.layer1(x)]
        for number in (2, 3, 4):
            ways = getattr(self, f"transition{number - 1}")
            # A new branch starts from the coarsest existing branch.
            sources = features + [features[-1]] * (len(ways) - len(features))
            features = [x if way is None else way(x) for way, x in zip(ways, sources)]
            features = getattr(self, f"stage{number}")(features)
        return features[0]


def _transition(before: Sequence[int], now: Sequence[int]) -> nn.ModuleList:
    """Layers to the branches of the next stage: new numbers of channels, and one more branch."""
    ways: list[nn.Module | None] = []
    for n, channels in enumerate(now):
        if n < len(before):
            same = before[n] == channels
            ways.append(None if same else nn.Sequential(*conv_norm(before[n], channels), nn.ReLU()))
        else:
            step = nn.Sequential(*conv_norm(before[-1], channels, stride=2), nn.ReLU())
            ways.append(nn.Sequential(step))
    return nn.ModuleList(ways)


class HRNetAE(HRNet):
    """HRNet with heatmaps and tag maps at stride 4, as in mmpose.

    keypoints: K. tags: number of tag maps, K · D; K if None. The names of the weights are those of
    the backbone, and `final_layer`.
    """

    def __init__(self, width: int, keypoints: int, tags: int | None = None) -> None:
        super().__init__(width)
        self.final_layer = nn.Conv2d(width, keypoints + (tags or keypoints), 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to one tensor (B, K + K·D, H / 4, W / 4): heatmaps, then tags."""
        return [self.final_layer(super().forward(x))]


class HigherHRNet(HRNet):
    """HRNet with maps at stride 4, and a second, finer set of heatmaps at stride 2.

    keypoints: K. tags: number of tag maps, K · D; K if None.
    """

    def __init__(self, width: int, keypoints: int, tags: int | None = None) -> None:
        super().__init__(width)
        first = keypoints + (tags or keypoints)
        self.final_layers = nn.ModuleList(
            [nn.Conv2d(width, first, 1), nn.Conv2d(width, keypoints, 1)]
        )
        larger = nn.ConvTranspose2d(width + first, width, 4, 2, 1, bias=False)
        nn.init.normal_(larger.weight, std=0.001)
        blocks = (nn.Sequential(BasicBlock(width)) for _ in range(4))
        up = nn.Sequential(larger, nn.BatchNorm2d(width), nn.ReLU())
        self.deconv_layers = nn.ModuleList([nn.Sequential(up, *blocks)])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to heatmaps and tags at stride 4, and heatmaps at stride 2.

        The first is (B, K + K·D, H / 4, W / 4), the second (B, K, H / 2, W / 2).
        """
        features = super().forward(x)
        coarse = self.final_layers[0](features)
        features = self.deconv_layers[0](torch.cat([features, coarse], 1))
        return [coarse, self.final_layers[1](features)]
