"""The published networks as entries of the registry; each predicts its maps in several stages.

Training supervises every stage at its own stride; prediction uses the same stages as the papers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tagwise.errors import UserError
from tagwise.models.cornernet import CornerNet
from tagwise.models.heads import TAG_SPREAD, check_range, finish_tags
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE
from tagwise.models.network import Network
from tagwise.models.pretrained import take_published
from tagwise.published.names import MAPS_PER_KEYPOINT
from tagwise.tasks.base import Head

Maps = dict[str, Tensor]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
# princeton-vl/CornerNet, db/coco.py, as red, green, blue
CORNERNET = {
    "mean": (0.47026115, 0.44719302, 0.40789654),
    "std": (0.27809835, 0.27408164, 0.28863828),
}


class StagedNetwork(Network):
    """A published network whose weights have their original names, with the prefix "trunk.".

    trunk: (B, 3, H, W) normalised images to one tensor per stage, with the channels of the heatmaps
        before those of the tags, or to maps by name.
    strides: of each stage. `stride` is the stride of the maps in evaluation.
    combine: computes the maps in evaluation from the maps of all stages.
    outputs: prefixes of the trunk's output layers, whose shapes depend on the number of maps.
    bgr: whether the trunk takes blue, green, red.
    spare: number of pixels by which a side may be smaller than a multiple.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Mapping[str, Head],
        *,
        strides: Sequence[int],
        combine: Callable[[list[Maps]], Maps],
        outputs: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        multiple: int,
        bgr: bool = False,
        spare: int = 0,
    ) -> None:
        super().__init__(
            trunk, {}, dict(heads), mean=mean, std=std, stride=stride, multiple=multiple
        )
        self.strides, self.combine, self.bgr, self.spare = tuple(strides), combine, bgr, spare
        self.head_prefixes = tuple(f"trunk.{name}." for name in outputs)

    def forward(self, images: Tensor) -> Maps | list[Maps]:
        """RGB images (B, 3, H, W), float in [0, 1], to maps by head name.

        In training, the result is one dict per stage, in the order of `strides`; a stage may have
        no tags. Sides and maps are as in `Network`.
        """
        images = self.normalised(images)
        images = images.flip(1) if self.bgr else images
        found = self.trunk(images.contiguous(memory_format=torch.channels_last))
        stages = [self._stage(*each) for each in zip(found, self.strides, strict=True)]
        return stages if self.training else self.combine(stages)

    def takes(self, side: int) -> bool:
        return side > 0 and -side % self.multiple <= self.spare

    def _stage(self, found: Tensor | Maps, stride: int) -> Maps:
        """The trunk's output for one stage as maps by head name."""
        maps = found if isinstance(found, dict) else self._split(found)
        for name, head in self.outputs.items():
            if name in maps and head.kind == "tag":
                maps[name] = finish_tags(maps[name], head, self.tag_scale, stride)
        return {name: values.float().contiguous() for name, values in maps.items()}

    def _split(self, found: Tensor) -> Maps:
        count, tags = self.outputs["heatmaps"].channels, self.outputs["tags"].channels
        maps = {"heatmaps": found[:, :count]}
        if found.shape[1] > count:
            maps["tags"] = found[:, count : count + tags]
        return maps

    def fuse(self) -> StagedNetwork:
        """Fold batch norms into their convolutions, as `Network.fuse`."""
        if not self.fused:
            self.eval()
            for parent, first, second in list(_convolutions_and_norms(self.trunk)):
                conv, norm = parent.get_submodule(first), parent.get_submodule(second)
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(parent, first, fuse_conv_bn_eval(conv, norm, transpose=transposed))
                setattr(parent, second, nn.Identity())
            self.fused = True
        return self.requires_grad_(False).to(memory_format=torch.channels_last).eval()


