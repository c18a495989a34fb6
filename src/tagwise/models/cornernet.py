"""CornerNet with Hourglass-104, and CornerNet-Squeeze, with the names of the published weights.

Law and Deng, CornerNet, ECCV 2018 (arXiv:1808.01244); Law et al., CornerNet-Lite, BMVC 2020
(arXiv:1904.08900).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tagwise.models.corner_pool import DIRECTIONS, Corner, PooledCorner

PRIOR_LOGIT = -2.19  # sigmoid(-2.19) = .1, the initial value of heatmaps with the focal loss
Layer = Callable[..., nn.Module]


class Convolution(nn.Module):
    """Convolution, optional batch norm, ReLU."""

    def __init__(
        self, kernel: int, inputs: int, outputs: int, stride: int = 1, norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Two 3 × 3 convolutions with a skip connection."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        other = stride != 1 or inputs != outputs
        self.skip = nn.Sequential(*_pointwise(inputs, outputs, stride)) if other else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.skip(x))


class Fire(nn.Module):
    """The cheap residual of CornerNet-Squeeze: squeeze, then 1 × 1 and depthwise 3 × 3 in parallel.

    The input is added if the shapes allow it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = nn.Conv2d(inputs, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv_1x1 = nn.Conv2d(half, half, 1, stride, bias=False)
        self.conv_3x3 = nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x))
        y = self.bn2(torch.cat([self.conv_1x1(y), self.conv_3x3(y)], 1))
        return torch.relu(y + x if self.adds else y)


def _pointwise(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]


class Hourglass(nn.Module):
    """Downsampling by strided layers and upsampling, with a skip path at every size.

    channels, counts: channels and number of layers at each size, finest first. layer: `Residual` or
    `Fire`. learned_up: upsample by transposed convolutions instead of repeating cells.
    """

    def __init__(
        self, channels: Sequence[int], counts: Sequence[int], layer: Layer, learned_up: bool
    ) -> None:
        super().__init__()
        (here, below), count = channels[:2], counts[0]
        self.up1 = nn.Sequential(*(layer(here, here) for _ in range(count)))
        rest = (layer(below, below) for _ in range(count - 1))
        self.low1 = nn.Sequential(layer(here, below, 2), *rest)
        if len(channels) > 2:
            self.low2: nn.Module = Hourglass(channels[1:], counts[1:], layer, learned_up)
        else:
            self.low2 = nn.Sequential(*(layer(below, below) for _ in range(counts[1])))
        first = (layer(below, below) for _ in range(count - 1))
        self.low3 = nn.Sequential(*first, layer(below, here))
        self.up2 = nn.ConvTranspose2d(here, here, 4, 2, 1) if learned_up else nn.Upsample(None, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up1(x) + self.up2(self.low3(self.low2(self.low1(x))))


class CornerModule(PooledCorner):
    """The corner module with the names of the published weights."""

    def __init__(self, channels: int, corner: Corner) -> None:
        half = channels // 2
        p1_conv1, p2_conv1 = (Convolution(3, channels, half) for _ in range(2))
        super().__init__(corner, p1_conv1, p2_conv1, Convolution(3, channels, channels))
        self.p_conv1 = nn.Conv2d(half, channels, 3, 1, 1, bias=False)
        self.p_bn1 = nn.BatchNorm2d(channels)
        self.conv1, self.bn1 = _pointwise(channels, channels)

    def merge(self, pooled: Tensor) -> Tensor:
        return self.p_bn1(self.p_conv1(pooled))

    def skip(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x))


class CornerNet(nn.Module):
    """Two stacked hourglasses, each with heatmaps, tags and offsets of both corners.

    classes: C. tags: D, components of a tag. squeeze: CornerNet-Squeeze (stride 8) instead of
    Hourglass-104 (stride 4). stacks: number of hourglasses. width: channels at the finest stride, a
    multiple of 32.
    """

    def __init__(
        self, classes: int, tags: int = 1, squeeze: bool = False, stacks: int = 2, width: int = 256
    ) -> None:
        super().__init__()
        half, wider, widest = width // 2, width * 3 // 2, width * 2
        start: list[nn.Module] = [Convolution(7, 3, half, 2), Residual(half, width, 2)]
        if squeeze:
            start.append(Residual(width, width, 2))
            sizes = (width, width, wider, wider, widest)
            tower = partial(Hourglass, sizes, (2, 2, 2, 2, 4), Fire, True)
        else:
            sizes = (width, width, wider, wider, wider, widest)
            tower = partial(Hourglass, sizes, (2, 2, 2, 2, 2, 4), Residual, False)
        each, between = range(stacks), range(stacks - 1)
        pointwise = partial(_pointwise, width, width)
        self.pre = nn.Sequential(*start)
        self.kps = nn.ModuleList(tower() for _ in each)
        self.cnvs = nn.ModuleList(Convolution(3, width, width) for _ in each)
        self.inters = nn.ModuleList(Residual(width, width) for _ in between)
        self.inters_ = nn.ModuleList(nn.Sequential(*pointwise()) for _ in between)
        self.cnvs_ = nn.ModuleList(nn.Sequential(*pointwise()) for _ in between)
        kernel = 1 if squeeze else 3
        for corner in DIRECTIONS:
            modules = nn.ModuleList(CornerModule(width, corner) for _ in each)
            setattr(self, f"{corner}_cnvs", modules)
            for name, maps in (("heats", classes), ("tags", tags), ("regrs", 2)):
                heads = (_head(kernel, width, maps, name == "heats") for _ in each)
                setattr(self, f"{corner}_{name}", nn.ModuleList(heads))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        """(B, 3, H, W), normalised BGR, to the maps of each stack.

        Keys are "tl_heat", "br_heat" (B, C, h, w) logits, "tl_tag", "br_tag" (B, D, h, w) and
        "tl_off", "br_off" (B, 2, h, w).
        """
        inter, found = self.pre(x), []
        for n, (tower, conv) in enumerate(zip(self.kps, self.cnvs, strict=True)):
            features = conv(tower(inter))
            found.append(self._maps(n, features))
            if n < len(self.inters):
                inter = torch.relu(self.inters_[n](inter) + self.cnvs_[n](features))
                inter = self.inters[n](inter)
        return found

    def _maps(self, stack: int, features: Tensor) -> dict[str, Tensor]:
        maps = {}
        for corner in DIRECTIONS:
            pooled = getattr(self, f"{corner}_cnvs")[stack](features)
            for name, head in (("heat", "heats"), ("tag", "tags"), ("off", "regrs")):
                maps[f"{corner}_{name}"] = getattr(self, f"{corner}_{head}")[stack](pooled)
        return maps


def _head(kernel: int, width: int, maps: int, heatmap: bool) -> nn.Sequential:
    output = nn.Conv2d(width, maps, 1)
    if heatmap:
        nn.init.constant_(output.bias, PRIOR_LOGIT)
    return nn.Sequential(Convolution(kernel, width, width, norm=False), output)
