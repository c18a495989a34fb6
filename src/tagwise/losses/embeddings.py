"""Other embedding losses of the literature, with the arguments of `pull_push`.

All take the tags of points, the group and the image of each, and an optional weight. Points with a
negative group or image are ignored. `docs/which_loss.md` compares them on the same data.

| loss | what it compares | cost grows with | grouping that reads it |
|---|---|---|---|
| `pull_push` | means of groups | points + pairs of groups | `group_by_seed`, any other |
| `discriminative` | means of groups, with margins | points + pairs of groups | the same |
| `cosine` | directions of points and means | points · D² | the same, on unit tags |
| `contrastive` | directions of points | pairs of points | the same, on unit tags |
| `spatial` | points and learned bandwidths | points · groups of the image | `group_by_seed` |

`contrastive` and `spatial` have files of their own.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.losses.inputs import takes_arrays
from tagwise.losses.maps import full, over_images
from tagwise.losses.pairs import Layout, layout_groups, rows_of, take
from tagwise.losses.tags import TagLoss, add_up, check_points


class DiscriminativeLoss(NamedTuple):
    """Terms of `discriminative`: scalars, or one value per image with images="none"."""

    pull: Tensor
    push: Tensor
    regularise: Tensor


class Groups(NamedTuple):
    """The points in use and their groups, for the losses of this folder."""

    tags: Tensor  # (Q, D) of the points in use
    share: Tensor  # (Q,) weight of each in its group; the weights of a group sum to 1
    layout: Layout
    images: int


def prepare(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    weight: Tensor | None,
    batch: int | None,
    layout: Layout | None,
) -> Groups:
    """Check the arguments of a loss and find its groups; see `pull_push`."""
    check_points(tags, group, image, weight=weight)
    if layout is None:
        used = None if weight is None else weight.detach() > 0
        layout = layout_groups(group, image, None, used, batch)
    layout = Layout(*(index.to(tags.device) for index in layout))
    tags = take(full(tags), layout.keep)
    share = torch.ones_like(tags[:, 0]) if weight is None else take(weight.to(tags), layout.keep)
    share = share / rows_of(add_up(share, layout.slot, layout.image.shape[0]), layout.slot)
    return Groups(tags, share, layout, layout.number.shape[0])


def mean_tags(groups: Groups) -> Tensor:
    """The mean tag of each group, (G, D)."""
    weighted = groups.tags * groups.share[:, None]
    return add_up(weighted, groups.layout.slot, groups.layout.image.shape[0])


def per_image(values: Tensor, groups: Groups, images: str) -> Tensor:
    """Average one value per group (G,) over the groups of each image, then over images."""
    total = add_up(values, groups.layout.image, groups.images)
    return over_images(total / groups.layout.number.to(values).clamp(min=1), images)


@takes_arrays
def discriminative(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    weight: Tensor | None = None,
    batch: int | None = None,
    layout: Layout | None = None,
    pull_margin: float = 0.5,
    push_margin: float = 1.5,
    images: str = "mean",
) -> DiscriminativeLoss:
    """Pull tags to within a margin of their mean, push means to beyond two margins.

    De Brabandere, Neven and Van Gool 2017 (arXiv:1708.02551, Eqs. 1-3), averaged over images. For
    an image with C groups, where group c has N_c points x_i and the mean m_c, [x]+ = max(0, x):

        pull = 1/C sum_c 1/N_c sum_i [|m_c - x_i| - pull_margin]+^2
        push = 1/(C (C - 1)) sum_{a != b} [2 push_margin - |m_a - m_b|]+^2
        regularise = 1/C sum_c |m_c|

    The paper adds them up with the weights 1, 1 and .001. Use it where groups have many points,
    such as the pixels of instances: points within the pull margin are left alone, so that a group
    may have some extent, and groups that are far enough apart feel no force. Where both terms are 0
    and push_margin > 2 pull_margin, `group_by_seed` with the bandwidth push_margin finds every
    group.

    Args:
        tags, group, image, weight, batch, layout, images: see `pull_push`. Weights count in the
            mean of a group and in its pull.
        pull_margin, push_margin: delta_v and delta_d of the paper, in tag units.

    Time and memory grow with the points and the pairs of groups of an image.

    Raises:
        ValueError: shapes or dtypes do not match, or an image id is not below `batch`.

    >>> tags = torch.tensor([[0.0], [2.0], [3.0]])
    >>> discriminative(tags, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    DiscriminativeLoss(pull=tensor(0.1250), push=tensor(1.), regularise=tensor(2.))
    """
    groups = prepare(tags, group, image, weight, batch, layout)
    layout = groups.layout
    mean = mean_tags(groups)
    # The norm's gradient is zero, not NaN, where a point is its group's mean.
    away = groups.tags - rows_of(mean, layout.slot)
    far = F.relu(torch.linalg.vector_norm(away, dim=1) - pull_margin)
    pull = add_up(far.square() * groups.share, layout.slot, layout.image.shape[0])
    gap = torch.linalg.vector_norm(
        rows_of(mean, layout.first) - rows_of(mean, layout.second), dim=1
    )
    force = F.relu(2 * push_margin - gap).square()
    number = layout.number.to(force)
    apart = 2 * add_up(force, layout.image[layout.first], groups.images)
    return DiscriminativeLoss(
        per_image(pull, groups, images),
        over_images(apart / (number * (number - 1)).clamp(min=1), images),
        per_image(torch.linalg.vector_norm(mean, dim=1), groups, images),
    )


@takes_arrays
def cosine(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    weight: Tensor | None = None,
    batch: int | None = None,
    layout: Layout | None = None,
    images: str = "mean",
) -> TagLoss:
    """Turn the tags of a group in one direction, and other groups at right angles to it.

    Payer et al. 2018 (arXiv:1806.02070, Eq. 1), averaged over images. For an image with the groups
    I, where group i has the points S_i and the mean tag e_i, and N_i are the points of all other
    groups:

        pull = 1/|I| sum_i (1 - 1/|S_i| sum_{p in S_i} cos(e_i, e_p))
        push = 1/|I| sum_i 1/|N_i| sum_{p in N_i} cos(e_i, e_p)^2

    In D dimensions, at most D groups can be at right angles to each other, so D should be about the
    number of groups that are near each other. The paper takes as N_i only the groups near i; give
    each neighbourhood an image id of its own for that. Use it where the length of tags must not
    matter. Group the tags after `torch.nn.functional.normalize`: tags of one group are then near 0
    apart, and tags of different groups about 1.41.

    Args:
        tags, group, image, weight, batch, layout, images: see `pull_push`. Weights count in the
            mean of a group and in both sums.

    The squared cosines are summed through one D x D matrix per group, so that time grows with
    points · D² and memory with groups · D²; no pair of points is formed.

    Raises:
        ValueError: shapes or dtypes do not match, or an image id is not below `batch`.

    >>> tags = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    >>> cosine(tags, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    TagLoss(pull=tensor(0.), push=tensor(0.3600))
    """
    groups = prepare(tags, group, image, weight, batch, layout)
    layout, count = groups.layout, groups.layout.image.shape[0]
    unit = F.normalize(groups.tags, dim=1)
    axis = F.normalize(mean_tags(groups), dim=1)
    near = add_up(groups.share * (unit * rows_of(axis, layout.slot)).sum(1), layout.slot, count)
    pull = torch.where(layout.number[layout.image] > 0, 1 - near, 0)

    raw = torch.ones_like(groups.share) if weight is None else take(weight.to(unit), layout.keep)
    square = unit[:, :, None] * unit[:, None, :] * raw[:, None, None]
    square, mass = add_up(square, layout.slot, count), add_up(raw, layout.slot, count)
    others = rows_of(add_up(square, layout.image, groups.images), layout.image) - square
    other_mass = rows_of(add_up(mass, layout.image, groups.images), layout.image) - mass
    aligned = torch.einsum("gd,gde,ge->g", axis, others, axis).clamp(min=0)
    alone = layout.number[layout.image] < 2
    push = torch.where(alone, 0, aligned / torch.where(alone, 1, other_mass))
    return TagLoss(per_image(pull, groups, images), per_image(push, groups, images))
