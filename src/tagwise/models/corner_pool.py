"""Corner pooling (Law & Deng, "CornerNet", ECCV 2018, section 3.2), and the module around it.

A box's top-left corner often lies on nothing of the object. Pooling looks from every cell to the
right and down, along the box's two edges, and keeps the largest that it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tagwise.models.heads import check_range
from tagwise.models.layers import ConvNorm, conv3x3
from tagwise.tasks.base import Head

Corner = Literal["tl", "br"]
Direction = Literal["top", "bottom", "left", "right"]

_AXES = {"top": -2, "bottom": -2, "left": -1, "right": -1}
_OPPOSITE = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}
_DIRECTIONS: dict[Corner, tuple[Direction, Direction]] = {
    "tl": ("top", "left"),
    "br": ("bottom", "right"),
}


def corner_pool(x: Tensor, direction: Direction) -> Tensor:
    """The largest value from each cell on to one side of the map.

    x: (B, C, H, W) float. direction: where the maximum moves to, as the paper names it: "top"
    gives every cell the largest of its column from itself down, "bottom" from itself up, "left"
    the largest of its row from itself to the right, "right" to the left.
    Returns the same shape, type and memory layout. The gradient of a cell goes to the maximum
    that it took, and of equal ones to the first met on the way, as in the official kernels.

    >>> corner_pool(torch.tensor([[[[1.0, 3.0, 2.0]]]]), "left")
    tensor([[[[3., 3., 2.]]]])
    """
    return _CornerPool.apply(x, direction)


class _CornerPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, direction: Direction) -> Tensor:
        axis, back = _AXES[direction], direction in ("top", "left")
        turned = x.flip(axis) if back else x
        pooled = turned.cummax(axis).values
        ctx.axis, ctx.back = axis, back
        ctx.save_for_backward(pooled)
        return pooled.flip(axis) if back else pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (pooled,), axis = ctx.saved_tensors, ctx.axis
        turned = gradient.flip(axis) if ctx.back else gradient
        size = pooled.shape[axis]
        fresh = pooled.narrow(axis, 1, size - 1) != pooled.narrow(axis, 0, size - 1)
        place = torch.arange(1, size, device=pooled.device)
        place = place[:, None] if axis == -2 else place
        first = torch.zeros(pooled.shape, dtype=torch.int64, device=pooled.device)
        first.narrow(axis, 1, size - 1).copy_(torch.where(fresh, place, 0))
        first = first.cummax(axis).values
        result = torch.zeros_like(turned).scatter_add_(axis, first, turned)
        return result.flip(axis) if ctx.back else result, None


def corner_modules(
    heads: Mapping[str, Head], inputs: int, hidden: int, *, separable: bool
) -> dict[str, CornerPooling]:
    """A module for each corner that a head asks for, by the name of the feature that it makes."""
    check_range("hidden channels of corner pooling", hidden, 1, 4096)
    corners = sorted({head.corner for head in heads.values() if head.corner})
    return {
        f"{corner}4": CornerPooling(inputs, hidden, corner, separable=separable)
        for corner in corners
    }


class CornerPooling(nn.Module):
    """The corner module of CornerNet (figure 7 of the paper): pooling along two edges, and a skip.

    Two convolutions, each pooled along one direction, are summed and convolved; the input is added
    through a 1 × 1 convolution, and one more convolution follows. Named as in the official
    checkpoints, there with 256 inputs and 128 hidden channels and norms of eps 1e-5.
    """

    def __init__(self, inputs: int, hidden: int, corner: Corner, *, separable: bool) -> None:
        super().__init__()
        self.directions = _DIRECTIONS[corner]
        self.p1_conv1 = conv3x3(inputs, hidden, separable=separable)
        self.p2_conv1 = conv3x3(inputs, hidden, separable=separable)
        self.p_conv1 = conv3x3(hidden, inputs, separable=separable, activation=None)
        self.conv1 = ConvNorm(inputs, inputs)
        self.conv2 = conv3x3(inputs, inputs, separable=separable)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to the same shape."""
        first, second = self.directions
        pooled = corner_pool(self.p1_conv1(x), first) + corner_pool(self.p2_conv1(x), second)
        return self.conv2(torch.relu(self.p_conv1(pooled) + self.conv1(x)))

    def turn(self) -> None:
        """Pools the other way round, for maps that are turned by 180°."""
        self.directions = tuple(_OPPOSITE[direction] for direction in self.directions)
