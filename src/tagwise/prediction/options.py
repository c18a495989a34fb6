"""Check the options of a prediction before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, TypedDict, get_args

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


class OlderNames(TypedDict, total=False):
    """Arguments under the names that they had before, for type checkers."""

    threshold: float | None
    size: int | tuple[int, int] | None


OLDER = {"threshold": "conf", "size": "imgsz"}
"""Names that arguments of `predict`, `track` and `Predictor` had before; they still work."""

_ELSEWHERE = {
    "augment": "flip",
    "batch": "batch_size",
    "confidence": "conf",
    "img_size": "imgsz",
    "max_det": "max_instances",
    "model": "weights",
    "name": "out",
    "project": "out",
    "save_dir": "out",
    "source": "sources",
    "verbose": "progress",
    "vid_stride": "stride",
}
"""Names that other libraries use, and the arguments that do the same here, or the most similar."""


def with_older_names(given: dict[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by their present names.

    given: the arguments of a function, such as `locals()` at its beginning. others: those that its
    signature does not have, of which OLDER lists the names that still work.
    Raises UserError, with the nearest name, for any other one, and if an argument is given under
    both of its names.
    """
    given = {name: value for name, value in given.items() if name not in ("self", "older")}
    for name, value in others.items():
        now = OLDER.get(name)
        if now is None:
            hint = _ELSEWHERE.get(name)
            if hint in given:
                raise UserError(f"unknown argument {name!r}; did you mean {hint!r}?")
            raise unknown_name("argument", name, given, OLDER)
        if given[now] is not None:
            raise UserError(f"{name} and {now} are the same; give {now} alone")
        given[now] = value
    return given


def precision_of(precision: Precision, half: bool, device: Any) -> Precision:
    """The half precision that `half` asks for on a device; False leaves it to `precision`.

    Raises UserError if `half` is set and precision is fp32.
    """
    if not isinstance(half, (bool, np.bool_)):
        raise UserError(f"half is {half!r}; use True or False")
    if half and precision == "fp32":
        raise UserError("half is True, but precision is fp32; give one of them")
    if half and precision == "auto" and not str(device).startswith("cuda"):
        return "bf16"
    return precision


def check_stride(stride: Any) -> int:
    """Return a stride of frames. Raises UserError unless it is a whole number, 1 or more."""
    if not (_is_whole(stride) and stride >= 1):
        raise UserError(f"stride is {stride!r}; use a whole number, 1 or more")
    return int(stride)


def check_max_instances(most: Any) -> int | None:
    """Return a largest number of instances. Raises UserError unless it is None, or 1 or more."""
    if most is not None and not (_is_whole(most) and most >= 1):
        raise UserError(f"max_instances is {most!r}; use a whole number, 1 or more")
    return None if most is None else int(most)


def class_names(classes: Any, known: Sequence[str]) -> tuple[str, ...] | None:
    """Return names of classes, given as one or several names or indices from 0.

    known: the names of the model's classes. Returns None, for all, if none is given. Raises
    UserError for others.
    """
    if classes is None:
        return None
    several = classes if isinstance(classes, (list, tuple, set, np.ndarray)) else [classes]
    names = []
    for each in several:
        if _is_whole(each) and 0 <= each < len(known):
            names.append(known[each])
        elif isinstance(each, str) and each in known:
            names.append(each)
        elif isinstance(each, str) and each.isdecimal() and int(each) < len(known):
            names.append(known[int(each)])
        elif _is_whole(each):
            raise UserError(f"class {each} does not exist; use 0 to {len(known) - 1}, or a name")
        else:
            raise unknown_name("class", str(each), known)
    return tuple(dict.fromkeys(names)) or None


def check_choice(what: str, value: Any, choices: Any) -> None:
    """Raise UserError unless a value is one of the choices, a `Literal`."""
    if value not in get_args(choices):
        raise unknown_name(what, str(value), get_args(choices))


def check_threshold(threshold: Any, what: str = "threshold") -> float:
    """Return a threshold as a float. Raises UserError, naming it, unless it is from 0 to 1."""
    if not (_is_number(threshold) and 0 <= threshold <= 1):
        raise UserError(f"{what} is {threshold!r}; use a score from 0 to 1")
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
