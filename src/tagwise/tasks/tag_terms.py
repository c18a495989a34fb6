"""The loss of the tags, which a task chooses by name, as named terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tagwise import losses
from tagwise.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

TagLossName = Literal["pull_push", "discriminative", "cosine", "contrastive", "spatial"]

_DIRECTIONS = ("cosine", "contrastive")


def tag_unit(name: str, tag_dim: int) -> int | None:
    """`Head.unit` of the tags: losses that only compare directions need tags of length 1."""
    return tag_dim if name in _DIRECTIONS else None


def tag_weights(pull: float, push: float) -> dict[str, float]:
    """The default weight of each term of every loss, in proportion to those of pull and push."""
    return {
        "pull": pull,
        "push": push,
        "regularise": 0.001 * pull,
        "contrastive": pull,
        "overlap": pull,
    }


def check_tag_loss(name: str, position: float | None, published: str | None) -> None:
    """Raise UserError for settings of a task that do not fit its tag loss."""
    if name in _DIRECTIONS and position is not None:
        raise UserError(
            f"tag_loss {name} compares directions of tags, which position {position:g} would "
            "turn: set position to null, or use another tag_loss"
        )
    if published and name != "pull_push":
        raise UserError(
            f"published {published} has its own tag loss: set tag_loss to pull_push, or leave "
            "published out"
        )


def tag_terms(
    name: str,
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    batch: int,
    bandwidth: float,
    weight: Tensor | None = None,
    layout: losses.Layout | None = None,
    pull_push: Mapping[str, Any],
) -> dict[str, Tensor]:
    """The unweighted terms of the tag loss `name`; the losses explain the arguments.

    bandwidth: the tag distance that separates instances, for "spatial", which learns tags for a
        bandwidth that is given here.
    pull_push: settings of `losses.pull_push`.
    """
    points = (tags, group, image)
    shared = {"weight": weight, "batch": batch}
    if name == "pull_push":
        found = losses.pull_push(*points, **{**shared, **pull_push}, layout=layout)
    elif name == "discriminative":
        found = losses.discriminative(*points, **shared, layout=layout)
    elif name == "cosine":
        found = losses.cosine(*points, **shared, layout=layout)
    elif name == "contrastive":
        return {"contrastive": losses.contrastive(*points, **shared, layout=layout)}
    else:
        same = tags.new_full(tags.shape[:1], bandwidth)
        return {"overlap": losses.spatial(*points, **shared, bandwidth=same).overlap}
    return found._asdict()
