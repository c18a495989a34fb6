"""Branches from a trunk's features to the maps of a task, and the position added to tags."""

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
"""Standard deviation of a tag output's initial weights. If all tags were equal at the start, the
push loss would have no gradient (that of exp(-d²) is zero at d = 0), and they would stay equal."""


Features = dict[str, Tensor]
"""A trunk's feature maps by name: "p4" is from the decoder at stride 4, "c16" from the backbone at
stride 16, "tl4" and "br4" are from the decoder after corner pooling."""


def stride_of(feature: str) -> int:
    """The stride in the name of a feature map: 16 for "p16" or "c16", 4 for "tl4"."""
    return int(feature.lstrip(ascii_lowercase))


class Block(nn.Module):
    """A 3 × 3 convolution, full or separable, with a skip connection."""

    def __init__(self, channels: int, separable: bool) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels, separable=separable)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return x + self.conv(x)


class Branch(nn.Module):
    """A branch from features of several strides, coarse to fine, to maps at the finest stride.

    At each stride, every feature passes through a 1 × 1 convolution. The results are summed with
    the upsampled result of the coarser stride, and `depth` blocks follow. Coarse strides are cheap
    and have a large receptive field, which tags need: the tag of a wrist depends on the whole
    person.

    channels: number of channels of the trunk's features, by name.
    features: names of the input features of this branch.
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
        """The trunk's features to (B, outputs, H, W) at the finest stride of the inputs."""
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
    """Raise UserError unless value is a whole number in [low, high]."""
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
    """The input features of a head; for a corner, the pooled feature replaces the finest one."""
    if head.corner is None:
        return tuple(features)
    return (f"{head.corner}{stride}", *(name for name in features if name != f"p{stride}"))


def start_output(output: nn.Conv2d, head: Head) -> None:
    """Initialise a head's last convolution: weights of small spread, and the head's bias."""
    nn.init.normal_(output.weight, std=TAG_SPREAD if head.kind == "tag" else 0.001)
    nn.init.constant_(output.bias, head.bias)


def finish_tags(prediction: Tensor, head: Head, scale: float, stride: int) -> Tensor:
    """The tags of a head from its prediction (B, C, H, W): see `Head.position` and `Head.unit`."""
    if head.position is not None:
        prediction = add_position(prediction, head.position, scale, stride)
    if head.unit is not None:
        each = prediction.float().unflatten(1, (-1, head.unit))
        prediction = torch.nn.functional.normalize(each, dim=2).flatten(1, 2)
    return prediction


def add_position(prediction: Tensor, unit: float, scale: float, stride: int) -> Tensor:
    """Tags as the pixel position plus a learned offset: position / unit + scale · prediction.

    prediction: (B, C, H, W) float, C even; x is added to even channels, y to odd channels.
    unit: number of input pixels that correspond to a tag distance of 1.
    stride: input pixels per map cell, see `tagwise.geometry.cell_to_pixel`.
    Returns (B, C, H, W) float32 for any input type, since half precision cannot distinguish
    neighbouring pixels of a large image.
    """
    if prediction.shape[1] % 2:
        raise ValueError(f"position needs an even number of tag maps, not {prediction.shape[1]}")
    height, width = prediction.shape[-2:]
    x = cell_to_pixel(torch.arange(width, device=prediction.device), stride) / unit
    y = cell_to_pixel(torch.arange(height, device=prediction.device), stride) / unit
    position = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    pairs = prediction.float().unflatten(1, (-1, 2))
    return (position + scale * pairs).flatten(1, 2)
