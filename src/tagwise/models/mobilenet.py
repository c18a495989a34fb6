"""MobileNetV2 with a feature pyramid, as in MoveNet MultiPose, and an additional head for tags.

MobileNetV2: Sandler et al. 2018, table 2, at 1.5 times its width. Pyramid and heads: CenterNet
"mobilenet_v2_fpn" of the TensorFlow object detection API. Batch norms were folded into the
weights that Google published, so the convolutions here have biases instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tagwise.errors import UserError
from tagwise.models.corner_pool import corner_modules
from tagwise.models.heads import Branch, Features, check_features, features_for, start_output
from tagwise.models.layers import ConvNorm, InvertedResidual, SeparableConv, upsample
from tagwise.models.network import Network
from tagwise.models.tfjs import read_weights
from tagwise.tasks.base import Head

# (expansion, channels, repeats, stride), with 1.5 times the channels of the paper.
STAGES = (
    (1, 24, 1, 1),
    (6, 40, 2, 2),
    (6, 48, 3, 2),
    (6, 96, 4, 2),
    (6, 144, 3, 1),
    (6, 240, 3, 2),
    (6, 480, 1, 1),
)
# Blocks whose outputs are features. At stride 16, it is the last block before 144 channels.
TAPS = {2: "c4", 5: "c8", 9: "c16"}
HIDDEN = 96
CORNER = 0.375
"""Difference between the offsets of MoveNet and tagwise, .5 - .125 cells. In MoveNet,
x = 4 (column + offset), from the image's edge. Here, x = 4 (column + offset + .5) - .5, from the
centre of the first pixel."""

_ROOT = "StatefulPartitionedCall/"
_PYRAMID = _ROOT + "center_net_mobile_net_v2fpn_feature_extractor/model_1/"


class MobileNetV2(nn.Module):
    """The backbone: images (B, 3, H, W) to features "c4", "c8", "c16", "c32"."""

    channels = {"c4": 40, "c8": 48, "c16": 96, "c32": 1280}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 48, 3, stride=2, norm=False, activation="relu6")
        self.blocks = nn.ModuleList()
        inputs = 48
        for expansion, outputs, repeats, stride in STAGES:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                self.blocks.append(
                    InvertedResidual(inputs, outputs, 3, step, expansion, norm=False)
                )
                inputs = outputs
        self.head = ConvNorm(inputs, 1280, norm=False, activation="relu6")

    def forward(self, x: Tensor) -> Features:
        """(B, 3, H, W) in [-1, 1] to features by name, (B, C, H / stride, W / stride)."""
        x, features = self.stem(x), {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAPS:
                features[TAPS[index]] = x
        features["c32"] = self.head(x)
        return features


class MoveNetTrunk(nn.Module):
    """Backbone and pyramid: (B, 3, H, W) in [-1, 1] to the backbone's features and "p4" to "p32".

    "p4", with 24 channels, is the input of MoveNet's heads.
    """

    channels = {**MobileNetV2.channels, "p4": 24, "p8": 24, "p16": 32, "p32": 64}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        self.lateral = nn.ModuleDict(
            {
                name: ConvNorm(self.channels[name], width, norm=False)
                for name, width in {"c32": 64, "c16": 64, "c8": 32, "c4": 24}.items()
            }
        )
        self.smooth = nn.ModuleDict(
            {
                name: SeparableConv(inputs, self.channels[name], norm=False)
                for name, inputs in {"p16": 64, "p8": 32, "p4": 24}.items()
            }
        )

    def forward(self, x: Tensor) -> Features:
        """See the class."""
        features = self.backbone(x)
        features["p32"] = above = self.lateral["c32"](features["c32"])
        for stride in (16, 8, 4):
            level = upsample(above) + self.lateral[f"c{stride}"](features[f"c{stride}"])
            features[f"p{stride}"] = above = self.smooth[f"p{stride}"](level)
        return features


class MoveNetBranch(nn.Module):
    """A head of MoveNet: a separable convolution to 96 channels, then 1 × 1 to the outputs.

    Its input is "p4", or the result of corner pooling on "p4".
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        (self.feature,) = features_for(head, ("p4",))
        self.hidden = SeparableConv(MoveNetTrunk.channels["p4"], HIDDEN, norm=False)
        self.output = nn.Conv2d(HIDDEN, head.channels, 1)
        start_output(self.output, head)

    def forward(self, features: Features) -> Tensor:
        """The trunk's features to (B, channels, H / 4, W / 4)."""
        return self.output(self.hidden(features[self.feature]))


