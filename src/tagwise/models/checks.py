"""Checks of models that were read from files: their weights, and one run on a small image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tagwise.errors import UserError, brief

if TYPE_CHECKING:
    from torch import Tensor

BUILD_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors, besides UserError, that a network with arbitrary options can raise."""

TOLERANCE = 1e-4
"""Largest difference that rounding can cause (sums of float32 in another order), relative to the
largest value of a map."""


def check_weights(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise UserError, naming the tensor, if a weight is NaN or infinite."""
    for name, tensor in state.items():
        # The sum of finite values is finite, except for huge ones; it takes a tenth of the time.
        if tensor.is_floating_point() and not tensor.sum().isfinite():
            check_values(name, tensor.float().cpu().numpy(), path)


def check_values(name: str, values: np.ndarray, path: str | Path) -> None:
    """Raise UserError, naming the tensor, if one of its values is NaN or infinite."""
    wrong = int((~np.isfinite(values)).sum())
    if wrong:
        raise UserError(
            f"{path} has NaN or infinite weights: {wrong} of {values.size} values of "
            f"{brief(name)}; the training diverged or the file is damaged, use another"
        )


def check_run(model: Any, path: str | Path) -> None:
    """Raise UserError unless a model computes the maps of its task from a small grey image.

    model: a `Network` in evaluation mode, on the CPU.
    """
    import torch

    def compute(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {name: maps.numpy() for name, maps in model(torch.from_numpy(images)).items()}

    check_maps(model, compute, path)


def check_maps(
    model: Any, compute: Callable[[np.ndarray], Mapping[str, np.ndarray]], path: str | Path
) -> None:
    """Like `check_run`; compute: from images (1, 3, H, W) float32 to the maps of the model."""
    side = model.multiple
    while hasattr(model, "takes") and not model.takes(side):
        side += 1
    try:
        fault = _fault_of(compute(np.full((1, 3, side, side), 0.5, np.float32)), model, side)
    except UserError as error:
        fault = str(error)
    except BUILD_ERRORS as error:
        fault = " ".join(str(error).split())[:300]
    if fault:
        raise UserError(f"{path} contains a network that cannot run: {fault}; get the file again")


def small_side(network: Any) -> int:
    """The side of a small image that a network takes, about 128 pixels."""
    return network.multiple * max(1, 128 // network.multiple)


def difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """What differs between the maps that two programs computed by more than rounding explains."""
    for name, maps in expected.items():
        same = found[name].shape == maps.shape
        away = float((found[name] - maps).abs().max()) if same else math.inf
        if not away <= TOLERANCE * float(maps.abs().max()):
            return f"{name} differ by {away:.2g}, more than rounding explains"
    return None


def _fault_of(maps: Mapping[str, np.ndarray], model: Any, side: int) -> str | None:
    """What is wrong with the maps of an image with two equal sides, or None."""
    for name, head in model.task.heads().items():
        if name not in maps:
            return f"it has no map {name}"
        shape = tuple(maps[name].shape)
        if shape[:2] != (1, head.channels) or shape[2:] != (side // model.stride,) * 2:
            return f"its map {name} has the shape {shape}, with {head.channels} channels expected"
        if not np.isfinite(maps[name]).all():
            return f"its map {name} is not finite"
    return None