def _convolutions_and_norms(body: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield (parent, name, name) of each convolution and the batch norm that follows it."""
    for parent in body.modules():
        names = [name for name, _ in parent.named_children()]
        follows = dict(pairwise(names)) if isinstance(parent, nn.Sequential) else {}
        for name, child in parent.named_children():
            norm = follows.get(name, name.replace("conv", "bn"))
            convolves = isinstance(child, (nn.Conv2d, nn.ConvTranspose2d))
            if convolves and isinstance(getattr(parent, norm, None), nn.BatchNorm2d):
                yield parent, name, norm


def hrnet(
    channels: int, heads: dict[str, Head], *, pretrained: str | None = None, width: int = 0
) -> StagedNetwork:
    """HRNet with heatmaps and tags at stride 4. channels: at stride 4, 32 for W32.

    pretrained: a file published for ImageNet or poses. width: replaces `channels` if it is not 0.
    """
    count, tags = pose_maps("hrnet", heads)
    width = width or channels
    check_range("width", width, 1, 1024)
    network = StagedNetwork(
        HRNetAE(width, count, tags),
        heads,
        strides=(4,),
        combine=last_stage,
        outputs=("final_layer",),
        **IMAGENET,
        stride=4,
        multiple=32,
    )
    start_outputs(network, [network.trunk.final_layer])
    return initialised(network, pretrained)


def higherhrnet(
    channels: int, heads: dict[str, Head], *, pretrained: str | None = None, width: int = 0
) -> StagedNetwork:
    """HigherHRNet: as `hrnet`, with finer heatmaps at stride 2; prediction averages both."""
    count, tags = pose_maps("higherhrnet", heads)
    width = width or channels
    check_range("width", width, 1, 1024)
    network = StagedNetwork(
        HigherHRNet(width, count, tags),
        heads,
        strides=(4, 2),
        combine=_finest,
        outputs=("final_layers", "deconv_layers.0.0.0"),
        **IMAGENET,
        stride=2,
        multiple=32,
    )
    start_outputs(network, network.trunk.final_layers)
    return initialised(network, pretrained)


def hourglass(
    norm: bool,
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    stacks: int = 4,
    channels: int = 256,
    increase: int = 128,
) -> StagedNetwork:
    """The stacked hourglass of the pose paper; prediction uses the last stack.

    norm: whether it has batch norms, as in mmpose. pretrained: a published file. stacks: number of
    hourglasses. channels: at stride 4. increase: additional channels at each coarser stride.
    """
    count, tags = pose_maps("hourglass", heads)
    if not norm and tags > (MAPS_PER_KEYPOINT - 1) * count:
        raise UserError(
            f"the hourglass supports tags of at most {MAPS_PER_KEYPOINT - 1} components per "
            f"keypoint type, not {tags / count:g}"
        )
    for name, value, least in (("stacks", stacks, 1), ("channels", channels, 1)):
        check_range(name, value, least, 4096)
    check_range("increase", increase, 0, 4096)
    maps = count + tags if norm else None
    network = StagedNetwork(
        StackedHourglass(count, stacks, channels, increase, maps, norm),
        heads,
        strides=(4,) * stacks,
        combine=last_stage,
        outputs=("outs", "merge_preds"),
        **(IMAGENET if norm else PLAIN),
        stride=4,
        multiple=64,
    )
    start_outputs(network, [out.conv for out in network.trunk.outs])
    return initialised(network, pretrained)


def cornernet(
    squeeze: bool,
    heads: dict[str, Head],
    *,
    pretrained: str | None = None,
    stacks: int = 2,
    width: int = 256,
) -> StagedNetwork:
    """CornerNet with Hourglass-104, or CornerNet-Squeeze; prediction uses the last stack.

    pretrained: a published file. stacks: number of hourglasses. width: channels at the finest
    stride.
    """
    expected = {f"{corner}_{name}" for corner in ("tl", "br") for name in ("heat", "tag", "off")}
    if set(heads) != expected:
        raise UserError(
            "cornernet predicts maps of corners; use it with task: corners and without centres"
        )
    check_range("stacks", stacks, 1, 16)
    # With other numbers of channels, oneDNN's backward pass of tiny maps writes out of bounds.
    if width % 32 or not 32 <= width <= 4096:
        raise UserError(f"width is {width}; use a multiple of 32 up to 4096")
    stride = 8 if squeeze else 4
    classes, tags = heads["tl_heat"].channels, heads["tl_tag"].channels
    network = StagedNetwork(
        CornerNet(classes, tags, squeeze, stacks, width),
        heads,
        strides=(stride,) * stacks,
        combine=last_stage,
        outputs=tuple(
            f"{corner}_{name}.{stack}.1"
            for corner in ("tl", "br")
            for name in ("heats", "tags")
            for stack in range(stacks)
        ),
        **CORNERNET,
        stride=stride,
        multiple=128,
        bgr=True,
        spare=1,
    )
    return initialised(network, pretrained)


def start_outputs(network: StagedNetwork, layers: Sequence[nn.Conv2d]) -> None:
    """Initialise output layers, heatmaps before tags, as `heads.start_output` does."""
    head = network.outputs["heatmaps"]
    for layer in layers:
        nn.init.normal_(layer.weight, std=TAG_SPREAD)
        nn.init.normal_(layer.weight[: head.channels], std=0.001)
        nn.init.constant_(layer.bias, head.bias)
        nn.init.zeros_(layer.bias[head.channels :])


def pose_maps(name: str, heads: Mapping[str, Head]) -> tuple[int, int]:
    """The number of heatmaps and of tag maps. Raises UserError if there are any other maps."""
    if set(heads) != {"heatmaps", "tags"}:
        raise UserError(
            f"{name} predicts only heatmaps and tags, not {', '.join(heads)}; use it with task: "
            "pose and without offsets"
        )
    return heads["heatmaps"].channels, heads["tags"].channels


def last_stage(stages: list[Maps]) -> Maps:
    """The maps of the last stage."""
    return stages[-1]


def _finest(stages: list[Maps]) -> Maps:
    """The averaged heatmaps of both strides, and the tags, at the finer stride (section 3.4)."""
    coarse, fine = stages
    size = fine["heatmaps"].shape[-2:]
    heatmaps, tags = (
        F.interpolate(coarse[name], size=size, mode="bilinear", align_corners=False)
        for name in ("heatmaps", "tags")
    )
    return {"heatmaps": (heatmaps + fine["heatmaps"]) / 2, "tags": tags}


def initialised(network: StagedNetwork, pretrained: str | None) -> StagedNetwork:
    """The network with the published weights of a file, if one is given."""
    if pretrained is not None:
        take_published(network, pretrained)
    return network.to(memory_format=torch.channels_last)
