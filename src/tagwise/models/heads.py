"""Branches from a trunk's features to the maps of a task, and where tags get their position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_lowercase

import torch
from torch import Tensor, nn

from tagwise.errors import UserError, unknown_name
from tagwise.geometry import cell_to_pixel
from tagwise.models.layers import ConvNorm, conv3x3, upsample
from tagwise.tasks.base import Head

TAG_SPREAD = 0.05
"""Standard deviation of a tag output's first weights. Tags that start equal feel no push (the
gradient of exp(-d²) is zero at d = 0), and the pull loss then keeps them so."""


Features = dict[str, Tensor]
"""A trunk's maps by name: "p4" is the decoder's at stride 4, "c16" the backbone's at 16,
"tl4" and "br4" the decoder's after the pooling of a corner."""


def stride_of(feature: str) -> int:
    """The stride of a feature map by its name: 16 for "p16" or "c16", 4 for "tl4"."""
    return int(feature.lstrip(ascii_lowercase))


class Block(nn.Module):
    """A 3 × 3 convolution, full or separable, around which the input is added."""

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels, separable=separable)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return x + self.conv(x)


class Branch(nn.Module):
    """Features of several strides, coarse to fine, to one output map at the finest stride.

    At each stride the features pass a 1 × 1 convolution each and are summed with what came up
    from the coarser one; `depth` blocks follow. Coarse strides cost little and see far, which
    tags need: a wrist must know whose it is.

    channels: features of the trunk by name, with their channel counts.
    features: which of them this branch reads.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        features: Sequence[str],
        width: int,
        depth: int,
        outputs: int,
        *,
        separable: bool = True,
    ) -> None:
        super().__init__()
        for name in features:
            if name not in channels:
                raise unknown_name("feature", name, channels)
        check_range("channels of a head", width, 1, 4096)
        check_range("depth of a head", depth, 0, 64)
        self.strides = sorted({stride_of(name) for name in features}, reverse=True)
        self.entries = nn.ModuleDict({name: ConvNorm(channels[name], width) for name in features})
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(width, separable) for _ in range(depth))) for _ in self.strides
        )
        self.output = nn.Conv2d(width, outputs, 1)

    def forward(self, features: Features) -> Tensor:
        """The trunk's features to (B, outputs, H, W) at the finest stride read."""
        x, above = None, None
        for stride, blocks in zip(self.strides, self.blocks, strict=True):
            entries = [
                entry(features[name])
                for name, entry in self.entries.items()
                if stride_of(name) == stride
            ]
            if x is not None:
                entries.append(upsample(x, above // stride))
            x, above = blocks(torch.relu(sum(entries))), stride
        return self.output(x)


def check_range(what: str, value: int, low: int, high: int) -> None:
    """Raises UserError unless value is a whole number in [low, high]."""
    if not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{what} must be a whole number from {low} to {high}, not {value!r}")


def check_features(features: Sequence[str], stride: int) -> tuple[str, ...]:
    """The features of a branch as a tuple. Raises UserError if none is at the output's stride."""
    names = [] if isinstance(features, str) else features
    if not any(name in (f"p{stride}", f"c{stride}") for name in names):
        raise UserError(
            f"a head must read a list of features with one at stride {stride} (such as p{stride}), "
            f"not {features!r}"
        )
    return tuple(features)


def features_for(head: Head, features: Sequence[str], stride: int = 4) -> tuple[str, ...]:
    """The features as that head reads them: a corner's after its pooling in place of "p4"."""
    if head.corner is None:
        return tuple(features)
    return (f"{head.corner}{stride}", *(name for name in features if name != f"p{stride}"))


def start_output(output: nn.Conv2d, head: Head) -> None:
    """First values of a head's last convolution: its bias, and little or a small spread."""
    nn.init.normal_(output.weight, std=TAG_SPREAD if head.kind == "tag" else 0.001)
    nn.init.constant_(output.bias, head.bias)


def add_position(prediction: Tensor, unit: float, scale: float, stride: int) -> Tensor:
    """Tags as where the pixel is plus a learned offset: place / unit + scale · prediction.

    prediction: (B, C, H, W) float, C even; even channels take x and odd channels y.
    unit: input pixels that make a tag distance of 1.
    stride: input pixels per map cell, see `tagwise.geometry.cell_to_pixel`.
    Returns (B, C, H, W) float32 whatever the input's type, since half precision cannot tell
    neighbouring pixels of a large image apart.
    """
    if prediction.shape[1] % 2:
        raise ValueError(f"position needs an even number of tag maps, not {prediction.shape[1]}")
    height, width = prediction.shape[-2:]
    x = cell_to_pixel(torch.arange(width, device=prediction.device), stride) / unit
    y = cell_to_pixel(torch.arange(height, device=prediction.device), stride) / unit
    place = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    pairs = prediction.float().unflatten(1, (-1, 2))
    return (place + scale * pairs).flatten(1, 2)
