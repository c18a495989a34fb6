"""Conversion of published checkpoints to tagwise networks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular
from tagwise.models.model_file import read_header
from tagwise.models.pretrained import counts_batches
from tagwise.models.spec import ModelSpec
from tagwise.models.staged import StagedNetwork
from tagwise.models.zoo import MODELS, SkipInit, new_model
from tagwise.published import mmpose
from tagwise.published.class_names import COCO80
from tagwise.published.names import Tensors
from tagwise.published.recognise import (
    DECODERS,
    INPUT_SIZES,
    Recognised,
    protocol_of,
    published_task,
    recognise,
)
from tagwise.skeletons import COCO17, Skeleton
from tagwise.tasks import CornerTask, PoseTask


def read_published(
    path: str | Path,
    *,
    skeleton: Skeleton | None = None,
    classes: Sequence[str] | None = None,
    input_size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> tuple[ModelSpec, Tensors]:
    """Convert a published checkpoint to the spec and tensors of a tagwise model file.

    skeleton, classes: the keypoint types or classes of its maps. By default, those of a known
        skeleton (`tagwise.skeletons.SKELETONS`) or of COCO if the number matches, otherwise
        numbered names.
    input_size: (width, height) in pixels; by default the one in the file's settings, otherwise
        the published size of the family.
    drop_head: initialise new output layers, for another skeleton or other classes.
    Raises UserError for a file that does not belong to a known family, and if the number of
    keypoint types or classes differs.
    """
    path = Path(path)
    _refuse_own(path)
    tensors, network = recognise(path)
    if network is None:
        raise unknown_family(path, tensors)
    task = published_task(path, network, skeleton, classes, drop_head)
    stated = mmpose.input_size(network.settings) if network.writer == "mmpose" else None
    size = input_size or stated or INPUT_SIZES.get(network.model, (512, 512))
    # Only new output layers need values; names and shapes are enough to check the other layers.
    with (
        nullcontext() if drop_head else torch.device("meta"),
        nullcontext() if drop_head else SkipInit(),
    ):
        model = new_model(network.model, task, input_size=size, **network.options)
    state = _fitted(path, network, tensors, model, drop_head)
    spec = replace(
        model.spec,
        decoder=DECODERS[protocol_of(network)],
        info={"converted_from": path.name, "family": network.family},
    )
    return spec, state


def _refuse_own(path: Path) -> None:
    """Raise UserError for a tagwise model file, which needs no conversion."""
    with open_regular(path, "checkpoint") as file:
        content = kind_of(file.read(SNIFFED))
    if content != "a safetensors file" or read_header(path) is None:
        return
    if path.suffix == ".safetensors":
        raise UserError(f"{path} is already a tagwise model file: use it with --weights {path}")
    raise UserError(f"{path} is a tagwise model file: rename it so that it ends in .safetensors")


def unknown_family(path: Path, tensors: Tensors) -> UserError:
    """The error for a file of an unknown family, with the nearest family and the differences."""
    shares = {name: _names_of(name) for name in ("higherhrnet_w32", "hrnet_w32", *_OTHERS)}
    near = max(shares, key=lambda name: len(shares[name] & set(tensors)) / len(shares[name]))
    wanted, present = shares[near], {name for name in tensors if not counts_batches(name)}
    last = next((v for k, v in reversed(tensors.items()) if v.ndim > 1), None)
    shape = "none" if last is None else " × ".join(str(side) for side in last.shape)
    return UserError(
        f"{path} is not of a known family: it has {len(tensors)} tensors, the last weight of shape "
        f"{shape}; nearest is {near}, with {len(wanted & present)} of {len(wanted)} names; "
        f"missing: {_first_ten(wanted - present)}; "
        f"unexpected: {_first_ten(present - wanted)}"
    )


_OTHERS = (
    *("hourglass", "hourglass_ae", "resnet50", "mobilenetv2", "cornernet", "cornernet_squeeze"),
)


def _fitted(
    path: Path, network: Recognised, tensors: Tensors, model: StagedNetwork, drop_head: bool
) -> Tensors:
    """The model's state dict from the file's tensors. Raises UserError unless they fit exactly."""
    expected = model.state_dict()
    given = {f"trunk.{name}": tensor for name, tensor in tensors.items()}
    kept = {name: expected[name] for name in ("mean", "std")}
    # Files from before torch 0.4.1 have no batch counters, which prediction does not use.
    uncounted = (name for name in expected if counts_batches(name) and name not in given)
    kept |= {name: torch.zeros((), dtype=torch.int64) for name in uncounted}
    if drop_head:
        heads = {name: expected[name] for name in expected if name.startswith(model.head_prefixes)}
        given = {name: tensor for name, tensor in given.items() if name not in heads}
        kept |= heads
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in (given | kept).items()
    }
    missing = {name for name in expected if name not in state}
    unexpected = {name for name in state if name not in expected}
    other = {n for n in state if n in expected and state[n].shape != expected[n].shape}
    if missing or unexpected or other:
        raise UserError(
            f"{path} looks like a {network.family} ({network.count} keypoint types or classes) but "
            f"does not fit it; missing: {_first_ten(missing)}; unexpected: "
            f"{_first_ten(unexpected)}; of another shape: {_first_ten(other)}"
        )
    return {name: state[name] for name in expected}


def _names_of(model: str) -> set[str]:
    """The names of a family's tensors in the original code."""
    task = CornerTask(COCO80) if model.startswith("cornernet") else PoseTask(COCO17)
    with torch.device("meta"), SkipInit():
        names = MODELS[model](task.heads()).trunk.state_dict()
    return {name for name in names if not counts_batches(name)}


def _first_ten(names: set[str]) -> str:
    listed = sorted(name.removeprefix("trunk.") for name in names)
    more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
    return ", ".join(listed[:10]) + more if listed else "none"
