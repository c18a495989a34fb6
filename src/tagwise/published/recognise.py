"""Recognising published checkpoints from the names and shapes of their tensors.

The families are HigherHRNet, pose-ae, mmpose 0.x (HRNet, HigherHRNet, hourglass, ResNet and
MobileNetV2 with tags), mmpose 1.x (HRNet with tags), CornerNet, CornerNet-Lite (CornerNet, Squeeze)
and mmdetection's CornerNet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tagwise.errors import UserError
from tagwise.grouping.settings import CornerSettings, GroupingSettings
from tagwise.published import mmpose
from tagwise.published.checkpoints import read_checkpoint
from tagwise.published.class_names import COCO80
from tagwise.published.names import MAPS_PER_KEYPOINT, Tensors, renamed, writer_of
from tagwise.skeletons import Skeleton
from tagwise.tasks import CornerTask, PoseTask, Task


@dataclass(frozen=True)
class Recognised:
    """The network that a file was recognised as.

    family: a readable name. model, options: name and options in the registry. count: number of
    keypoint types or classes. writer: the program that wrote the file, from `names.writer_of`.
    settings: its config, see `read_checkpoint`.
    """

    family: str
    model: str
    options: dict[str, Any]
    count: int
    writer: str | None = None
    settings: str = ""


def recognise(path: Path) -> tuple[Tensors, Recognised | None]:
    """The tensors of a file, under the names of the original code, and the recognised network.

    The network is None if the file does not belong to a known family. Raises UserError for a file
    that cannot be read, for a network that has no tags, and for one whose published test tagwise
    cannot follow.
    """
    tensors, settings = read_checkpoint(path)
    writer, tensors = writer_of(tensors), renamed(tensors)
    if writer in ("mmpose", "mmpose1"):
        mmpose.check_settings(path, settings)
    for mark, family in _FAMILIES.items():
        if mark in tensors:
            try:
                found = family(path, tensors)
            except KeyError:  # other tensors of the family are missing
                break
            return tensors, replace(found, writer=writer, settings=settings)
    if "classifier.weight" in tensors and "stage4.0.branches.0.0.conv1.weight" in tensors:
        raise UserError(
            f"{path} is an HRNet trained on ImageNet, without maps of keypoints; it cannot "
            "predict, but a recipe can start from it (model.pretrained)"
        )
    return tensors, None


INPUT_SIZES = {
    "higherhrnet_w48": (640, 640),
    "cornernet": (511, 511),
    "cornernet_squeeze": (511, 511),
}
# Decoder settings of each published test.
DECODERS: dict[str, dict[str, Any]] = {
    "higherhrnet": {"fitting": "higherhrnet", "threshold": 0.1},
    "hourglass_ae": {"fitting": "mmpose_hourglass", "threshold": 0.1},
    "mmpose1": {"fitting": "mmpose1", "threshold": 0.1},
    "poseae": {"fitting": "poseae", "threshold": 0.1},
    "cornernet": {"fitting": "cornernet", "threshold": 0.3},
    "openmodelzoo": {"fitting": "openmodelzoo", "threshold": 0.1},
    "cornernet_squeeze": {"fitting": "cornernet", "threshold": 0.3},
}


# ---------------------------------------------------------------------- the families


def _higherhrnet(path: Path, tensors: Tensors) -> Recognised:
    count = tensors["final_layers.1.weight"].shape[0]
    return _hrnet_of(path, "HigherHRNet", "higherhrnet", tensors["final_layers.0.weight"], count)


def _hrnet(path: Path, tensors: Tensors) -> Recognised:
    layer = tensors["final_layer.weight"]
    return _hrnet_of(path, "HRNet with tags", "hrnet", layer, _half(path, "an HRNet", layer))


def _half(path: Path, what: str, layer: Tensor) -> int:
    """The number of keypoint types of a layer with a heatmap and a tag map for each."""
    if layer.shape[0] % 2:
        raise UserError(
            f"{path} is {what} with {layer.shape[0]} maps, which are not a heatmap and a tag map "
            "per keypoint; a network for one person at a time has no tags to group by"
        )
    return layer.shape[0] // 2


def _deconvolved(path: Path, tensors: Tensors) -> Recognised:
    """ResNet or MobileNetV2 with three deconvolutions, of mmpose 0.x."""
    layer, options = tensors["final_layer.weight"], {"filters": tensors[_DECONV].shape[1]}
    if "layer4.0.conv3.weight" in tensors:
        depth = _DEPTHS[_count_matches(tensors, r"layer3\.(\d+)\.conv3\.weight")]
        options["width"] = tensors["conv1.weight"].shape[0]
        name, model = f"ResNet-{depth}", f"resnet{depth}"
    elif "layer7.0.conv.0.conv.weight" in tensors:
        name, model = "MobileNetV2", "mobilenetv2"
    else:
        raise KeyError("the backbone is another one")
    plain = {"width": 64, "filters": 256}
    changed = {key: value for key, value in options.items() if value != plain[key]}
    return Recognised(f"{name} with tags", model, changed, _half(path, f"a {name}", layer))


_DECONV = "deconv_layers.0.weight"
_DEPTHS = {6: 50, 23: 101, 36: 152}  # by the number of blocks in the third layer


def _hrnet_of(path: Path, family: str, model: str, layer: Tensor, count: int) -> Recognised:
    maps, width = layer.shape[:2]
    if maps != 2 * count:
        raise UserError(
            f"{path} is a {family} with {count} heatmaps and {maps - count} tag maps; tagwise "
            "reads networks with one tag map per keypoint type"
        )
    name = f"{model}_w{48 if width == 48 else 32}"
    options = {} if width in (32, 48) else {"width": width}
    return Recognised(f"{family}-W{width}", name, options, count)


def _hourglass(path: Path, tensors: Tensors) -> Recognised:
    out = tensors["outs.0.conv.weight"]
    maps, channels = out.shape[:2]
    wider = tensors["features.0.0.low1.conv.weight"].shape[0]
    stacks = _count_matches(tensors, r"outs\.(\d+)\.conv\.weight")
    options = {"stacks": stacks, "channels": channels, "increase": wider - channels}
    plain = {"stacks": 4, "channels": 256, "increase": 128}
    changed = {name: value for name, value in options.items() if value != plain[name]}
    if "pre.0.bn.weight" in tensors:
        count = _half(path, "a stacked hourglass", out)
        return Recognised("stacked hourglass (mmpose)", "hourglass_ae", changed, count)
    return Recognised(
        "stacked hourglass (pose-ae)", "hourglass", changed, maps // MAPS_PER_KEYPOINT
    )


def _cornernet(path: Path, tensors: Tensors) -> Recognised:
    classes, width = tensors["tl_heats.0.1.weight"].shape[:2]
    squeeze = any(".conv_1x1." in name for name in tensors)
    stacks = _count_matches(tensors, r"tl_heats\.(\d+)\.1\.weight")
    plain = {"stacks": 2, "width": 256}
    options = {"stacks": stacks, "width": width}
    changed = {name: value for name, value in options.items() if value != plain[name]}
    family = "CornerNet-Squeeze" if squeeze else "CornerNet"
    return Recognised(family, "cornernet_squeeze" if squeeze else "cornernet", changed, classes)


_FAMILIES: dict[str, Callable[[Path, Tensors], Recognised]] = {
    "final_layers.1.weight": _higherhrnet,
    _DECONV: _deconvolved,
    "final_layer.weight": _hrnet,
    "outs.0.conv.weight": _hourglass,
    "tl_heats.0.1.weight": _cornernet,
}
"""The families by the name of a tensor that only their files have."""


def _count_matches(tensors: Tensors, pattern: str) -> int:
    matches = (re.fullmatch(pattern, name) for name in tensors)
    return len({match.group(1) for match in matches if match})


# ---------------------------------------------------------------------- tasks and protocols


def published_task(
    path: Path,
    network: Recognised,
    skeleton: Skeleton | None,
    classes: Sequence[str] | None,
    drop_head: bool,
) -> Task:
    """The task for the file's maps, with the settings of the papers."""
    corners = network.model.startswith("cornernet")
    given = classes if corners else skeleton
    what, whose = ("classes", "list") if corners else ("keypoint types", "skeleton")
    if given is not None and len(given) != network.count and not drop_head:
        raise UserError(
            f"{path} has {network.count} {what}, the given {whose} has {len(given)}; give the "
            f"{whose} it was trained with, or --drop-head to initialise new output layers"
        )
    if corners:
        names = COCO80 if network.count == len(COCO80) else _numbered("class", network.count)
        chosen = tuple(given or names)
        fewer = {"top_k": 20, "max_boxes": 100} if network.model == "cornernet_squeeze" else {}
        settings = CornerSettings.preset("cornernet", **fewer)
        return CornerTask(chosen, published="cornernet", pairing=settings)
    known = mmpose.skeleton_of(path, network.settings, network.count)
    skeleton = given or known or Skeleton("instance", _numbered("keypoint", network.count))
    protocol = protocol_of(network)
    return PoseTask(
        skeleton,
        sigma=2.0,
        published="newell2017" if network.model == "hourglass" else "higherhrnet",
        weights={"heatmaps": 1.0, "pull": 1e-3, "push": 1e-3, "offsets": 0.0},
        grouping=GroupingSettings.preset(
            "higherhrnet" if protocol == "hourglass_ae" else protocol,
            order=(
                grouping_order(network.count, network.writer)
                if len(skeleton) == network.count
                else None
            ),
        ),
    )


def protocol_of(network: Recognised) -> str:
    """The name of the settings of the published test for the file's network."""
    if network.model.startswith("cornernet"):
        return network.model
    if network.model == "hourglass":
        return "poseae"
    if network.model == "hourglass_ae":
        return "hourglass_ae"
    return "mmpose1" if network.writer == "mmpose1" else "higherhrnet"


# HigherHRNet, lib/core/group.py, Params, for 17 keypoint types; truncated for fewer types.
_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def grouping_order(count: int, writer: str | None) -> tuple[int, ...] | None:
    """The order in which a file's own program groups keypoint types; None if it has no order.

    count: number of types. writer: as in `Recognised`.
    mmpose, mmpose/core/post_processing/group.py, uses _ORDER for 17 types, otherwise the order
    of the types.
    """
    if writer in ("mmpose", "mmpose1") and count != len(_ORDER):
        return tuple(range(count))
    first = _ORDER[:count]
    return first if sorted(first) == list(range(count)) else None


def _numbered(what: str, count: int) -> tuple[str, ...]:
    return tuple(f"{what}_{n + 1}" for n in range(count))
