"""The base of settings: accepted values, conversions and error messages."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from tagwise.errors import UserError
from tagwise.settings import (
    Ascending,
    Count,
    NonNegative,
    NonNegativeInt,
    OddWindow,
    Positive,
    Range,
    Settings,
    Share,
)
from tagwise.skeletons import Skeleton


@dataclass(frozen=True)
class Inner(Settings):
    size: Count = 3
    mode: Literal["mean", "median"] = "mean"

    presets: ClassVar = {"large": {"size": 9}}


@dataclass(frozen=True)
class Outer(Settings):
    """A field of every type."""

    name: str
    on: bool = False
    share: Share = 0.5
    scale: Positive = 1.0
    weight: NonNegative = 0.0
    plain: float = 0.0
    clip: Annotated[float, Range(above=0, infinite=True)] = 3.0
    decay: Annotated[float, Range(least=0, below=1)] = 0.9
    steps: NonNegativeInt = 0
    window: OddWindow = 3
    limit: Count | None = None
    pair: Annotated[tuple[NonNegative, NonNegative], Ascending()] = (0.0, 1.0)
    order: tuple[int, ...] = ()
    sigmas: Positive | tuple[Positive, ...] | None = None
    weights: dict[Literal["pull", "push"], float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    extra: Inner | None = None
    parts: tuple[Inner, ...] = ()
    skeleton: Skeleton | None = None

    presets: ClassVar = {"deep": {"share": 0.25, "extra": {"size": 7, "mode": "median"}}}


def test_numbers_and_sequences_become_plain_python_values():
    made = Outer(
        "a", scale=2, steps=4.0, limit=np.int64(3), share=np.float32(0.5), order=[np.int32(1), 2]
    )
    for value, wanted in ((made.scale, 2.0), (made.steps, 4), (made.limit, 3), (made.share, 0.5)):
        assert value == wanted
        assert type(value) is type(wanted)
    assert made.order == (1, 2)
    assert type(made.order[0]) is int
    json.dumps(made.to_dict())


def test_plain_values_restore_the_same_settings():
    made = Outer(
        "a",
        clip=math.inf,
        sigmas=(0.1, 0.2),
        weights={"push": 1},
        facts={"any": [1, {"thing": None}]},
        extra=Inner(5),
        parts=(Inner(1), Inner(2, "median")),
        skeleton=Skeleton("bee", ("head", "tail"), ((0, 1),)),
    )
    values = json.loads(json.dumps(made.to_dict()))
    assert values["extra"] == {"size": 5, "mode": "mean"}
    assert values["skeleton"]["edges"] == [[0, 1]]
    assert Outer.from_dict(values) == made


def test_missing_values_keep_their_defaults():
    assert Outer.from_dict({"name": "a", "inner": {"mode": "median"}}) == Outer(
        "a", inner=Inner(3, "median")
    )


def test_defaults_are_checked_and_converted():
    @dataclass(frozen=True)
    class Whole(Settings):
        scale: Positive = 2

    @dataclass(frozen=True)
    class Wrong(Settings):
        scale: Positive = 0.0

    assert type(Whole().scale) is float
    with pytest.raises(UserError, match=r"scale is 0\.0; use a number above 0"):
        Wrong()


def test_modified_copy_is_validated():
    with pytest.raises(UserError, match="share is 2; use a number from 0 to 1"):
        replace(Outer("a"), share=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "name is 3; use text"),
        ({"on": 1}, "on is 1; use true or false"),
        ({"share": 1.5}, "share is 1.5; use a number from 0 to 1"),
        ({"share": True}, "share is True; use a number from 0 to 1"),
        ({"share": "0.5"}, "share is '0.5'; use a number from 0 to 1"),
        ({"scale": 0}, "scale is 0; use a number above 0"),
        ({"scale": 10**400}, "use a number above 0"),
        ({"weight": -1}, "weight is -1; use a number of at least 0"),
        ({"weight": math.inf}, "weight is inf; use a number of at least 0"),
        ({"plain": math.nan}, "plain is nan; use a number"),
        ({"plain": -math.inf}, "plain is -inf; use a number"),
        ({"clip": -math.inf}, "clip is -inf; use a number above 0, or infinity"),
        ({"clip": math.nan}, "clip is nan"),
        ({"decay": 1}, "decay is 1; use a number of at least 0 and below 1"),
        ({"steps": 1.5}, "steps is 1.5; use a whole number of at least 0"),
        ({"steps": math.inf}, "steps is inf; use a whole number"),
        ({"steps": True}, "steps is True; use a whole number"),
        ({"window": 4}, "window is 4; use an odd number of at least 3"),
        ({"window": 1}, "window is 1; use an odd number of at least 3"),
        ({"limit": 0}, "limit is 0; use a whole number of at least 1"),
        ({"share": None}, "share is None; use a number from 0 to 1"),
        ({"pair": (1, 0)}, "pair is (1, 0); use a list of 2 values, each a number of at least 0"),
        ({"pair": (1, 0)}, "the smaller one first"),
        ({"pair": (1,)}, "pair is (1,); use a list of 2 values"),
        ({"pair": 1}, "pair is 1; use a list of 2 values"),
        ({"pair": (-1, 0)}, "pair[0] is -1; use a number of at least 0"),
        ({"order": "abc"}, "order is 'abc'; use a list of values, each a whole number"),
        ({"order": [0, "b"]}, "order[1] is 'b'; use a whole number"),
        ({"sigmas": [0.1, -1]}, "sigmas is [0.1, -1]; use a number above 0 or a list of values"),
        ({"weights": {"pul": 1}}, "did you mean 'pull'"),
        ({"weights": {"pull": "much"}}, "weights.pull is 'much'; use a number"),
        ({"weights": 3}, "weights is 3; use keys and values"),
        ({"inner": 3}, "inner is 3; use keys and values"),
        ({"inner": {"size": 0}}, "inner: size is 0; use a whole number of at least 1"),
        ({"inner": {"mode": "men"}}, "inner: unknown mode 'men'; did you mean 'mean'?"),
        ({"inner": {"mode": 1}}, "inner: unknown mode '1'"),
        ({"parts": [{}, {"sise": 1}]}, "parts[1]: unknown setting 'sise'; did you mean 'size'?"),
        ({"skeleton": {"name": "bee", "keypoints": []}}, "skeleton: skeleton 'bee' has no"),
        ({"skeleton": {"name": "bee", "joints": []}}, "skeleton: "),
        ({"skeleton": "bee"}, "skeleton is 'bee'; use keys and values"),
        ({"plain": np.zeros((9, 9))}, "plain is array"),
    ],
)
def test_errors_name_the_setting_the_value_and_the_fix(changes, message):
    with pytest.raises(UserError) as called:
        Outer(**{"name": "a", **changes})
    with pytest.raises(UserError) as loaded:
        Outer.from_dict({"name": "a", **changes}, where="file.yaml")
    assert message in str(called.value)
    assert str(loaded.value) == f"file.yaml: {called.value}"
    assert "\n" not in str(called.value)
    assert len(str(called.value)) < 250


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "stesp": 1}, "unknown setting 'stesp'; did you mean 'steps'?"),
        ({"name": "a", 7: 1}, "unknown setting '7'"),
        ({}, "the setting 'name' is missing"),
        ([], r"expected keys and values, found \[\]"),
        ({"name": "a", "preset": "deap"}, "unknown preset 'deap'; did you mean 'deep'?"),
        ({"name": "a", "inner": {"preset": 3}}, "inner: unknown preset '3'"),
    ],
)
def test_unknown_keys_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Outer.from_dict(values)


def test_preset_values_can_be_changed():
    assert Outer.preset("deep", name="a") == Outer("a", share=0.25, extra=Inner(7, "median"))
    assert Inner.preset("large", mode="median") == Inner(9, "median")
    assert Outer.from_dict({"name": "a", "inner": {"preset": "large"}}).inner == Inner(9)


def test_changing_one_value_of_a_preset_keeps_the_others():
    made = Outer.from_dict({"name": "a", "preset": "deep", "extra": {"size": 8}})
    assert made.extra == Inner(8, "median")
    assert Outer.preset("deep", name="a", extra=None).extra is None


def test_argument_is_not_changed():
    values = {"name": "a", "preset": "deep", "extra": {"size": 8}}
    Outer.from_dict(values)
    assert values == {"name": "a", "preset": "deep", "extra": {"size": 8}}
    assert Outer.presets["deep"]["extra"] == {"size": 7, "mode": "median"}
