"""ResNet and MobileNetV2 with three deconvolutions, as in mmpose 0.x, with its names of weights.

He et al., CVPR 2016; Sandler et al., MobileNetV2, CVPR 2018; Xiao, Wu, Wei, Simple Baselines, ECCV
2018 (the deconvolutions). mmpose adds tag maps (AESimpleHead).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tagwise.models.heads import check_range
from tagwise.models.hrnet import Bottleneck, conv_norm
from tagwise.models.staged import (
    IMAGENET,
    StagedNetwork,
    initialised,
    last_stage,
    pose_maps,
    start_outputs,
)
from tagwise.tasks.base import Head

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of the four layers of a ResNet, by its depth."""

# (expansion, channels, repeats, stride) of each layer, table 2 of the paper
_LAYERS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def deconvolutions(inputs: int, filters: int) -> nn.Sequential:
    """Three transposed convolutions, each of which doubles the sides of a map."""
    layers: list[nn.Module] = []
    for channels in (inputs, filters, filters):
        larger = nn.ConvTranspose2d(channels, filters, 4, 2, 1, bias=False)
        nn.init.normal_(larger.weight, std=0.001)
        layers += [larger, nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers)


class ResNetAE(nn.Module):
    """ResNet with heatmaps and tag maps at stride 4.

    maps: number of heatmaps and tag maps. blocks: of each layer. width: channels of the stem, 64
    in the paper. filters: channels of the deconvolutions.
    """

    def __init__(
        self, maps: int, blocks: Sequence[int], width: int = 64, filters: int = 256
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, width, 7, 2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = width
        for number, count in enumerate(blocks):
            layer, channels = [], width * 2**number
            for block in range(count):
                stride = 2 if number and not block else 1
                layer.append(Bottleneck(inputs, channels, stride))
                inputs = 4 * channels
            setattr(self, f"layer{number + 1}", nn.Sequential(*layer))
        self.deconv_layers = deconvolutions(inputs, filters)
        self.final_layer = nn.Conv2d(filters, maps, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised, to one tensor (B, maps, H / 4, W / 4): heatmaps, then tags."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return [self.final_layer(self.deconv_layers(x))]


class _Conv(nn.Module):
    """A convolution, its batch norm, and a ReLU6 unless it is linear."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.bn, self.linear = nn.BatchNorm2d(outputs), linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.linear else x.clamp(0, 6)


class _InvertedResidual(nn.Module):
    """Expansion, depthwise and linear convolution; with a skip connection if the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            *([] if expansion == 1 else [_Conv(inputs, hidden)]),
            _Conv(hidden, hidden, 3, stride, groups=hidden),
            _Conv(hidden, outputs, linear=True),
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skips else self.conv(x)


class MobileNetV2AE(nn.Module):
    """MobileNetV2 with heatmaps and tag maps at stride 4.

    maps: number of heatmaps and tag maps. filters: channels of the deconvolutions.
    """

    def __init__(self, maps: int, filters: int = 256) -> None:
        super().__init__()
        self.conv1 = _Conv(3, 32, 3, 2)
        inputs = 32
        for number, (expansion, outputs, repeats, stride) in enumerate(_LAYERS, 1):
            layer = []
            for repeat in range(repeats):
                step = 1 if repeat else stride
                layer.append(_InvertedResidual(inputs, outputs, step, expansion))
                inputs = outputs
            setattr(self, f"layer{number}", nn.Sequential(*layer))
        self.conv2 = _Conv(inputs, 1280)
        self.deconv_layers = deconvolutions(1280, filters)
        self.final_layer = nn.Conv2d(filters, maps, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), normalised, to one tensor (B, maps, H / 4, W / 4): heatmaps, then tags."""
        x = self.conv1(x)
        for number in range(len(_LAYERS)):
            x = getattr(self, f"layer{number + 1}")(x)
        return [self.final_layer(self.deconv_layers(self.conv2(x)))]


def resnet(
    depth: int,
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    width: int = 64,
    filters: int = 256,
) -> StagedNetwork:
    """ResNet with three deconvolutions, and heatmaps and tags at stride 4.

    depth: 50, 101 or 152. pretrained: a file published for ImageNet or poses. width: channels of
    the stem. filters: channels of the deconvolutions.
    """
    check_range("width", width, 1, 1024)
    check_range("filters", filters, 1, 4096)
    maps = sum(pose_maps(f"resnet{depth}", heads))
    return _network(ResNetAE(maps, BLOCKS[depth], width, filters), heads, pretrained)


def mobilenetv2(
    heads: dict[str, Head], *, pretrained: str | None = None, filters: int = 256
) -> StagedNetwork:
    """MobileNetV2 with three deconvolutions, and heatmaps and tags at stride 4; as `resnet`."""
    check_range("filters", filters, 1, 4096)
    maps = sum(pose_maps("mobilenetv2", heads))
    return _network(MobileNetV2AE(maps, filters), heads, pretrained)


def _network(
    trunk: ResNetAE | MobileNetV2AE, heads: Mapping[str, Head], pretrained: str | None
) -> StagedNetwork:
    network = StagedNetwork(
        trunk,
        heads,
        strides=(4,),
        combine=last_stage,
        outputs=("final_layer",),
        **IMAGENET,
        stride=4,
        multiple=32,
    )
    start_outputs(network, [trunk.final_layer])
    return initialised(network, pretrained)
