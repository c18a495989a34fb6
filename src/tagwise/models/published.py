"""Published checkpoints as models of ours, recognised from names and shapes alone.

HigherHRNet, pose-ae, mmpose 0.x and 1.x (HRNet and HigherHRNet with tags), CornerNet,
CornerNet-Lite (CornerNet, Squeeze) and mmdetection's CornerNet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tagwise.class_names import COCO80
from tagwise.corner_settings import CornerSettings
from tagwise.errors import UserError
from tagwise.grouping_settings import GroupingSettings
from tagwise.models.checkpoints import read_tensors
from tagwise.models.hourglass import MAPS_A_KEYPOINT
from tagwise.models.network import ModelSpec
from tagwise.models.published_names import Tensors, renamed, writer_of
from tagwise.models.staged import StagedNetwork
from tagwise.skeletons import COCO17, CROWDPOSE14, Skeleton
from tagwise.tasks import CornerTask, PoseTask, Task


@dataclass(frozen=True)
class Found:
    """What a file turned out to be.

    family: for people to read. model, options: of the registry. count: keypoint types or classes.
    writer: whose names the file has, as `published_names.writer_of`.
    """

    family: str
    model: str
    options: dict[str, Any]
    count: int
    writer: str | None = None


def read_published(
    path: str | Path,
    *,
    skeleton: Skeleton | None = None,
    classes: Sequence[str] | None = None,
    input_size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> tuple[ModelSpec, Tensors]:
    """A published checkpoint as what a model file of ours says and holds.

    skeleton, classes: what its maps are of; by default COCO's and CrowdPose's for their numbers of
        keypoint types and classes, else plain numbers.
    input_size: (width, height) in pixels; by default the published one of the family.
    drop_head: begin the output layers anew, for another skeleton or other classes.
    Raises UserError for a file that is none of the known families, and for counts that differ.
    """
    from tagwise.models.zoo import NoFirstValues, create_model

    path = Path(path)
    tensors, found = recognise(path)
    task = _task(path, found, skeleton, classes, drop_head)
    size = input_size or _SIZES.get(found.model, (512, 512))
    # Only new output layers need values; names and shapes are enough to check all else.
    with (
        nullcontext() if drop_head else torch.device("meta"),
        nullcontext() if drop_head else NoFirstValues(),
    ):
        model = create_model(found.model, task, input_size=size, **found.options)
    state = _fitted(path, found, tensors, model, drop_head)
    spec = replace(
        model.spec,
        decoder=_DECODERS[_test(found)],
        info={"converted_from": path.name, "family": found.family},
    )
    return spec, state


def recognise(path: Path) -> tuple[Tensors, Found]:
    """The tensors of a file, under the names of the first publication, and what they make.

    Raises UserError where they make nothing that is known.
    """
    tensors = read_tensors(path)
    writer, tensors = writer_of(tensors), renamed(tensors)
    for mark, family in _MARKS.items():
        if mark in tensors:
            return tensors, replace(family(path, tensors), writer=writer)
    if "classifier.weight" in tensors and "stage4.0.branches.0.0.conv1.weight" in tensors:
        raise UserError(
            f"{path} is an HRNet trained on ImageNet, without maps of keypoints: it cannot "
            "predict, but a recipe can start from it (model.pretrained)"
        )
    raise unknown_family(path, tensors)


def take_published(network: StagedNetwork, source: str | Path) -> None:
    """Starts a network from a published file: of the same family, or, for HRNets, of ImageNet.

    Output layers may be missing or of other shapes; all else must fit. Raises UserError.
    """
    path = Path(source)
    if not path.is_file():
        raise UserError(f"pretrained weights {path} do not exist; give a file, or null")
    tensors = {f"trunk.{name}": value for name, value in renamed(read_tensors(path)).items()}
    own = network.state_dict()
    fits = {k: v for k, v in tensors.items() if k in own and v.shape == own[k].shape}
    free = (*network.head_prefixes, "trunk.deconv_layers.", "mean", "std")
    needed = [key for key in own if not key.startswith(free) and not _counts_batches(key)]
    missing = [key.removeprefix("trunk.") for key in needed if key not in fits]
    if missing:
        raise UserError(
            f"{path} is of another network than {type(network.trunk).__name__}: {len(missing)} of "
            f"{len(needed)} tensors do not fit, such as {', '.join(missing[:10])}"
        )
    network.load_state_dict(fits, strict=False)


def unknown_family(path: Path, tensors: Tensors) -> UserError:
    """The error for a file that is none of the families, with the nearest and what differs."""
    shares = {name: _names_of(name) for name in ("higherhrnet_w32", "hrnet_w32", *_TWO)}
    near = max(shares, key=lambda name: len(shares[name] & set(tensors)) / len(shares[name]))
    wanted, there = shares[near], {name for name in tensors if not _counts_batches(name)}
    last = next((v for k, v in reversed(tensors.items()) if v.ndim > 1), None)
    shape = "none" if last is None else " × ".join(str(side) for side in last.shape)
    return UserError(
        f"{path} is of no known family: it has {len(tensors)} tensors, the last weight of shape "
        f"{shape}; nearest is {near}, with {len(wanted & there)} of {len(wanted)} names; "
        f"missing: {_first_ten(wanted - there)}; "
        f"unexpected: {_first_ten(there - wanted)}"
    )


_TWO = ("hourglass", "cornernet", "cornernet_squeeze")
_SIZES = {"higherhrnet_w48": (640, 640), "cornernet": (511, 511), "cornernet_squeeze": (511, 511)}
# Of each published test.
_DECODERS: dict[str, dict[str, Any]] = {
    "higherhrnet": {"fitting": "higherhrnet", "threshold": 0.1},
    "mmpose1": {"fitting": "mmpose1", "threshold": 0.1},
    "poseae": {"fitting": "poseae", "threshold": 0.1},
    "cornernet": {"fitting": "cornernet", "threshold": 0.3},
    "cornernet_squeeze": {"fitting": "cornernet", "threshold": 0.3},
}


# ---------------------------------------------------------------------- the families


def _higherhrnet(path: Path, tensors: Tensors) -> Found:
    count = tensors["final_layers.1.weight"].shape[0]
    return _hrnet_of(path, "HigherHRNet", "higherhrnet", tensors["final_layers.0.weight"], count)


def _hrnet(path: Path, tensors: Tensors) -> Found:
    layer = tensors["final_layer.weight"]
    if layer.shape[0] % 2:
        raise UserError(
            f"{path} is an HRNet with {layer.shape[0]} maps, which are not a heatmap and a tag of "
            "each keypoint; a network for one person at a time has no tags to group by"
        )
    return _hrnet_of(path, "HRNet with tags", "hrnet", layer, layer.shape[0] // 2)


def _hrnet_of(path: Path, family: str, model: str, layer: Tensor, count: int) -> Found:
    maps, width = layer.shape[:2]
    if maps != 2 * count:
        raise UserError(
            f"{path} is a {family} with {count} heatmaps and {maps - count} tag maps; tagwise "
            "reads those with a tag of one component for each keypoint type"
        )
    name = f"{model}_w{48 if width == 48 else 32}"
    options = {} if width in (32, 48) else {"width": width}
    return Found(f"{family}-W{width}", name, options, count)


def _hourglass(path: Path, tensors: Tensors) -> Found:
    maps, channels = tensors["outs.0.conv.weight"].shape[:2]
    wider = tensors["features.0.0.low1.conv.weight"].shape[0]
    stacks = _how_many(tensors, r"outs\.(\d+)\.conv\.weight")
    options = {"stacks": stacks, "channels": channels, "increase": wider - channels}
    plain = {"stacks": 4, "channels": 256, "increase": 128}
    changed = {name: value for name, value in options.items() if value != plain[name]}
    return Found("stacked hourglass (pose-ae)", "hourglass", changed, maps // MAPS_A_KEYPOINT)


def _cornernet(path: Path, tensors: Tensors) -> Found:
    classes, width = tensors["tl_heats.0.1.weight"].shape[:2]
    squeeze = any(".conv_1x1." in name for name in tensors)
    stacks = _how_many(tensors, r"tl_heats\.(\d+)\.1\.weight")
    plain = {"stacks": 2, "width": 256}
    options = {"stacks": stacks, "width": width}
    changed = {name: value for name, value in options.items() if value != plain[name]}
    family = "CornerNet-Squeeze" if squeeze else "CornerNet"
    return Found(family, "cornernet_squeeze" if squeeze else "cornernet", changed, classes)


_MARKS: dict[str, Callable[[Path, Tensors], Found]] = {
    "final_layers.1.weight": _higherhrnet,
    "final_layer.weight": _hrnet,
    "outs.0.conv.weight": _hourglass,
    "tl_heats.0.1.weight": _cornernet,
}
"""A tensor that only the files of one family have."""


def _how_many(tensors: Tensors, pattern: str) -> int:
    found = (re.fullmatch(pattern, name) for name in tensors)
    return len({match.group(1) for match in found if match})


# ---------------------------------------------------------------------- what becomes of them


def _task(
    path: Path,
    found: Found,
    skeleton: Skeleton | None,
    classes: Sequence[str] | None,
    drop_head: bool,
) -> Task:
    """The task of the file's maps, with the settings of the papers."""
    corners = found.model.startswith("cornernet")
    given = classes if corners else skeleton
    what, whose = ("classes", "list") if corners else ("keypoint types", "skeleton")
    if given is not None and len(given) != found.count and not drop_head:
        raise UserError(
            f"{path} has {found.count} {what}, the given {whose} has {len(given)}; give that of "
            "its training, or --drop-head to begin the output layers anew"
        )
    if corners:
        names = COCO80 if found.count == len(COCO80) else _numbered("class", found.count)
        chosen = tuple(given or names)
        fewer = {"top_k": 20, "max_boxes": 100} if found.model == "cornernet_squeeze" else {}
        settings = CornerSettings.preset("cornernet", **fewer)
        return CornerTask(chosen, published="cornernet", pairing=settings)
    known = {len(each): each for each in (COCO17, CROWDPOSE14)}
    skeleton = (
        given or known.get(found.count) or Skeleton("instance", _numbered("keypoint", found.count))
    )
    return PoseTask(
        skeleton,
        sigma=2.0,
        published="newell2017" if found.model == "hourglass" else "higherhrnet",
        weights={"heatmaps": 1.0, "pull": 1e-3, "push": 1e-3, "offsets": 0.0},
        grouping=GroupingSettings.preset(
            _test(found),
            order=_order(found) if len(skeleton) == found.count else None,
        ),
    )


