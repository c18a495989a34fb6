"""The settings of a recipe that follow from the labels, each with its reason.

The rules were fitted to the recipes in `recipes/`, whose values were chosen by hand: from the
labels of those data sets they give values close to them. A test compares both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tagwise.labels.survey import Survey
from tagwise.training.start import Start

# The longer side, in pixels of the network's input, that 95 % and half of the instances reach.
_LEAST_SIDE, _USUAL_SIDE = {"pose": 48, "corners": 30}, {"pose": 128, "corners": 64}
_VAL_SIDES, _CROP_SIDES = (128, 800), (288, 384)  # least and largest side of inputs, in pixels
_MULTIPLE = 32  # of the sides of the network's input
_FREEZE_BELOW = 200  # images; with fewer, the first layers keep their initial weights
_FIRST_LAYERS = [f"trunk.backbone.{part}" for part in ("stem", "blocks.0", "blocks.1", "blocks.2")]
_MASK_SIDE, _MASK_SIDES = 24, (10, 80)  # usual side of a mask, and those that need no zoom


class Choices:
    """Values of a recipe by dotted name, and the reason for each.

    >>> choices = Choices()
    >>> choices.set("optim.steps", 2000, "10 images")
    >>> choices.tree
    {'optim': {'steps': 2000}}
    """

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def set(self, name: str, value: Any, reason: str = "") -> None:
        """Set a value; values of one section are set one after the other, to stay in order."""
        *path, last = name.split(".")
        node = self.tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
        if reason:
            self.reasons[name] = reason
        else:
            self.reasons.pop(name, None)


def propose(task: str, found: Survey, start: Start, images: int) -> Choices:
    """Choose the settings for a task from what the labels have in common.

    images: the number of images to train on. The data files, `sigmas`, the device and the number of
    steps for it are set by the caller.
    """
    choices = Choices()
    choices.set("task", task)
    if task == "pixels":
        _masks(choices, found, start)
        val_size = choices.tree["data"]["val_size"]
    else:
        val_size = _sizes(choices, task, found)
        _task_options(choices, task, found, start, val_size)
    _model(choices, start, images)
    _colours(choices, found)
    usual = 2000 * float(np.clip((images / 200) ** 0.2, 0.6, 1.6))
    choices.set("optim.steps", round(usual / 100) * 100, f"from {images} images")
    choices.set("optim.batch", 8)
    return choices


# ---------------------------------------------------------------------- sizes of poses and boxes


def _sizes(choices: Choices, task: str, found: Survey) -> tuple[int, int]:
    """Choose the sizes of the inputs and the augmentation; returns the size in validation."""
    width, height = found.shape()
    small, usual = np.quantile(found.fitted_sides(width, height), (0.05, 0.5))
    native = float(np.quantile(found.sizes.max(1), 0.9))
    wanted = max(_LEAST_SIDE[task] / max(small, 1e-6), _USUAL_SIDE[task] / max(usual, 1e-6))
    longest = min(float(np.clip(wanted, *_VAL_SIDES)), 2 * native)
    val_size = (_rounded(width * longest), _rounded(height * longest))
    sides = found.fitted_sides(*val_size)
    crop = float(np.clip(1.25 * np.quantile(sides, 0.95), *_CROP_SIDES))
    crop = min(crop, max(val_size))
    if crop < 0.55 * max(val_size):
        input_size = (_rounded(crop), _rounded(crop))
    else:
        input_size = (_rounded(width * crop), _rounded(height * crop))
    low, middle, high = np.quantile(sides, (0.1, 0.5, 0.95))
    choices.set(
        "data.input_size",
        list(input_size),
        "crops to train on; they hold nearly every instance at the size that it has in validation",
    )
    choices.set(
        "data.val_size",
        list(val_size),
        f"instances are then {low:.0f} to {high:.0f} pixels long, usually {middle:.0f}",
    )
    _views(choices, task, found, input_size, val_size)
    return val_size


def _views(
    choices: Choices,
    task: str,
    found: Survey,
    input_size: tuple[int, int],
    val_size: tuple[int, int],
) -> None:
    """Choose how crops are cut, from the scale of instances in validation."""
    size = np.median(found.sizes, axis=0)
    ratio = float((np.array(val_size) / size).min() / (np.array(input_size) / size).min())
    low, high = (0.85, 1.5) if task == "corners" else (0.62, 1.2)
    choices.set(
        "data.augment.scale",
        [_short(low * ratio), _short(high * ratio)],
        f"of the whole image in the crop; {ratio:.2f} is the size in validation",
    )
    if task == "corners":
        choices.set("data.augment.cover", 0.0)
    _turns(choices, task, found)
    shift = _short(float(np.clip(0.4 * (ratio - 1), 0.2, 0.5)))
    choices.set("data.augment.shift", shift, "so that crops reach every part of the image")
    if task != "pose":
        return
    share = np.quantile(found.fitted_sides(*val_size), (0.1, 0.75, 0.95)) / min(input_size)
    low, most, high = (_short(float(np.clip(value, 0.05, 1.0))) for value in share)
    choices.set(
        "data.augment.focus",
        _short(float(np.clip(0.25 * ratio, 0.2, 0.7))),
        "share of the crops that show one instance",
    )
    choices.set("data.augment.focus_size", [low, high], "sizes of instances, in shares of the crop")
    choices.set("data.augment.zoom", _short(1.6 * ratio))
    _crowds(choices, found, (low, most))


def _turns(choices: Choices, task: str, found: Survey) -> None:
    """Choose the rotations, from the directions that instances have."""
    if task == "pose" and found.spread is not None:
        if found.upright:
            angle = int(np.clip(round(1.2 * found.spread), 10, 45))
            reason = f"instances stand upright, within {found.spread:.0f} degrees"
        else:
            angle, reason = 180, "instances have no usual direction"
        choices.set("data.augment.rotate", angle, reason)
        return
    no_direction = 0.3 <= found.tall <= 0.7
    if task == "pose":
        choices.set("data.augment.rotate", 20, "too few instances to know their usual direction")
        return
    choices.set("data.augment.rotate", 20 if task == "pixels" else 0)
    reason = f"{found.tall:.0%} of the boxes are higher than wide"
    if no_direction:
        choices.set("data.augment.quarter", 0.75, f"no usual direction: {reason}")
    else:
        choices.set("data.augment.quarter", 0.0, f"a usual direction: {reason}")


def _crowds(choices: Choices, found: Survey, sizes: tuple[float, float]) -> None:
    """Choose whether crops are filled with instances of other images."""
    most = int(found.counts.max())
    if most < 2:
        reason = "never two instances in an image; 0.3 if others will have several"
        choices.set("data.augment.mosaic", 0.0)
        choices.set("data.augment.paste", 0.0, reason)
        return
    usual = float(np.median(found.counts))
    choices.set("data.augment.mosaic", 0.15 if usual <= 3 else 0.1)
    choices.set(
        "data.augment.paste", 0.3, f"makes crowds; usually {usual:g} in an image, at most {most}"
    )
    choices.set("data.augment.paste_size", list(sizes))


def _task_options(
    choices: Choices, task: str, found: Survey, start: Start, val_size: tuple[int, int]
) -> None:
    usual = float(np.median(found.fitted_sides(*val_size)))
    unit = {"pose": 24, "corners": 32}[task]
    share = {"pose": 1 / 3, "corners": 0.5}[task]
    position = int(np.clip(round(share * usual), 8, unit))
    choices.set("task_options.tag_dim", 2, "x and y, from which tags start")
    choices.set("task_options.position", position, "pixels; tags start as positions in this unit")
    most = int(found.counts.max())
    if task == "pose":
        choices.set("task_options.sigma", 1.5)
        choices.set("task_options.offsets", True, "finds keypoints within their cell of 4 pixels")
        if most > 15:
            reason = f"images have up to {most} instances"
            choices.set("task_options.grouping.top_k", 2 * most, reason)
            choices.set("task_options.grouping.max_instances", 2 * most)
    else:
        choices.set("task_options.overlap", 0.5)
        choices.set("task_options.reach", 1)
        choices.set("task_options.centres", True, "centres confirm boxes")
        choices.set("task_options.weights", {"pull": 0.2, "push": 0.2})
        if most > 250:
            reason = f"images have up to {most} objects"
            choices.set("task_options.pairing.top_k", 2 * most, reason)
            choices.set("task_options.pairing.max_boxes", 2 * most)
    for name, value in start.task_options.items():
        choices.set(f"task_options.{name}", value, "as in the model that training starts from")


# ---------------------------------------------------------------------- masks


def _masks(choices: Choices, found: Survey, start: Start) -> None:
    usual = float(np.median(found.sides))
    zoom = 1.0
    if not _MASK_SIDES[0] <= usual <= _MASK_SIDES[1]:
        zoom = float(2 ** np.clip(np.round(np.log2(_MASK_SIDE / usual)), -3, 2))
    choices.set("task_options.tag_dim", 2, "x and y, from which tags start")
    position = start.task_options.get("position") if zoom == 1 else None
    if position is None or not usual / 4 <= position <= usual:
        position = int(np.clip(round(0.45 * usual * zoom), 4, 32))
    choices.set(
        "task_options.position", position, f"pixels; instances are usually {usual:.0f} pixels long"
    )
    choices.set("task_options.zoom", zoom, "images are not fitted into the input, but cut in tiles")
    choices.set("data.input_size", [256, 256], "crops to train on")
    choices.set("data.val_size", [512, 512], "tiles in validation")
    choices.set("data.augment.native", True)
    choices.set("data.augment.scale", [_short(0.75 * zoom), _short(2.0 * zoom)])
    _turns(choices, "pixels", found)
    choices.set("data.augment.shift", 0.0)


# ---------------------------------------------------------------------- the rest


def _model(choices: Choices, start: Start, images: int) -> None:
    choices.set("model.name", start.network)
    choices.set("model.pretrained", start.pretrained, start.why)
    if start.drop_head:
        choices.set("model.drop_head", True)
    if start.options:
        choices.set("model.options", start.options)
    if images < _FREEZE_BELOW and start.network.startswith("efficientnet") and start.pretrained:
        reason = f"the first layers stay as they are, with only {images} images"
        choices.set("model.freeze", _FIRST_LAYERS, reason)


def _colours(choices: Choices, found: Survey) -> None:
    """Choose the variation of colours, from the colours of the images."""
    if found.grey > 0.95:
        choices.set("data.augment.hue", 0.0, "the images have no colours")
        choices.set("data.augment.saturation", 0.0)
        choices.set("data.augment.tint", 0.0)
    if found.dark > 0.2:
        reason = f"{found.dark:.0%} of the images are dark, and would turn black"
        choices.set("data.augment.brightness", 0.5)
        choices.set("data.augment.contrast", 0.0, reason)


def _rounded(side: float) -> int:
    return max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE)


def _short(value: float) -> float:
    return round(float(value), 2)
