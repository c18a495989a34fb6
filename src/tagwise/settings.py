"""The base of every settings class: the annotation of a field defines its type and range.

    @dataclass(frozen=True)
    class Blur(Settings):
        sigma: Positive = 1.0
        window: OddWindow = 5
        border: Literal["mirror", "zero"] = "mirror"

Values are checked wherever they come from: a Python call, a model file or a recipe. `Blur(sigma=0)`
and `Blur.from_dict({"sigma": 0})` both raise UserError, "sigma is 0; use a number above 0".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin
from typing import get_type_hints as type_hints

from tagwise.errors import UserError, brief, unknown_name

# ---------------------------------------------------------------------- ranges


@dataclass(frozen=True)
class Range:
    """The numbers that a field allows: `Annotated[float, Range(0, 1)]`. NaN is never allowed.

    least, most: inclusive bounds. above, below: exclusive bounds.
    odd: only odd numbers. infinite: whether infinity is allowed within the bounds.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    odd: bool = False
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        return (
            (math.isfinite(value) or (self.infinite and not math.isnan(value)))
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (not self.odd or value % 2 == 1)
        )

    def describe(self, numbers: str) -> str:
        """Describe the range; numbers: "a number" or "a whole number"."""
        numbers = "an odd number" if self.odd else numbers
        if self.least is not None and self.most is not None:
            return f"{numbers} from {self.least} to {self.most}"
        bounds = {"of at least": self.least, "above": self.above}
        bounds |= {"of at most": self.most, "below": self.below}
        words = [f"{word} {bound}" for word, bound in bounds.items() if bound is not None]
        end = [", or infinity"] if self.infinite else []
        return " ".join([numbers, " and ".join(words)]).rstrip() + "".join(end)


@dataclass(frozen=True)
class Ascending:
    """Two or more numbers in ascending order."""

    def __contains__(self, values: tuple[float, ...]) -> bool:
        return list(values) == sorted(values)

    def describe(self, numbers: str) -> str:
        """Describe the rule."""
        return f"{numbers}, the smaller one first"


Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(least=0)]
Count = Annotated[int, Range(least=1)]
TagDim = Annotated[int, Range(1, 256)]
NonNegativeInt = Annotated[int, Range(least=0)]
OddWindow = Annotated[int, Range(least=3, odd=True)]
"""The side of a square of cells that has a centre cell."""

# ---------------------------------------------------------------------- the base


class Settings:
    """The base of frozen dataclasses whose fields are checked against their annotations.

    Annotations may be bool, int, float, str, Any, a Literal, X | Y, tuples, dicts with str keys,
    other Settings, any class with `from_dict` and `to_dict`, and `Annotated` with a `Range`.
    Numbers become plain Python numbers, lists become tuples, and mappings become the nested class.
    A subclass may define `__post_init__` to check more; it calls `super().__post_init__()` first.

    presets: values by name for `preset`.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        for name, hint, default, checked_default in _checked_fields(type(self)):
            value = getattr(self, name)
            value = checked_default if value is default else _fit(hint, value, name)
            object.__setattr__(self, name, value)

    @classmethod
    def preset(cls, name: str, /, **changes: Any) -> Self:
        """Create the settings of a preset, with some fields changed. Raises UserError."""
        return cls.from_dict({**changes, "preset": name})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Create settings from plain values, as in JSON or YAML; the inverse of `to_dict`.

        values: by field name; those left out keep their defaults. A key "preset" names a preset
            that the other values change.
        where: the source of the values, such as a file or a field. Error messages begin with it.

        Raises UserError for unknown names, missing fields, and invalid values.
        """
        try:
            if not isinstance(values, Mapping):
                raise UserError(f"expected keys and values, found {brief(values)}")
            return cls(**cls._complete(dict(values)))
        except UserError as error:
            raise UserError(f"{where}: {error}" if where else str(error)) from None

    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The arguments of the class: values under their current names, with those of the preset.

        A subclass extends it to translate the names of earlier versions.
        """
        if "preset" in values:
            name = str(values.pop("preset"))
            if name not in cls.presets:
                raise unknown_name("preset", name, cls.presets)
            values = merged(cls.presets[name], values)
        known = {item.name: item for item in fields(cls)}
        for key in values:
            if key not in known:
                raise unknown_name("setting", str(key), known)
        for name, item in known.items():
            required = item.default is MISSING and item.default_factory is MISSING
            if required and name not in values:
                raise UserError(f"the setting {name!r} is missing")
        return values

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values for JSON and YAML."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with some changed; nested mappings are merged in the same way."""
    out = {**values, **changes}
    for key in values.keys() & changes.keys():
        if isinstance(values[key], Mapping) and isinstance(changes[key], Mapping):
            out[key] = merged(values[key], changes[key])
    return out


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


