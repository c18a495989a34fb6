"""The indices of the tag loss: the group of each point, and the pairs of groups.

Their sizes depend on the data, which would break a compiled graph. When compiling, the computation
is therefore a single opaque operator: `torch.compile` treats its outputs as tensors of unknown
length and keeps the graph whole.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from tagwise.losses.inputs import check_per_point, takes_arrays


class Layout(NamedTuple):
    """int64 tensors for Q points in use, G groups and M pairs."""

    keep: Tensor  # (Q,) indices of the points in use
    slot: Tensor  # (Q,) group of each, 0..G-1
    image: Tensor  # (G,) image of each group, 0..images-1
    first: Tensor  # (M,) first group of every unordered pair in scope
    second: Tensor  # (M,) second group of the pair
    number: Tensor  # (images,) number of groups
    scope: Tensor  # (images,) number of ordered pairs in scope, including each group with itself


@takes_arrays
def layout_groups(
    group: Tensor,
    image: Tensor,
    cls: Tensor | None = None,
    used: Tensor | None = None,
    batch: int | None = None,
) -> Layout:
    """Number the groups, image by image, and list the pairs of groups within an image.

    Args:
        group, image: (P,) integers; points with a negative value are ignored.
        cls: (P,) integers; if given, both groups of a pair have the same class.
        used: (P,) bool; points with False are ignored.
        batch: number of images, with ids 0..batch-1; None: the images are the distinct ids.

    Raises:
        ValueError: shapes or dtypes do not match, an image id is not below `batch`, or the points
            of a group have several classes.
    """
    if group.ndim != 1:
        raise ValueError(f"group must be (P,), got shape {tuple(group.shape)}")
    check_per_point("group (P,)", group, ids={"group": group, "image": image, "cls": cls})
    check_per_point("group (P,)", group, values={"used": used})
    build = _operator if torch.compiler.is_compiling() else _build
    return Layout(*build(group, image, cls, used, batch))


def _build(
    group: Tensor, image: Tensor, cls: Tensor | None, used: Tensor | None, batch: int | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    group, image = group.long(), image.long()
    counts = image >= 0
    if batch is None:
        ids, _ = _rank(image[counts])
        image, batch = torch.searchsorted(ids, image.contiguous()), len(ids)
    elif len(image) and int(image.max()) >= batch:
        raise ValueError(f"image has the id {int(image.max())}, but batch is {batch}")
    counts = counts & (group >= 0)
    keep = (counts if used is None else counts & used.bool()).nonzero()[:, 0]
    ids, group = _rank(group[keep])
    # Ranking the group ids first keeps this product small for any ids.
    keys, slot = _rank(image[keep] * len(ids) + group)
    image = keys // max(len(ids), 1)
    number = torch.bincount(image, minlength=batch)
    if cls is None:
        return keep, slot, image, *_pairs(number), number, number**2

    classes, cls = _rank(cls.long()[keep])
    group_cls = torch.zeros_like(keys).scatter(0, slot, cls)
    if not torch.equal(group_cls[slot], cls):
        raise ValueError("cls differs between points of one group; a group has one class")
    block, order = torch.sort(image * len(classes) + group_cls)
    size = torch.bincount(block, minlength=batch * len(classes))
    first, second = (order[end] for end in _pairs(size))
    return keep, slot, image, first, second, number, (size**2).view(batch, len(classes)).sum(1)


_operator = torch.library.custom_op("tagwise::layout_groups", _build, mutates_args=())


@_operator.register_fake
def _(group, image, cls, used, batch):
    size = torch.library.get_ctx().new_dynamic_size
    points, groups, pairs = size(), size(), size()
    images = size() if batch is None else batch
    lengths = (points, points, groups, pairs, pairs, images, images)
    return tuple(group.new_empty(length, dtype=torch.long) for length in lengths)


def take(values: Tensor, index: Tensor) -> Tensor:
    """`rows_of` for points: torch's compiler cannot index a tensor without rows, so it gets one."""
    if values.shape[0] == 0:
        values = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
    return rows_of(values, index)