def movenet(
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    tag_features: Sequence[str] = ("p4", "p8", "p16"),
    tag_channels: int = 64,
    tag_depth: int = 1,
    tag_scale: float = 2.0,
    corner_channels: int = 32,
) -> Network:
    """MobileNetV2 and pyramid with MoveNet's heads for heatmaps and offsets, and one for tags.

    pretrained: the JSON of MoveNet MultiPose as a TF.js model. Its heatmaps have COCO's order; in
    heads with another number of maps, the last layer keeps its initial values.
    tag_features: input features of the tag branch ("p4" to "p32" of the pyramid, "c4" to "c32" of
    the backbone). tag_channels, tag_depth: width of the tag branch, and its number of blocks at
    every stride. tag_scale: see `tagwise.models.heads.add_position`.
    corner_channels: hidden channels of the corner pooling, if a head needs it.
    """
    trunk = MoveNetTrunk()
    width = trunk.channels["p4"]
    corners = corner_modules(heads, width, corner_channels, separable=True)
    known = {**trunk.channels, **dict.fromkeys(corners, width)}
    branches: dict[str, nn.Module] = {}
    for name, head in heads.items():
        if head.kind == "tag":
            features = features_for(head, check_features(tag_features, 4))
            branch = Branch(known, features, tag_channels, tag_depth, head.channels)
            start_output(branch.output, head)
            branches[name] = branch
        else:
            branches[name] = MoveNetBranch(head)
    if pretrained is not None:
        if not str(pretrained).endswith(".json"):
            raise UserError(
                f"pretrained={pretrained!r} is neither a tagwise model nor the .json of MoveNet "
                "MultiPose as a TF.js model"
            )
        load_movenet(trunk, branches, heads, pretrained)
    half = [0.5] * 3  # x / 127.5 - 1 for bytes
    return Network(
        trunk, branches, heads, corners=corners, mean=half, std=half, tag_scale=tag_scale
    )


@torch.no_grad()
def load_movenet(
    trunk: MoveNetTrunk, branches: dict[str, nn.Module], heads: dict[str, Head], path: str
) -> None:
    """Load the weights of the TF.js model into the trunk and the heads for heatmaps and offsets.

    Raises UserError if a tensor is missing or has another shape.
    """
    weights = read_weights(path)
    plan = list(_trunk_plan(trunk))
    for name, branch in branches.items():
        if isinstance(branch, MoveNetBranch):
            plan += _branch_plan(branch, heads[name].kind)
    for conv, weight, bias in plan:
        if weight not in weights or (bias is not None and bias not in weights):
            raise UserError(f"{path} is not MoveNet MultiPose: it has no tensor {weight}")
        kernel, values = _kernel(weights[weight], conv.groups > 1), weights.get(bias or "")
        if "kpt_offset" in weight and conv.out_channels % 2 == 0 and len(kernel) == 34:
            kernel, values = _to_xy(kernel), _to_xy(values) - CORNER
        if kernel.shape == conv.weight.shape:
            conv.weight.copy_(torch.from_numpy(kernel))
            if values is not None:
                conv.bias.copy_(torch.from_numpy(values))
        elif not any(conv is getattr(branch, "output", None) for branch in branches.values()):
            raise UserError(f"{path} is not MoveNet MultiPose: {weight} is {kernel.shape}")


Step = tuple[nn.Conv2d, str, str | None]
"""A convolution, and the names of its kernel and bias in the TF.js model."""


def _kernel(array: np.ndarray, depthwise: bool) -> np.ndarray:
    """Convert a kernel (H, W, in, out), if depthwise (H, W, channels, 1), to PyTorch's order."""
    order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
    return np.ascontiguousarray(array.transpose(order))


def _to_xy(array: np.ndarray) -> np.ndarray:
    """Swap the channels of each keypoint from y, x to x, y."""
    pairs = array.reshape(-1, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs[:, ::-1].reshape(array.shape))


def _trunk_plan(trunk: MoveNetTrunk) -> Iterator[Step]:
    model = _PYRAMID + "model/"

    def folded(module: ConvNorm, name: str, op: str = "Conv2D") -> Step:
        return module.conv, f"{model}{name}/{op}_weights", f"{model}{name}/{op}_bn_offset"

    yield folded(trunk.backbone.stem, "Conv1")
    for index, block in enumerate(trunk.backbone.blocks):
        name = f"block_{index}" if index else "expanded_conv"
        if index:
            yield folded(block.expand, f"{name}_expand")
        yield folded(block.depthwise, f"{name}_depthwise", "depthwise")
        yield folded(block.project, f"{name}_project")
    yield folded(trunk.backbone.head, "Conv_1")
    for lateral, name in zip(
        trunk.lateral.values(), ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3"), strict=True
    ):
        yield _plain(lateral.conv, _PYRAMID + name)
    for index, smooth in enumerate(trunk.smooth.values()):
        name = f"{_PYRAMID}separable_conv2d{f'_{index}' if index else ''}/separable_conv2d"
        yield smooth[0].conv, f"{name}/ReadVariableOp", None
        yield smooth[1].conv, f"{name}_weights", f"{name}_bn_offset"


def _branch_plan(branch: MoveNetBranch, kind: str) -> Iterator[Step]:
    head, number = {"heatmap": ("kpt_heatmap_0", 6), "offset": ("kpt_offset_0", 8)}[kind]
    name = f"{_ROOT}{head}/separable_conv2d_{number}"
    yield branch.hidden[0].conv, f"{name}/separable_conv2d/ReadVariableOp", None
    yield (
        branch.hidden[1].conv,
        f"{name}/separable_conv2d/ReadVariableOp_1",
        f"{name}/BiasAdd/ReadVariableOp",
    )
    yield _plain(branch.output, f"{_ROOT}{head}/conv2d_{number + 1}")


def _plain(conv: nn.Conv2d, name: str) -> Step:
    return conv, f"{name}/Conv2D/ReadVariableOp", f"{name}/BiasAdd/ReadVariableOp"
