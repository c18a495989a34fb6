"""Spatial embeddings: groups with a learned bandwidth, trained for the overlap with the truth."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.losses.embeddings import mean_tags, per_image, prepare
from tagwise.losses.inputs import raise_mismatch, takes_arrays
from tagwise.losses.maps import full
from tagwise.losses.pairs import point_groups, rows_of, take
from tagwise.losses.tags import add_up


class SpatialLoss(NamedTuple):
    """Terms of `spatial`: scalars, or one value per image; and the closeness of every point."""

    overlap: Tensor
    smooth: Tensor
    closeness: Tensor


@takes_arrays
def spatial(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    bandwidth: Tensor,
    background: int | None = None,
    weight: Tensor | None = None,
    batch: int | None = None,
    images: str = "mean",
) -> SpatialLoss:
    """Let each group cover its own points, and no others, within a bandwidth that it learns.

    Neven et al. 2019 (arXiv:1906.11109, Eqs. 5-8), averaged over images. For a group k with the
    mean tag m_k and the mean bandwidth b_k of its points, a point with the tag x is close by

        c_k(x) = 2^(-|x - m_k|^2 / b_k^2)

    which is 1/2 at the bandwidth (sigma in the paper is b_k / sqrt(2 ln 2)). Then

        overlap = mean over groups of the Lovász hinge of 2 c_k - 1, over all points of the image
        smooth = mean over groups of the mean of (b_i - b_k)^2 over its points

    The Lovász hinge (Berman et al. 2018, arXiv:1705.08790) is a convex bound of 1 - IoU, so that
    the bandwidth grows with the size of an instance. Use it for pixels whose tags are the position
    plus an offset, where instances differ much in size. `group_by_seed` takes the bandwidth of each
    point as it is. Train a map of `closeness` and give it as the scores of the seeds.

    Args:
        tags, group, image, batch, images: see `pull_push`.
        bandwidth: (P,) > 0, in tag units, as the network predicts it, for example
            `torch.nn.functional.softplus` of a map.
        background: group id of points that belong to no group, but that no group may cover.
        weight: (P,) weights in the mean tag and bandwidth; 0: the point is ignored.

    `closeness` is (P,), the closeness of each point to its own group, without gradient; 0 for
    the background and for ignored points.

    Time and memory grow with the sum of points · groups over the images.

    Raises:
        ValueError: shapes or dtypes do not match, or an image id is not below `batch`.

    >>> tags, group = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0, 0, 1])
    >>> spatial(tags, group, torch.zeros(3, dtype=torch.long), bandwidth=torch.ones(3)).overlap
    tensor(0.1591)
    """
    if bandwidth.shape != tags.shape[:1]:
        raise_mismatch("bandwidth must be (P,) to match tags (P, D)", bandwidth, tags)
    owned = group if background is None else torch.where(group == background, -1, group)
    groups = prepare(tags, owned, image, weight, batch, None)
    layout = groups.layout
    mean, width = mean_tags(groups), full(bandwidth)
    own = take(width, layout.keep)
    usual = add_up(own * groups.share, layout.slot, layout.image.shape[0])
    apart = own - rows_of(usual, layout.slot)
    rough = add_up(apart.square() * groups.share, layout.slot, len(usual))

    counted = group >= 0 if background is None else (group >= 0) | (group == background)
    if weight is not None:
        counted = counted & (weight.detach() > 0)
    point, other = point_groups(image, counted, layout, batch)
    close = closeness_to(take(full(tags), point), rows_of(mean, other), rows_of(usual, other))
    slot = torch.full_like(group.long(), -1).index_put((layout.keep,), layout.slot)
    inside = take(slot, point) == other
    overlap = _lovasz_hinge(2 * close - 1, inside, other, len(usual))

    nearness = torch.zeros_like(width).index_put((point[inside],), close[inside].detach())
    return SpatialLoss(
        per_image(overlap, groups, images), per_image(rough, groups, images), nearness
    )


def closeness_to(tags: Tensor, mean: Tensor, bandwidth: Tensor) -> Tensor:
    """2^(-|x - m|^2 / b^2): 1 at the mean, 1/2 at the bandwidth; (M, D), (M, D), (M,) -> (M,)."""
    return torch.exp2(-(tags - mean).square().sum(1) / bandwidth.square().clamp(min=1e-12))


def _lovasz_hinge(logits: Tensor, truth: Tensor, segment: Tensor, count: int) -> Tensor:
    """The Lovász hinge of each segment, (count,); Berman et al. 2018, algorithm 1.

    logits: (M,). truth: (M,) bool. segment: (M,) int64.
    """
    error = 1 - torch.where(truth, logits, -logits)
    order = torch.argsort(error.detach(), descending=True)
    order = order[torch.argsort(segment[order], stable=True)]
    error, truth, segment = error[order], truth[order].to(error), segment[order]
    ones = torch.ones_like(error)
    size, positive = add_up(ones, segment, count), add_up(truth, segment, count)
    start = size.cumsum(0) - size
    row = torch.arange(len(error), device=error.device)
    rank = row - start[segment]
    before = positive.cumsum(0) - positive  # positives of earlier segments
    found = truth.cumsum(0) - before[segment]
    iou = (positive[segment] - found) / (positive[segment] + rank + 1 - found).clamp(min=1e-12)
    jaccard = 1 - iou
    previous = torch.where(rank > 0, jaccard[(row - 1).clamp(min=0)], 0)
    return add_up(F.relu(error) * (jaccard - previous), segment, count)
