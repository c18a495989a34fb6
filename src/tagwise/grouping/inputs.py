"""The arguments of the groupings: maps, and values of points, as what the loops can read.

Lists, numpy arrays and tensors are taken; anything else raises ValueError that names the argument.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, TypeVar, Union

import numpy as np
from numpy.typing import ArrayLike

from tagwise.grouping.maps import readable

if TYPE_CHECKING:
    import torch

# Values per point: a list, an array, or a tensor on any device.
Values = Union[ArrayLike, "torch.Tensor"]
Kind = TypeVar("Kind")


def as_numbers(name: str, values: Any) -> np.ndarray:
    """Convert values to a numpy array; bfloat16, which numpy lacks, becomes float32.

    Raises ValueError unless they are real numbers or bools, in rows of one length.
    """
    if is_tensor(values):
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must be a tensor, an array or a list of numbers with rows of one length, "
            f"got {reprlib.repr(values)}"
        )
    return array


def as_ids(name: str, values: Any) -> np.ndarray:
    """Convert integers of any type to int64."""
    array = as_numbers(name, values)
    if array.dtype.kind not in "iu" and array.size:  # an empty list has no dtype
        raise ValueError(f"{name} must be integer, got {array.dtype}")
    return array.astype(np.int64, copy=False)


def read_map(name: str, values: Any, axes: str) -> Any:
    """Convert lists to a float32 array, and tensors to arrays where they are `readable` as such.

    axes: their letters, such as "BKHW". Raises ValueError for another number of axes.
    """
    if is_tensor(values):
        values = readable(values)
    else:
        array = as_numbers(name, values)
        values = array if array is values else array.astype(np.float32)
    if len(values.shape) != len(axes):
        raise ValueError(f"{name} must be ({', '.join(axes)}), got shape {tuple(values.shape)}")
    return values


def check_length(name: str, value: np.ndarray, other: str, points: np.ndarray) -> None:
    """Raise ValueError unless there is one value for each point."""
    if value.shape != points.shape[:1]:
        raise ValueError(
            f"{name} must be ({len(points)},) to match {other} {points.shape}, got {value.shape}"
        )


def check_reach(name: str, value: Any, infinite: bool = False) -> float:
    """Convert a radius or bandwidth to float. Raises ValueError if it is not above 0."""
    number = as_numbers(name, value)
    if number.ndim:
        raise ValueError(f"{name} must be one number, got shape {number.shape}")
    value = float(number)
    if not value > 0 or (np.isinf(value) and not infinite):
        raise ValueError(f"{name} must be > 0{'' if infinite else ' and finite'}, got {value:g}")
    return value


def check_count(name: str, value: Any) -> int:
    """Convert a number of repetitions to int. Raises ValueError unless it is whole and >= 0."""
    number = as_ids(name, value)
    if number.ndim or number < 0:
        raise ValueError(f"{name} must be a whole number >= 0, got {reprlib.repr(value)}")
    return int(number)


def check_images(name: str, values: Any, batch: int) -> None:
    """Raise ValueError unless there is one entry for each image of a batch."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != batch:
        got = f"{len(values)}" if hasattr(values, "__len__") else reprlib.repr(values)
        raise ValueError(f"{name} must have one entry for each of {batch} images, got {got}")


def check_type(name: str, value: Any, kind: type[Kind], more: str = "") -> Kind:
    """Return the value. Raises ValueError if it is not of the type; more: where to get one."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {kind.__name__}{more}, got {reprlib.repr(value)}")
    return value


def is_tensor(values: Any) -> bool:
    """Whether it is one of torch, which need not be installed."""
    return hasattr(values, "detach")
