"""A light decoder for any backbone: a feature pyramid to stride 4 or 2, a branch for each head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.corner_pool import corner_modules
from tagwise.models.heads import (
    Branch,
    Features,
    check_features,
    check_range,
    features_for,
    start_output,
)
from tagwise.models.layers import ConvNorm, conv3x3, upsample
from tagwise.models.network import Network
from tagwise.tasks.base import Head


class PyramidTrunk(nn.Module):
    """A backbone and a feature pyramid (Lin et al. 2017) from stride 32 to 4 or 2.

    backbone: returns features "c4" to "c32", with their channels in `.channels`.
    width: channels of every level. separable: separable instead of full 3 × 3 convolutions.
    stride: of the finest level; 2 needs a backbone with "c2".
    """

    def __init__(self, backbone: nn.Module, width: int, separable: bool, stride: int = 4) -> None:
        super().__init__()
        check_range("channels of the pyramid", width, 1, 4096)
        if stride not in (2, 4) or f"c{stride}" not in backbone.channels:
            known = ", ".join(backbone.channels)
            raise UserError(
                f"stride is {stride}; use 4, or 2 if the backbone has a feature c2 (it has {known})"
            )
        self.backbone = backbone
        strides = [step for step in (32, 16, 8, 4, 2) if step >= stride]
        self.lateral = nn.ModuleDict(
            {f"c{stride}": ConvNorm(backbone.channels[f"c{stride}"], width) for stride in strides}
        )
        self.smooth = nn.ModuleDict(
            {f"p{stride}": conv3x3(width, width, separable=separable) for stride in strides}
        )
        self.channels = {**backbone.channels, **{f"p{stride}": width for stride in strides}}

    def forward(self, x: Tensor) -> Features:
        """(B, 3, H, W), normalised, to the backbone's features and "p4" (or "p2") to "p32"."""
        features, above = self.backbone(x), None
        for lateral, smooth in zip(self.lateral, self.smooth, strict=True):
            level = self.lateral[lateral](features[lateral])
            if above is not None:
                level = level + upsample(above)
            above = features[smooth] = self.smooth[smooth](level)
        return features


def pyramid_network(
    backbone: nn.Module,
    heads: dict[str, Head],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    channels: int = 64,
    separable: bool = False,
    depth: int = 1,
    stride: int = 4,
    tag_features: Sequence[str] | None = None,
    tag_channels: int = 64,
    tag_depth: int = 1,
    tag_scale: float = 2.0,
    corner_channels: int = 32,
) -> Network:
    """A backbone with a feature pyramid and a branch for each head.

    channels: width of the pyramid. separable: separable instead of full 3 × 3 convolutions.
    depth: number of 3 × 3 blocks before a heatmap or offset output.
    stride: of the output maps; 2 is for objects of a few pixels, at about twice the cost.
    tag_features: input features of the tag branch, by default the pyramid's three finest.
    tag_channels, tag_depth: width of the tag branch, and its number of blocks at every stride.
    tag_scale: see `tagwise.models.heads.add_position`.
    corner_channels: hidden channels of the corner pooling, if a head needs it.
    """
    trunk = PyramidTrunk(backbone, channels, separable, stride)
    corners = corner_modules(heads, channels, corner_channels, separable=separable, stride=stride)
    known = {**trunk.channels, **dict.fromkeys(corners, channels)}
    finest = f"p{stride}"
    tag_features = tag_features or (finest, f"p{2 * stride}", f"p{4 * stride}")
    branches = {}
    for name, head in heads.items():
        if head.kind == "tag":
            features = check_features(tag_features, stride)
            width, blocks = tag_channels, tag_depth
        else:
            features, width, blocks = (finest,), channels, depth
        features = features_for(head, features, stride)
        branch = Branch(known, features, width, blocks, head.channels, separable=separable)
        start_output(branch.output, head)
        branches[name] = branch
    return Network(
        trunk,
        branches,
        heads,
        corners=corners,
        mean=mean,
        std=std,
        tag_scale=tag_scale,
        stride=stride,
    )
