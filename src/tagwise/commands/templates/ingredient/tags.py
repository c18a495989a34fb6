"""The loss (place 3 of 5) and the grouping (place 4 of 5) of the tags.

Both take a batch as one list of points, with the scene of each point as its `image`.
"""

from typing import NamedTuple

import numpy as np
import torch
from tagwise import grouping, losses
from torch import Tensor, nn

from .data import Batch
from .network import Output

BANDWIDTH = 1.0  # the largest distance of a tag from the middle of its group


class Loss(NamedTuple):
    """The terms of the loss; their sum is minimised."""

    pull: Tensor  # the distance of the tags of a group from their mean
    push: Tensor  # how near the means of different groups are
    real: Tensor  # how badly noise is recognised


def tag_loss(output: Output, batch: Batch) -> Loss:
    """Compute the loss of a batch.

    Other losses for tags: `losses.discriminative`, `losses.contrastive` and more.
    """
    tags = output.tags.flatten(0, 1)
    group, scene = batch.group.flatten(), _scene(batch.group).flatten()
    pull, push = losses.pull_push(tags, group, scene)  # leaves out group -1
    truth = (batch.group >= 0).float()
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    real = cross_entropy(output.real[batch.used], truth[batch.used])
    return Loss(pull, push, real)


def find_groups(output: Output, batch: Batch) -> np.ndarray:
    """Return the group of each point, (B, P) int64; -1 for noise and in the padding.

    `group_by_seed` knows nothing but the tags. Use `grouping.group_by_type` if a group
    has at most one point of each type, `grouping.group_pairs` if groups are pairs.
    """
    real = (output.real > 0) & batch.used
    scene = torch.where(real, _scene(batch.group), -1)  # -1: the point is left out
    groups = grouping.group_by_seed(
        output.tags.flatten(0, 1),
        output.real.sigmoid().flatten(),
        bandwidth=BANDWIDTH,
        image=scene.flatten(),
    )
    return groups.group.reshape(batch.group.shape)


def _scene(group: Tensor) -> Tensor:
    """The row of each point in the batch, (B, P)."""
    return torch.arange(len(group), device=group.device)[:, None].expand_as(group)
