"""Corner pooling (Law & Deng, "CornerNet", ECCV 2018, section 3.2), and the module around it.

The top-left corner of a box is often not on the object itself. For every cell, corner pooling takes
the maximum over the cells to its right and below it, along the two edges of the box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from tagwise.models.heads import check_range
from tagwise.models.layers import ConvNorm, conv3x3
from tagwise.models.running_max_ops import running_max_backward_op, running_max_op
from tagwise.tasks.base import Head

Corner = Literal["tl", "br"]
Direction = Literal["top", "bottom", "left", "right"]

_AXES = {"top": (-2, True), "bottom": (-2, False), "left": (-1, True), "right": (-1, False)}
"""The axis along which the maximum runs, and whether it starts from the end."""

MAX_CELLS = 4096
"""The largest side of maps for a network that is exported for any size."""

_OPPOSITE = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}
DIRECTIONS: dict[Corner, tuple[Direction, Direction]] = {
    "tl": ("top", "left"),
    "br": ("bottom", "right"),
}
"""The pooling directions of each corner, along the two edges that meet in the corner."""


def corner_pool(x: Tensor, direction: Direction) -> Tensor:
    """The largest value from each cell to one side of the map.

    x: (B, C, H, W) float. direction: the direction in which maxima propagate, as in the paper:
    "top" gives every cell the maximum of its column from the cell downwards, "bottom" upwards,
    "left" the maximum of its row from the cell to the right, "right" to the left.
    Returns the same shape, type and memory layout; gradients in half precision are summed in
    float32. The gradient of a cell goes to the position of its maximum. Of equal maxima, it goes to
    the first in the order of the scan, which is the farthest from the cell: the official kernels
    (`*_pool.cpp` of CornerNet and CornerNet-Lite) replace a maximum only by a greater value,
    whereas torch.cummax takes the last one.

    >>> corner_pool(torch.tensor([[[[1.0, 3.0, 2.0]]]]), "left")
    tensor([[[[3., 3., 2.]]]])
    """
    axis, back = _AXES[direction]
    if _is_exporting():
        return _doubling_max(x, axis, back)
    return _CornerPool.apply(x, axis, back)


class _CornerPool(torch.autograd.Function):
    """Saves only its output, from which the positions of the maxima follow; no indices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, back: bool) -> Tensor:
        pooled = running_max_op(x, axis, back)
        ctx.save_for_backward(pooled)
        ctx.axis, ctx.back = axis, back
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (pooled,) = ctx.saved_tensors
        return running_max_backward_op(pooled, gradient, ctx.axis, ctx.back), None, None


def _is_exporting() -> bool:
    # Before torch 2.7, export and compilation cannot be distinguished.
    exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return exporting() or torch.jit.is_tracing()


def _doubling_max(x: Tensor, axis: int, back: bool) -> Tensor:
    """The same maxima from operators that every runtime supports: log2(size) shifts and maxima."""
    size = x.shape[axis]
    reach = size if isinstance(size, int) else MAX_CELLS
    step = 1
    while step < reach:
        around = (0, step) if back else (step, 0)
        padded = F.pad(x, around if axis == -1 else (0, 0, *around), value=-math.inf)
        x = torch.maximum(x, padded.narrow(axis, step if back else 0, size))
        step *= 2
    return x


def corner_modules(
    heads: Mapping[str, Head], inputs: int, hidden: int, *, separable: bool, stride: int = 4
) -> dict[str, CornerPooling]:
    """The corner pooling modules that the heads need, by the name of their output feature."""
    check_range("hidden channels of corner pooling", hidden, 1, 4096)
    corners = sorted({head.corner for head in heads.values() if head.corner})
    return {
        f"{corner}{stride}": CornerPooling(inputs, hidden, corner, separable=separable)
        for corner in corners
    }


class PooledCorner(nn.Module):
    """Base class of corner modules (figure 7 of the paper): pooling along two edges, and a skip.

    The outputs of two convolutions, p1_conv1 and p2_conv1, are each pooled along one direction,
    summed and passed through `merge`; the input is added through `skip`, and conv2 follows.
    Subclasses define these layers and the names of their weights.
    """

    def __init__(
        self, corner: Corner, p1_conv1: nn.Module, p2_conv1: nn.Module, conv2: nn.Module
    ) -> None:
        super().__init__()
        self.directions = DIRECTIONS[corner]
        self.p1_conv1, self.p2_conv1, self.conv2 = p1_conv1, p2_conv1, conv2

    def merge(self, pooled: Tensor) -> Tensor:
        """Map the pooled features to the channels of the input."""
        raise NotImplementedError

    def skip(self, x: Tensor) -> Tensor:
        """The skip connection."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to the same shape."""
        first, second = self.directions
        pooled = corner_pool(self.p1_conv1(x), first) + corner_pool(self.p2_conv1(x), second)
        return self.conv2(torch.relu(self.merge(pooled) + self.skip(x)))

    def turn(self) -> None:
        """Reverse the pooling directions, for maps that are rotated by 180°."""
        self.directions = tuple(_OPPOSITE[direction] for direction in self.directions)


class CornerPooling(PooledCorner):
    """The corner module of the light networks, with convolutions into which norms can be folded."""

    def __init__(self, inputs: int, hidden: int, corner: Corner, *, separable: bool) -> None:
        p1_conv1, p2_conv1 = (conv3x3(inputs, hidden, separable=separable) for _ in range(2))
        super().__init__(corner, p1_conv1, p2_conv1, conv3x3(inputs, inputs, separable=separable))
        self.p_conv1 = conv3x3(hidden, inputs, separable=separable, activation=None)
        self.conv1 = ConvNorm(inputs, inputs)

    def merge(self, pooled: Tensor) -> Tensor:
        return self.p_conv1(pooled)

    def skip(self, x: Tensor) -> Tensor:
        return self.conv1(x)