# ---------------------------------------------------------------------- values and annotations


class _WrongTypeError(Exception):
    """A value does not have the type of its annotation."""


@cache
def _checked_fields(cls: type) -> tuple[tuple[str, Any, Any, Any], ...]:
    """The name, annotation, default, and converted default of each field of a class.

    Defaults are checked only once, here, so that creating settings takes microseconds.
    """
    hints, out = type_hints(cls, include_extras=True), []
    for item in fields(cls):
        hint, default = hints[item.name], item.default
        checked = default if default is MISSING else _fit(hint, default, item.name)
        out.append((item.name, hint, default, checked))
    return tuple(out)


def _fit(hint: Any, value: Any, name: str) -> Any:
    """The value as the annotated type. Raises UserError, which names the setting."""
    base, rules = _unpack(hint)
    try:
        fitted = _convert(base, value, name)
        if all(fitted in rule for rule in rules):
            return fitted
    except _WrongTypeError:
        pass
    raise UserError(f"{name} is {brief(value)}; use {_describe(hint)}")


def _unpack(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type and the rules of an annotation. A float is finite unless a rule allows infinity."""
    if get_origin(hint) is Annotated:
        base, *rules = get_args(hint)
        return base, tuple(rules)
    return hint, (Range(),) if hint is float else ()


def _convert(base: Any, value: Any, name: str) -> Any:
    origin, args = get_origin(base), get_args(base)
    if origin in (Union, UnionType):
        return _one_of(args, value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise unknown_name(name, str(value), args)
        return value
    if origin is tuple:
        return _tuple(args, value, name)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _WrongTypeError
        key_hint, item_hint = args
        return {
            _fit(key_hint, key, f"a key of {name}"): _fit(item_hint, item, f"{name}.{key}")
            for key, item in value.items()
        }
    if hasattr(base, "from_dict"):
        return _nested(base, value, name)
    return _scalar(base, value)


def _one_of(choices: tuple[Any, ...], value: Any, name: str) -> Any:
    """Convert a value to the first of several types that accepts it."""
    if value is None and NoneType in choices:
        return None
    choices = tuple(choice for choice in choices if choice is not NoneType)
    if len(choices) == 1:
        return _fit(choices[0], value, name)
    for choice in choices:
        with suppress(UserError):
            return _fit(choice, value, name)
    raise _WrongTypeError


def _tuple(hints: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _WrongTypeError
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        raise _WrongTypeError
    return tuple(
        _fit(hint, item, f"{name}[{i}]") for i, (hint, item) in enumerate(zip(hints, value))
    )


def _nested(base: type, value: Any, name: str) -> Any:
    """Create an object of a class with `from_dict`, such as other settings."""
    if isinstance(value, base):
        return value
    if not isinstance(value, Mapping):
        raise _WrongTypeError
    if issubclass(base, Settings):
        return base.from_dict(value, name)
    try:
        return base.from_dict(dict(value))
    except (UserError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error


def _scalar(base: Any, value: Any) -> Any:
    if base is Any:
        return value
    if base in (int, float):
        if isinstance(value, bool) or not isinstance(value, Real):
            raise _WrongTypeError
        with suppress(OverflowError):  # an integer that is too large for a float
            if base is float:
                return float(value)
            whole = isinstance(value, Integral) or float(value).is_integer()
            if whole and abs(int(value)) < 2**63:  # what arrays can hold
                return int(value)
        raise _WrongTypeError
    if not isinstance(value, base):
        raise _WrongTypeError
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _describe(hint: Any) -> str:
    """Describe the values that an annotation allows."""
    base, rules = _unpack(hint)
    origin, args = get_origin(base), get_args(base)
    if origin in (Union, UnionType):
        words = " or ".join("null" if arg is NoneType else _describe(arg) for arg in args)
    elif origin is tuple and args[-1] is Ellipsis:
        words = f"a list of values, each {_describe(args[0])}"
    elif origin is tuple:
        words = f"a list of {len(args)} values, each {_describe(args[0])}"
    elif origin is Literal:
        words = " or ".join(map(repr, args))
    else:
        words = _WORDS.get(base, "keys and values")
    for rule in rules:
        words = rule.describe(words)
    return words
