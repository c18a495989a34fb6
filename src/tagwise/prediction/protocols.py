"""Test settings of published models: as their authors test them, or fast.

"published": flip and scales of the published test, and its decoder. "fast": the default decoder of
tagwise, without flip, at one scale. How a photo is fitted into the input is the published way in
both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tagwise.errors import UserError, unknown_name
from tagwise.models.spec import ModelSpec
from tagwise.published.registry import PublicModel, public_models

if TYPE_CHECKING:
    from torch import nn

Protocol = Literal["published", "fast"]

_ONE_SCALE = (1.0,)


class PublishedTest(NamedTuple):
    """What a published test runs each photo with."""

    flip: bool
    scales: tuple[float, ...]


def public_model(weights: str | Path | nn.Module, spec: ModelSpec | None) -> PublicModel | None:
    """The entry of the registry that weights are of, if any. spec: of the loaded model."""
    names = (weights, _info(spec).get("public"))
    found = (public_models().get(str(name)) for name in names if isinstance(name, str | Path))
    return next((each for each in found if each is not None), None)


def default_protocol(weights: str | Path | nn.Module, measured: bool) -> Protocol | None:
    """The protocol of a model if none was given: only models of the registry have one by default.

    measured: whether the results are compared with published ones.
    """
    if public_model(weights, None) is None:
        return None
    return "published" if measured else "fast"


def published_test(
    protocol: Any, weights: str | Path | nn.Module, spec: ModelSpec, name: str
) -> PublishedTest | None:
    """The settings of a published test, for "published"; None for "fast" and for no protocol.

    Raises UserError for an unknown protocol, and for a model without a published test.
    """
    if protocol is None:
        return None
    if protocol not in ("published", "fast"):
        raise unknown_name("protocol", str(protocol), ("published", "fast"))
    public, family = public_model(weights, spec), _info(spec).get("family")
    if public is None and family is None:
        raise UserError(
            f"{name} has no published test; protocol is for public models (`tagwise models`) and "
            "published checkpoints, so leave it out"
        )
    if protocol == "fast":
        return None
    if public is not None:
        return PublishedTest(public.flip, public.scales)
    return PublishedTest(family != "CornerNet-Squeeze", _ONE_SCALE)


def _info(spec: ModelSpec | None) -> dict[str, Any]:
    """What a model file says about its origin; a network of the user may not say anything."""
    return getattr(spec, "info", {})
