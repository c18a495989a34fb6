"""The supervised contrastive loss over the points of an image, in memory that grows with points.

The similarities of all pairs of points are computed in blocks of rows, and again in the backward
pass, so that they are never in memory together. The blocks depend on the data, so they are one
opaque operator to `torch.compile`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.losses.embeddings import prepare
from tagwise.losses.inputs import takes_arrays
from tagwise.losses.maps import over_images
from tagwise.losses.pairs import Layout, take
from tagwise.losses.tags import add_up

_BLOCK = 1 << 22  # similarities in memory at a time


@takes_arrays
def contrastive(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    weight: Tensor | None = None,
    batch: int | None = None,
    layout: Layout | None = None,
    temperature: float = 0.1,
    images: str = "mean",
) -> Tensor:
    """Let each point recognise the points of its group among all points of its image.

    Khosla et al. 2020 (arXiv:2004.11362, Eq. 2, L_out), over the points of an image instead of a
    batch. With z the tags scaled to length 1, P(i) the other points of the group of i, and A(i) all
    other points of its image:

        loss_i = -1/|P(i)| sum_{p in P(i)} log(s(i, p) / sum_{a in A(i)} s(i, a)),
        s(i, j) = exp(z_i . z_j / t)

    averaged over the points of an image with a P(i) that is not empty, then over images. Groups of
    two points make it InfoNCE (van den Oord et al. 2018). Use it where groups have few points and D
    is large (16 or more), so that there is room on the sphere for all groups of an image. Group the
    tags after `torch.nn.functional.normalize`, with a bandwidth below 1.

    Args:
        tags, group, image, batch, layout, images: see `pull_push`.
        weight: (P,) weights of the points in the average of their image; 0: the point is ignored.
        temperature: t. Smaller values look at the most similar points only.

    Time grows with the pairs of points of an image, memory with the points.

    Raises:
        ValueError: shapes or dtypes do not match, or an image id is not below `batch`.

    >>> tags = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> contrastive(tags, torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.long))
    tensor(9.0599e-05)
    """
    groups = prepare(tags, group, image, weight, batch, layout)
    layout = groups.layout
    places = layout.image[layout.slot]
    unit = F.normalize(groups.tags, dim=1)
    loss, others = _contrast(unit, layout.slot, places, temperature)[:2]
    share = torch.ones_like(loss) if weight is None else take(weight.to(loss), layout.keep)
    share = share * (others > 0)
    total = add_up(share * loss, places, groups.images)
    mass = add_up(share, places, groups.images)
    return over_images(total / torch.where(mass > 0, mass, 1), images)


@torch.library.custom_op("tagwise::contrast", mutates_args=())
def _contrast(
    unit: Tensor, slot: Tensor, places: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each point, the number of other points of its group, and its log of the sum.

    unit: (Q, D) tags of length 1. slot, places: (Q,) group and image. All results are (Q,).
    """
    loss, normaliser = torch.zeros_like(unit[:, 0]), torch.zeros_like(unit[:, 0])
    others = torch.zeros_like(unit[:, 0])
    for rows, near, same in _blocks(unit, slot, places, temperature):
        count = same.sum(1)
        total = torch.logsumexp(near, 1)
        alike = torch.where(same, near, 0).sum(1) / count.clamp(min=1)
        loss[rows] = torch.where(count > 0, total - alike, 0)
        normaliser[rows], others[rows] = total, count.to(loss)
    return loss, others, normaliser


@_contrast.register_fake
def _(unit, slot, places, temperature):
    return tuple(unit.new_empty(unit.shape[0]) for _ in range(3))


@torch.library.custom_op("tagwise::contrast_gradient", mutates_args=())
def _gradient(
    unit: Tensor,
    slot: Tensor,
    places: Tensor,
    temperature: float,
    normaliser: Tensor,
    incoming: Tensor,
) -> Tensor:
    """Gradient of the weighted sum of the losses of `_contrast`, (Q, D); incoming: the weights."""
    gradient = torch.zeros_like(unit)
    for rows, near, same in _blocks(unit, slot, places, temperature):
        count = same.sum(1, keepdim=True)
        force = torch.exp(near - normaliser[rows, None]) - same / count.clamp(min=1)
        force = torch.where(count > 0, force, 0) * incoming[rows, None] / temperature
        columns = _members(places, places[rows[0]])
        gradient[rows] += force @ unit[columns]
        gradient.index_add_(0, columns, force.T @ unit[rows])
    return gradient


@_gradient.register_fake
def _(unit, slot, places, temperature, normaliser, incoming):
    return torch.empty_like(unit)


def _remember(ctx, inputs, output) -> None:
    unit, slot, places, ctx.temperature = inputs
    ctx.save_for_backward(unit, slot, places, output[2])


def _backward(ctx, incoming, _others, _normaliser):
    unit, slot, places, normaliser = ctx.saved_tensors
    found = _gradient(unit, slot, places, ctx.temperature, normaliser, incoming.contiguous())
    return found, None, None, None


_contrast.register_autograd(_backward, setup_context=_remember)


def _blocks(unit: Tensor, slot: Tensor, places: Tensor, temperature: float):
    """Yield rows, their similarities to the points of their image, and which are of their group.

    The similarity of a point with itself is -inf, and it is not of its own group.
    """
    for place in torch.unique(places):
        columns = _members(places, place)
        height = max(1, _BLOCK // len(columns))
        for start in range(0, len(columns), height):
            rows = columns[start : start + height]
            itself = rows[:, None] == columns[None]
            near = (unit[rows] @ unit[columns].T / temperature).masked_fill(itself, -torch.inf)
            yield rows, near, (slot[rows, None] == slot[columns][None]) & ~itself


def _members(places: Tensor, place: Tensor) -> Tensor:
    return (places == place).nonzero()[:, 0]