def _test(found: Found) -> str:
    """The published test that the file's network is made for, by the name of its settings."""
    if found.model.startswith("cornernet"):
        return found.model
    if found.model == "hourglass":
        return "poseae"
    return "mmpose1" if found.writer == "mmpose1" else "higherhrnet"


# HigherHRNet, lib/core/group.py, Params, for 17 keypoint types and, cut short, for fewer.
_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


def _order(found: Found) -> tuple[int, ...] | None:
    """In which the file's own program groups keypoint types; None where it knows none.

    mmpose, mmpose/core/post_processing/group.py, takes those of 17 so and others as they come.
    """
    count = found.count
    if found.writer in ("mmpose", "mmpose1") and count != len(_ORDER):
        return tuple(range(count))
    first = _ORDER[:count]
    return first if sorted(first) == list(range(count)) else None


def _numbered(what: str, count: int) -> tuple[str, ...]:
    return tuple(f"{what}_{n + 1}" for n in range(count))


def _fitted(
    path: Path, found: Found, tensors: Tensors, model: StagedNetwork, drop_head: bool
) -> Tensors:
    """The model's whole state from the file's tensors. Raises UserError unless they fit exactly."""
    own = model.state_dict()
    given = {f"trunk.{name}": tensor for name, tensor in tensors.items()}
    kept = {name: own[name] for name in ("mean", "std")}
    # Files from before torch 0.4.1 do not count batches; nothing that predicts reads the count.
    uncounted = (name for name in own if _counts_batches(name) and name not in given)
    kept |= {name: torch.zeros((), dtype=torch.int64) for name in uncounted}
    if drop_head:
        heads = {name: own[name] for name in own if name.startswith(model.head_prefixes)}
        given = {name: tensor for name, tensor in given.items() if name not in heads}
        kept |= heads
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in (given | kept).items()
    }
    missing = {name for name in own if name not in state}
    unexpected = {name for name in state if name not in own}
    other = {n for n in state if n in own and state[n].shape != own[n].shape}
    if missing or unexpected or other:
        raise UserError(
            f"{path} looks like a {found.family} ({found.count} keypoint types or classes) but "
            f"does not fit it; missing: {_first_ten(missing)}; unexpected: "
            f"{_first_ten(unexpected)}; of another shape: {_first_ten(other)}"
        )
    return {name: state[name] for name in own}


def _counts_batches(name: str) -> bool:
    return name.endswith(".num_batches_tracked")


def _names_of(model: str) -> set[str]:
    """The names of a family's tensors, as first published."""
    from tagwise.models.zoo import MODELS

    task = CornerTask(COCO80) if model.startswith("cornernet") else PoseTask(COCO17)
    with torch.device("meta"):
        names = MODELS[model](task.heads()).trunk.state_dict()
    return {name for name in names if not _counts_batches(name)}


def _first_ten(names: set[str]) -> str:
    found = sorted(name.removeprefix("trunk.") for name in names)
    more = f" and {len(found) - 10} more" if len(found) > 10 else ""
    return ", ".join(found[:10]) + more if found else "none"