def rows_of(values: Tensor, index: Tensor) -> Tensor:
    """values[index]. On a GPU its gradient is added up in one pass, that of [] is sorted first."""
    return values.index_select(0, index)


def point_groups(
    image: Tensor, counted: Tensor, layout: Layout, batch: int | None
) -> tuple[Tensor, Tensor]:
    """Pair every point with every group of its image: the points (M,) and the groups (M,).

    image: (P,) ids of images. counted: (P,) bool, which points to use. batch: as in
    `layout_groups`, with which `layout` was made from the same images.
    """
    build = _point_operator if torch.compiler.is_compiling() else _build_points
    return build(image, counted, layout.image, batch)


def _build_points(
    image: Tensor, counted: Tensor, group_image: Tensor, batch: int | None
) -> tuple[Tensor, Tensor]:
    image = image.long()
    ids = torch.unique(image[image >= 0]) if batch is None else torch.arange(batch).to(image)
    point = (counted & (image >= 0)).nonzero()[:, 0]
    place = torch.searchsorted(ids, image[point].contiguous())
    number = torch.bincount(group_image, minlength=len(ids))
    first, repeats = number.cumsum(0) - number, number[place]
    other = torch.arange(int(repeats.sum()), device=image.device)
    start = torch.repeat_interleave(first[place] - (repeats.cumsum(0) - repeats), repeats)
    return torch.repeat_interleave(point, repeats), other + start


_point_operator = torch.library.custom_op("tagwise::point_groups", _build_points, mutates_args=())


@_point_operator.register_fake
def _(image, counted, group_image, batch):
    size = torch.library.get_ctx().new_dynamic_size()
    return tuple(image.new_empty(size, dtype=torch.long) for _ in range(2))


def near_pairs(place: Tensor, near: float, layout: Layout) -> Tensor:
    """Find pairs of groups whose bounding boxes are at most `near` apart, (M,) bool.

    place: (Q, A) coordinates of the points in use.
    """
    index = layout.slot[:, None].expand_as(place)
    empty = place.new_zeros(layout.image.shape[0], place.shape[1])
    low = empty.scatter_reduce(0, index, place, "amin", include_self=False)
    high = empty.scatter_reduce(0, index, place, "amax", include_self=False)
    ahead = torch.maximum(low[layout.first], low[layout.second])
    behind = torch.minimum(high[layout.first], high[layout.second])
    return torch.linalg.vector_norm((ahead - behind).clamp(min=0), dim=1) <= near


@takes_arrays
def grid_places(labels: Tensor) -> Tensor:
    """Row and column of every pixel of label maps (B, H, W), as (B * H * W, 2) float32."""
    if labels.ndim != 3:
        raise ValueError(f"labels must be (B, H, W), got shape {tuple(labels.shape)}")
    rows, columns = (
        torch.arange(size, dtype=torch.float32, device=labels.device) for size in labels.shape[1:]
    )
    return torch.cartesian_prod(rows, columns).repeat(len(labels), 1)


def _pairs(size: Tensor) -> tuple[Tensor, Tensor]:
    """Each pair of rows of the same block, once. Blocks of these sizes follow one another.

    Memory grows with the number of pairs: an image with many groups does not increase the memory
    of the others, as padding to the largest number of groups would.
    """
    row = torch.arange(int(size.sum()), device=size.device)
    later = torch.repeat_interleave(size.cumsum(0), size) - 1 - row
    first = torch.repeat_interleave(row, later)
    start = later.cumsum(0) - later
    second = torch.arange(len(first), device=size.device) - start[first] + first + 1
    return first, second


def _rank(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ids in order, and the rank of each id.

    Small ids are counted, which is several times faster than the sort of `torch.unique`.
    """
    if not len(ids):
        return ids, ids.clone()
    low, high = (int(end) for end in ids.aminmax())
    if low < 0 or high > 4 * len(ids) + 1024:
        return torch.unique(ids, return_inverse=True)
    present = torch.bincount(ids) > 0
    return present.nonzero()[:, 0], (present.cumsum(0) - 1)[ids]
