"""Losses of heatmaps and offset maps, which `tagwise.losses` exports."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise.losses.inputs import raise_mismatch, takes_arrays

_PART = 1 << 15
"""Cells that `heatmap_mse` works on at a time on a CPU; their numbers fit into its cache."""

_CHOICES = {"normalise": ("mean", "valid", "sum"), "images": ("mean", "sum", "none")}


@takes_arrays
def heatmap_mse(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    foreground: float = 0.0,
    normalise: str = "mean",
    images: str = "mean",
    logits: bool = False,
) -> Tensor:
    """Masked squared error of heatmaps, the loss of pose networks (Newell et al. 2017, HRNet).

    Args:
        pred, target: (B, K, H, W), or any shape that starts with the batch.
        mask: >= 0 or bool, broadcastable to `pred`; multiplies the error, 0 ignores the cell. For
            a mask (B, H, W), pass mask[:, None]. A mask (B, K, 1, 1) can ignore keypoint types
            that are not labelled.
        foreground: the error is weighted by 1 + foreground * target, to balance the many empty
            cells.
        normalise: the error of an image is divided by its number of cells ("mean", as in
            HigherHRNet), by the sum of its mask ("valid"), or not at all ("sum").
        images: "mean" or "sum" over images, or "none" for (B,).
        logits: `pred` are logits; the error is that of their sigmoid.

    Raises:
        ValueError: shapes do not match, or a choice is unknown.
    """
    check_choices(_CHOICES, normalise=normalise, images=images)
    _check_maps("pred", pred, target, mask)
    single = pred.dtype == target.dtype == torch.float32 and not target.requires_grad
    if single and pred.is_cpu and pred.is_contiguous():
        loss = _SquaredErrors.apply(pred, target, mask, foreground, logits)
    else:
        loss = _squared_errors(pred, target, mask, foreground, logits)
    if normalise == "mean" or (normalise == "valid" and mask is None):
        loss = loss / max(math.prod(pred.shape[1:]), 1)
    elif normalise == "valid":
        cells = mask.to(loss.dtype).expand_as(pred).flatten(1).sum(1)
        loss = loss / cells.where(cells > 0, 1)
    return over_images(loss, images)


def _squared_errors(
    pred: Tensor, target: Tensor, mask: Tensor | None, foreground: float, logits: bool
) -> Tensor:
    """The weighted sum of squared errors of each image, (B,)."""
    pred, target, mask = _masked(pred.sigmoid() if logits else pred, target, mask)
    loss = (pred - target).square()
    if foreground:
        loss = loss * (1 + foreground * target)
    if mask is not None:
        loss = loss * mask
    return loss.flatten(1).sum(1)


class _SquaredErrors(torch.autograd.Function):
    """`_squared_errors` and its gradient in one pass over parts that fit into a CPU's cache.

    Separate operations on whole maps are limited by memory, and take several times as long.
    """

    @staticmethod
    def forward(ctx, pred, target, mask, foreground, logits):
        sums, gradient = pred.new_zeros(len(pred)), torch.empty_like(pred)
        everywhere = None if mask is None else mask.expand_as(pred)
        for image in range(len(pred)):
            maps = [pred[image], target[image], gradient[image]]
            maps += [] if everywhere is None else [everywhere[image]]
            for parts in zip(*(each.reshape(-1).split(_PART) for each in maps)):
                sums[image] += _add_part(*parts, foreground=foreground, logits=logits)
        ctx.save_for_backward(gradient)
        return sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient_of_sums):
        (gradient,) = ctx.saved_tensors
        scale = gradient_of_sums.view(-1, *[1] * (gradient.ndim - 1))
        return gradient * scale, None, None, None, None


def _add_part(
    pred: Tensor,
    target: Tensor,
    gradient: Tensor,
    mask: Tensor | None = None,
    *,
    foreground: float,
    logits: bool,
) -> Tensor:
    """The sum of weighted squared errors of some cells; writes their gradient."""
    value = pred.sigmoid() if logits else pred
    error = value - target
    torch.mul(error, target, out=gradient).mul_(foreground).add_(error)
    ignored = None if mask is None else mask == 0
    if mask is not None:
        error.masked_fill_(ignored, 0)  # NaN may be there
        gradient.masked_fill_(ignored, 0)
        if mask.dtype != torch.bool:
            gradient.mul_(mask)
    total = torch.dot(gradient, error)
    gradient.mul_(2)
    if logits:
        slope = value * (1 - value)
        gradient.mul_(slope if ignored is None else slope.masked_fill_(ignored, 0))
    return total


@takes_arrays
def focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 4.0,
    clamp: float = 1e-4,
    number: Tensor | None = None,
) -> Tensor:
    """Focal loss of heatmaps with Gaussian peaks (CornerNet, arXiv:1808.01244, Eq. 1).

    Args:
        logits: any shape, before the sigmoid.
        target: the same shape, in [0, 1]; cells that are exactly 1 are positive.
        mask: >= 0 or bool, broadcastable to `logits`; multiplies the loss, 0 ignores the cell.
        alpha: exponent that reduces the weight of cells that are already predicted correctly.
        beta: exponent that reduces the weight of negatives near a positive.
        clamp: probabilities are clamped to [clamp, 1 - clamp], beyond which there is no gradient,
            as in the published code. With 0, the logits are not limited, and alpha must be >= 1.
        number: scalar > 0 that the sum is divided by, such as the mean number of positives over
            the processes that train together. None: the number of positives, at least 1.

    Returns:
        The sum over all cells of the batch, divided by the number of positives if there are any.

    Raises:
        ValueError: shapes do not match.
    """
    _check_maps("logits", logits, target, mask)
    logits, target, mask = _masked(logits, target, mask)
    if clamp:
        bound = math.log((1 - clamp) / clamp)
        logits = logits.clamp(-bound, bound)
    positive = target == 1  # False in masked cells, where the target is 0
    correct = torch.where(positive, logits, -logits)  # logit of the correct answer
    near = torch.where(positive, 1, (1 - target) ** beta)
    loss = -F.logsigmoid(correct) * torch.sigmoid(-correct) ** alpha * near
    if mask is not None:
        loss = loss * mask
    return loss.sum() / (positive.sum().clamp(min=1) if number is None else number)


@takes_arrays
def offset_l1(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    beta: float = 1.0,
    eps: float = 1e-4,
    number: Tensor | None = None,
) -> Tensor:
    """Smooth L1 of sub-cell offsets (CornerNet, arXiv:1808.01244, Eq. 3).

    Args:
        pred, target: (..., 2), offsets in cells.
        weight: (...) >= 0 or bool; 0 ignores the point.
        beta: error at which the loss changes from quadratic to linear.
        number: scalar > 0 in place of the sum of weights, such as its mean over the processes that
            train together.

    Returns:
        The weighted sum over points, x and y, divided by the sum of weights + eps.

    Raises:
        ValueError: shapes do not match.
    """
    if pred.shape != target.shape:
        raise_mismatch("pred and target must have the same shape", pred, target)
    if weight is not None and weight.shape != pred.shape[:-1]:
        raise_mismatch("weight must be (...) to match pred (..., 2)", weight, pred)
    pred, target, weight = _masked(pred, target, None if weight is None else weight[..., None])
    if number is None:
        number = math.prod(pred.shape[:-1]) if weight is None else weight.sum()
    loss = F.smooth_l1_loss(pred, target, beta=beta, reduction="none")
    return (loss if weight is None else loss * weight).sum() / (number + eps)


def over_images(values: Tensor, how: str) -> Tensor:
    """Reduce (images,) by "mean" or "sum" to a scalar, or not ("none"); no images give zero."""
    if how == "none":
        return values
    return values.sum() / torch.sym_max(values.shape[0], 1) if how == "mean" else values.sum()


def full(values: Tensor) -> Tensor:
    """Convert half precision to float32."""
    return values if values.dtype == torch.float64 else values.float()


def check_choices(allowed: dict[str, tuple[str, ...]], **given: str) -> None:
    """Raise ValueError for a setting that is not among the allowed ones."""
    for name, value in given.items():
        if value not in allowed[name]:
            choices = ", ".join(repr(choice) for choice in allowed[name])
            raise ValueError(f"{name} must be one of {choices}; got {value!r}")


def _masked(pred: Tensor, target: Tensor, mask: Tensor | None):
    """Convert all to one full-precision dtype, with zeros in masked cells.

    The zeros remove NaN values, which a product with the mask would keep.
    """
    pred = full(pred)
    target = target.to(pred.dtype)
    if mask is None:
        return pred, target, None
    keep = mask > 0
    return torch.where(keep, pred, 0), torch.where(keep, target, 0), mask.to(pred.dtype)


def _check_maps(name: str, pred: Tensor, target: Tensor, mask: Tensor | None) -> None:
    if pred.shape != target.shape:
        raise_mismatch(f"{name} and target must have the same shape", pred, target)
    if not pred.ndim:
        raise ValueError(f"{name} must have the batch as its first axis, got shape ()")
    if mask is None:
        return
    fits = mask.ndim <= pred.ndim and all(
        size in (1, whole) for size, whole in zip(reversed(mask.shape), reversed(pred.shape))
    )
    if not fits:
        raise_mismatch(f"mask must broadcast to {name}", mask, pred)
