"""The tag loss: pull moves the tags of a group together, push moves different groups apart."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.losses.inputs import check_per_point, raise_mismatch, takes_arrays
from tagwise.losses.maps import check_choices, full, over_images
from tagwise.losses.pairs import Layout, grid_places, layout_groups, near_pairs, rows_of, take

# Settings with which `pull_push` reproduces the values and gradients of published code.
PRESETS: dict[str, dict[str, Any]] = {
    # princeton-vl/pose-ae-train, task/loss.py: sigma^2 = 1/2, half a mean over distinct pairs
    "newell2017": {
        "sigma": 0.5**0.5,
        "dims": "mean",
        "pairs": "distinct",
        "push_scale": 0.5,
        "eps": 1e-6,
    },
    # HigherHRNet, lib/core/loss.py, type "exp"; its type "max" is the same with push="hinge"
    "higherhrnet": {
        "sigma": 0.5**0.5,
        "dims": "mean",
        "pairs": "distinct",
        "push_scale": 0.5,
    },
    # princeton-vl/CornerNet, models/py_utils/kp_utils.py: a sum over the batch, with a constant
    # near 1 for an image with one object
    "cornernet": {
        "push": "hinge",
        "points": "sum",
        "pairs": "distinct",
        "self_pairs": "cornernet",
        "images": "sum",
        "eps": 1e-4,
    },
}


_CHOICES = {
    "push": ("exp", "hinge"),
    "scope": ("image", "class"),
    "points": ("mean", "sum"),
    "dims": ("sum", "mean"),
    "groups": ("mean", "sum"),
    "pairs": ("square", "distinct", "sum"),
    "self_pairs": ("drop", "keep", "cornernet"),
    "images": ("mean", "sum", "none"),
}


class TagLoss(NamedTuple):
    """Pull and push losses: scalars, or one value per image with images="none"."""

    pull: Tensor
    push: Tensor


@takes_arrays
def pull_push(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    cls: Tensor | None = None,
    weight: Tensor | None = None,
    place: Tensor | None = None,
    near: float | None = None,
    batch: int | None = None,
    layout: Layout | None = None,
    push: str = "exp",
    sigma: float = 1.0,
    margin: float = 1.0,
    scope: str = "image",
    points: str = "mean",
    dims: str = "sum",
    groups: str = "mean",
    pairs: str = "square",
    self_pairs: str = "drop",
    images: str = "mean",
    push_scale: float = 1.0,
    eps: float = 0.0,
) -> TagLoss:
    """Pull the tags of a group together and push the groups of an image apart.

    With the defaults, this is Eq. 1 of Newell et al. 2017 (arXiv:1611.05424), averaged over images.
    For an image with N groups, where group n has K_n points with tags h_nk and mean m_n:

        pull = 1/N sum_n 1/K_n sum_k |h_nk - m_n|^2
        push = 1/N^2 sum_{n != n'} exp(-|m_n - m_n'|^2 / (2 sigma^2))

    Only the pairs n = n' are left out. They would add a constant 1/N without gradient; without
    them, the push loss of a single group is zero. self_pairs="keep" includes them. Time and memory
    grow with the number of points and pairs; images may have any number of groups.

    Args:
        tags: (P, D) floating point, any D >= 1.
        group: (P,) integers, any numbers, unique within an image; negative: the point is ignored.
        image: (P,) integers; negative: the point is ignored.
        cls: (P,) integers, the class of each point's group; only used with scope="class".
        weight: (P,) >= 0 or bool, weights in the mean of a group and in its pull; 0: the point is
            ignored. In the push, all groups have the same weight.
        place, near: (P, A) coordinates of the points on any number of axes, and the largest
            distance between the bounding boxes of two groups that push each other. Groups that are
            farther apart may have the same tags. By default, all pairs push each other.
        batch: number of images, with ids 0..batch-1, including images without points. None: the
            number of distinct ids in `image`.
        layout: `layout_groups` of the same points and weights. On a GPU, finding the groups waits
            several times for numbers; a data loader can find them ahead, on a CPU.
        push: "exp" as above, or "hinge": max(0, margin - |m_n - m_n'|) as in CornerNet (Eq. 5).
        scope: the pairs that push each other: all of an "image", or those of the same "class".
        points: reduction of the pull over the points of a group, "mean" or "sum".
        dims: reduction of the pull's squared distance over D, "sum" or "mean". The push always
            uses the sum.
        groups: reduction of the pull over the groups of an image, "mean" or "sum".
        pairs: divisor of the push of an image: "square", N^2; "distinct", N (N - 1); "sum", 1.
            With scope="class", the sum over classes of N_c^2 or N_c (N_c - 1). With `near`, where
            M pairs are near, N + 2 M or 2 M.
        self_pairs: the pairs n = n': "drop"; "keep"; or "cornernet", the constant that remains of
            them in CornerNet's code.
        images: "mean" or "sum" over images, or "none" for one value per image, in order of the id.
        push_scale: factor of the push. eps: added to the counts used as divisors.

    Raises:
        ValueError: shapes or dtypes do not match, an image id is not below `batch`, or a choice is
            unknown.

    >>> tags = torch.tensor([[0.0], [1.0], [4.0]])
    >>> loss = pull_push(tags, torch.tensor([0, 0, 7]), torch.tensor([0, 0, 0]))
    >>> loss
    TagLoss(pull=tensor(0.1250), push=tensor(0.0011))
    """
    check_choices(
        _CHOICES,
        push=push,
        scope=scope,
        points=points,
        dims=dims,
        groups=groups,
        pairs=pairs,
        self_pairs=self_pairs,
        images=images,
    )
    check_points(tags, group, image, cls, weight, scope)
    _check_place(tags, place, near)
    if layout is None:
        used = None if weight is None else weight.detach() > 0
        layout = layout_groups(group, image, cls if scope == "class" else None, used, batch)
    layout = type(layout)(*(index.to(tags.device) for index in layout))
    tags = take(full(tags), layout.keep)
    weight = None if weight is None else take(weight.to(tags), layout.keep)
    number, scope_size = layout.number.to(tags), layout.scope.to(tags)

    mean, square = _means(tags, weight, layout, points, dims)
    pull = add_up(square, layout.image[layout.slot], number.shape[0])
    if groups == "mean":
        pull = pull / (number + eps).clamp(min=eps or 1)

    gap = rows_of(mean, layout.first) - rows_of(mean, layout.second)
    if push == "exp":
        force, self_force = torch.exp(gap.square().sum(1) / (-2 * sigma**2)), number
    else:  # the norm's gradient is zero, not NaN, if two means are equal
        force, self_force = F.relu(margin - torch.linalg.vector_norm(gap, dim=1)), number * margin
    if near is not None:
        close = near_pairs(take(full(place), layout.keep), near, layout).to(tags)
        force = force * close
        scope_size = number + 2 * add_up(close, layout.image[layout.first], number.shape[0])
    apart = 2 * add_up(force, layout.image[layout.first], number.shape[0])
    if self_pairs != "drop":
        apart = apart + self_force
    if self_pairs == "cornernet":
        apart = apart - number**2 / (number + eps).clamp(min=eps or 1)
    if pairs != "sum":
        count = scope_size - (number if pairs == "distinct" else 0)
        apart = apart / (count + eps).clamp(min=eps or 1)
    return TagLoss(over_images(pull, images), over_images(apart, images) * push_scale)


@takes_arrays
def pull_push_dense(
    tags: Tensor,
    labels: Tensor,
    *,
    cls: Tensor | None = None,
    weight: Tensor | None = None,
    background: int | None = None,
    near: float | None = None,
    **settings: Any,
) -> TagLoss:
    """`pull_push` with every pixel of a label map as a point; memory grows with the pixels.

    Args:
        tags: (B, D, H, W) floating point.
        labels: (B, H, W) integers, the instance of each pixel; negative: the pixel is ignored.
        cls, weight: (B, H, W) as in `pull_push`.
        background: a label that is also ignored, for example 0.
        near: in cells; only instances whose bounding boxes are at most this far apart push each
            other.
        settings: as in `pull_push`; images without an instance count in the mean over images.

    Raises:
        ValueError: as for `pull_push`.
    """
    _check_label_maps(tags, labels)
    for name, value in (("cls", cls), ("weight", weight)):
        if value is not None and value.shape != labels.shape:
            raise_mismatch(f"{name} must be (B, H, W) to match labels", value, labels)
    if background is not None:
        labels = torch.where(labels == background, -1, labels)
    place = None if near is None else grid_places(labels)
    return pull_push(
        *dense_points(tags, labels),
        cls=None if cls is None else cls.reshape(-1),
        weight=None if weight is None else weight.reshape(-1),
        place=place,
        near=near,
        batch=len(tags),
        **settings,
    )


@takes_arrays
def dense_points(
    tags: Tensor, labels: Tensor, most: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Tags (P, D), group and image (P,) of the pixels of tag maps and label maps.

    tags: (B, D, H, W). labels: (B, H, W) integers; negative: not an instance.
    most: draw this many pixels of each image at random, from its instances if they have as many.
        None: all pixels, so that P is B * H * W.
    Raises ValueError for shapes that do not match.
    """
    _check_label_maps(tags, labels)
    flat, labels = tags.flatten(2), labels.flatten(1)
    if most is not None and most < labels.shape[1]:
        drawn = torch.multinomial((labels >= 0).float() + 1e-9, most)
        flat = flat.gather(2, drawn[:, None].expand(-1, flat.shape[1], -1))
        labels = labels.gather(1, drawn)
    image = torch.arange(len(tags), device=labels.device)[:, None].expand_as(labels)
    return flat.transpose(1, 2).reshape(-1, tags.shape[1]), labels.reshape(-1), image.reshape(-1)


def _means(tags, weight, layout, points, dims):
    """Mean tag of every group (G, D), and the contribution of every point to the pull (Q,)."""
    share = torch.ones_like(tags[:, 0]) if weight is None else weight
    total = add_up(share, layout.slot, layout.image.shape[0])
    mean = add_up(tags * share[:, None], layout.slot, layout.image.shape[0]) / total[:, None]
    square = (tags - rows_of(mean, layout.slot)).square()
    square = (square.sum(1) if dims == "sum" else square.mean(1)) * share
    return mean, square / rows_of(total, layout.slot) if points == "mean" else square


def add_up(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Row sums by index: (Q, ...) -> (size, ...)."""
    return values.new_zeros(size, *values.shape[1:]).index_add(0, index, values)


def check_points(tags, group, image, cls=None, weight=None, scope="image") -> None:
    """Raise ValueError unless the arguments of a loss fit each other; see `pull_push`."""
    if tags.ndim != 2:
        raise ValueError(f"tags must be (P, D), got shape {tuple(tags.shape)}")
    if not tags.is_floating_point():
        raise ValueError(f"tags must be floating point, got {tags.dtype}")
    if scope == "class" and cls is None:
        raise ValueError('scope="class" needs cls, the class of every point')
    ids = {"group": group, "image": image, "cls": cls}
    check_per_point("tags (P, D)", tags, ids=ids, values={"weight": weight})


def _check_label_maps(tags: Tensor, labels: Tensor) -> None:
    if tags.ndim != 4 or labels.shape != (tags.shape[0], *tags.shape[2:]):
        raise_mismatch("tags must be (B, D, H, W) and labels (B, H, W)", tags, labels)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integer, got {labels.dtype}")


def _check_place(tags: Tensor, place: Tensor | None, near: float | None) -> None:
    if (place is None) != (near is None):
        raise ValueError("place and near need each other: give both or neither")
    if place is not None and (place.ndim != 2 or len(place) != len(tags)):
        raise_mismatch("place must be (P, A) to match tags (P, D)", place, tags)
