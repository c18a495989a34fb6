"""The arguments of the losses: tensors, and what `takes_arrays` converts to tensors."""

import reprlib
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from operator import index
from types import NoneType
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # torch can do little with them


def takes_arrays(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Let a function of tensors take numpy arrays and nested lists, which become tensors.

    The annotations of the function say which of its arguments are tensors, and which are numbers.
    New tensors are on the device of the first tensor that is given. Any other value raises
    ValueError that names the argument. In a graph that `torch.compile` makes, nothing is checked.
    """
    hints = get_type_hints(function)
    names = tuple(signature(function).parameters)
    tensors = {name for name in names if Tensor in (hints[name], *get_args(hints[name]))}
    scalars = {
        name: kind
        for kind in (float, int)
        for name in names
        if kind in (hints[name], *get_args(hints[name]))
    }
    optional = {name for name in names if NoneType in get_args(hints[name])}

    @wraps(function)
    def checked(*given: Arguments.args, **named: Arguments.kwargs) -> Returned:
        if torch.compiler.is_compiling():
            return function(*given, **named)
        arguments: dict[str, Any] = {**dict(zip(names, given)), **named}
        device = next((x.device for x in arguments.values() if isinstance(x, Tensor)), None)
        for name, value in arguments.items():
            if isinstance(value, Tensor) or (value is None and name in optional):
                continue
            if name in tensors:
                arguments[name] = _as_tensor(name, value, device)
            elif name in scalars and not isinstance(value, scalars[name]):
                arguments[name] = _as_scalar(name, value, scalars[name])
        rest = given[len(names) :]  # too many, as the function will say
        return function(*(arguments.pop(n) for n in names[: len(given)]), *rest, **arguments)

    return checked


def _as_tensor(name: str, value: Any, device: torch.device | None) -> Tensor:
    """Copy an array, a number or a nested list into a tensor."""
    first = value
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if isinstance(first, Tensor):  # a copy would lose its gradient
        raise ValueError(f"{name} is a list of tensors; join them with torch.stack")
    try:
        tensor = torch.as_tensor(_plain_array(value), device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be a tensor, an array or a list of numbers with rows of one length, "
            f"got {reprlib.repr(value)}"
        ) from error
    if tensor.is_complex():
        raise ValueError(f"{name} must be real numbers, got {tensor.dtype}")
    return tensor.long() if tensor.dtype in _WIDE else tensor


def _plain_array(value: Any) -> Any:
    """Copy an array to one that may be written to, with its rows in order and native bytes."""
    if not hasattr(value, "__array__"):
        return value
    array = value.__array__()
    return array.astype(array.dtype.newbyteorder("="), order="C")


def _as_scalar(name: str, value: Any, kind: type[float] | type[int]) -> float:
    what = "a number" if kind is float else "a whole number"
    try:
        return float(value + 0) if kind is float else index(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {what}, got {reprlib.repr(value)}") from error


def check_per_point(
    shape: str,
    points: Tensor,
    *,
    ids: Mapping[str, Tensor | None] | None = None,
    values: Mapping[str, Tensor | None] | None = None,
) -> None:
    """Raise ValueError unless there is one number for each point, and ids are integers.

    shape: the name and shape of `points`, for the message.
    """
    for name, value in {**(ids or {}), **(values or {})}.items():
        if value is None:
            continue
        if value.shape != points.shape[:1]:
            raise_mismatch(f"{name} must be (P,) to match {shape}", value, points)
        whole = not value.is_floating_point() and value.dtype != torch.bool
        if ids and name in ids and not whole and value.numel():  # an empty list has no dtype
            raise ValueError(f"{name} must be integer, got {value.dtype}")


def raise_mismatch(what: str, one: Tensor, other: Tensor) -> None:
    """Raise ValueError for two shapes that do not match."""
    raise ValueError(f"{what}, got shapes {tuple(one.shape)} and {tuple(other.shape)}")
