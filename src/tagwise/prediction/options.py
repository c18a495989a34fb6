"""Check the options of a prediction before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

from tagwise.data.regions import Size
from tagwise.errors import UserError, unknown_name

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Runtime = Literal["auto", "torch", "openvino"]


def check(
    *,
    size: Any,
    flip: Any,
    scales: Any,
    threshold: Any,
    batch_size: Any,
    precision: Any,
    runtime: Any,
) -> None:
    """Raise UserError for an option of `Predictor` that is of the wrong type or out of range."""
    check_choice("precision", precision, Precision)
    check_choice("runtime", runtime, Runtime)
    if not isinstance(flip, (bool, np.bool_)):
        raise UserError(f"flip is {flip!r}; use True or False")
    if not (_is_several(scales) and len(scales) and all(_is_number(s) and s > 0 for s in scales)):
        raise UserError(f"scales are {scales!r}; use one or more numbers above 0, such as (1.0,)")
    if batch_size is not None and not (_is_whole(batch_size) and batch_size >= 1):
        raise UserError(f"batch size is {batch_size!r}; use a whole number, 1 or more")
    if threshold is not None:
        check_threshold(threshold)
    sides = size if _is_several(size) and len(size) == 2 else (size,)
    if size is not None and not all(_is_whole(side) and side > 0 for side in sides):
        raise UserError(
            f"input size is {size!r}; use whole pixels, one number for the longest side or "
            "(width, height)"
        )


def check_choice(what: str, value: Any, choices: Any) -> None:
    """Raise UserError unless a value is one of the choices, a `Literal`."""
    if value not in get_args(choices):
        raise unknown_name(what, str(value), get_args(choices))


def check_threshold(threshold: Any) -> float:
    """Return a threshold as a float. Raises UserError unless it is from 0 to 1."""
    if not (_is_number(threshold) and 0 <= threshold <= 1):
        raise UserError(f"threshold is {threshold!r}; use a score from 0 to 1")
    return float(threshold)


def input_size(size: int | Sequence[int] | None, default: Size) -> Size | None:
    """Return the requested (width, height) of the input, or None for that of the model.

    size: the longest side, to which the model's (width, height) is scaled; or both sides.
    """
    if size is None:
        return None
    if not _is_several(size):
        size = [max(1, round(side * size / max(default))) for side in default]
    width, height = map(int, size)
    return width, height


def _is_several(value: Any) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
