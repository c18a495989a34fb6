"""Losses of associative embedding: pure functions on tensors, thin modules on top.

`pull_push` is the one general form: points with tags, each in a group, each in an image. Pull
draws the tags of a group to their mean; push drives the means of different groups of one image
apart. `pull_push_dense` takes a label map instead of points. The rest are the losses of the other
maps: `heatmap_mse`, `focal`, `offset_l1`.

Half-precision input is computed, and its loss returned, in float32; float64 stays float64.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PRESETS: dict[str, dict[str, Any]] = {
    # princeton-vl/pose-ae-train, task/loss.py (Python version)
    "newell2017": {
        "push": "exp",
        "sigma": 0.5**0.5,
        "dims": "mean",
        "pairs": "distinct",
        "push_scale": 0.5,
        "eps": 1e-6,
    },
    # HigherHRNet, lib/core/loss.py, AELoss("exp"); add push="hinge" for its "max"
    "higherhrnet": {
        "push": "exp",
        "sigma": 0.5**0.5,
        "dims": "mean",
        "pairs": "distinct",
        "push_scale": 0.5,
    },
    # princeton-vl/CornerNet, models/py_utils/kp_utils.py, _ae_loss; a sum over the batch
    "cornernet": {
        "push": "hinge",
        "margin": 1.0,
        "points": "sum",
        "pairs": "distinct",
        "images": "sum",
        "self_pairs": "cornernet",
        "eps": 1e-4,
    },
}


class TagLoss(NamedTuple):
    """Pull and push: scalars, or (images,) where the reduction over images is "none"."""

    pull: Tensor
    push: Tensor


def pull_push(
    tags: Tensor,
    group: Tensor,
    image: Tensor,
    *,
    cls: Tensor | None = None,
    weight: Tensor | None = None,
    batch: int | None = None,
    push: Literal["exp", "hinge"] = "exp",
    sigma: float = 1.0,
    margin: float = 1.0,
    scope: Literal["image", "class"] = "image",
    points: Literal["mean", "sum"] = "mean",
    dims: Literal["sum", "mean"] = "sum",
    groups: Literal["mean", "sum"] = "mean",
    pairs: Literal["square", "distinct", "sum"] = "square",
    images: Literal["mean", "sum", "none"] = "mean",
    self_pairs: Literal["drop", "keep", "cornernet"] = "drop",
    push_scale: float = 1.0,
    eps: float = 0.0,
) -> TagLoss:
    """Pull tags of one group together and push groups of one image apart."""
    _check_points(tags, group, image, cls, weight)
    for name, value in (
        ("push", push),
        ("scope", scope),
        ("points", points),
        ("dims", dims),
        ("groups", groups),
        ("pairs", pairs),
        ("images", images),
        ("self_pairs", self_pairs),
    ):
        _check_choice(name, value)
    if scope == "class" and cls is None:
        raise ValueError('scope="class" needs cls, the class of every point')
    layout = _layout(group, image, cls if scope == "class" else None, weight, batch)
    tags = _full(tags)[layout.keep]
    weight = torch.ones_like(tags[:, 0]) if weight is None else weight.to(tags)[layout.keep]
    mean, square = _means(tags, weight, layout, points, dims)

    number = layout.groups.to(tags)
    pull = tags.new_zeros(len(number)).index_add(0, layout.image[layout.slot], square)
    if groups == "mean":
        pull = pull / (number + eps).clamp(min=eps or 1.0)

    gap = mean[layout.first] - mean[layout.second]
    if push == "exp":
        force, own = torch.exp(gap.square().sum(1) / (-2 * sigma**2)), number
    else:
        force = F.relu(margin - torch.linalg.vector_norm(gap, dim=1))
        own = number * margin
    apart = 2 * tags.new_zeros(len(number)).index_add(0, layout.image[layout.first], force)
    if self_pairs != "drop":
        apart = apart + own
    if self_pairs == "cornernet":
        apart = apart - number**2 / (number + eps).clamp(min=eps or 1.0)
    if pairs != "sum":
        count = layout.scope.to(tags) - (number if pairs == "distinct" else 0)
        apart = apart / (count + eps).clamp(min=eps or 1.0)
    return TagLoss(_over_images(pull, images), _over_images(apart, images) * push_scale)


def _means(tags, weight, layout, points, dims):
    """Weighted mean tag of every group (G, D), and every point's share of the pull (Q,)."""
    size = len(layout.image)
    total = tags.new_zeros(size).index_add(0, layout.slot, weight)
    mean = tags.new_zeros(size, tags.shape[1]).index_add(0, layout.slot, tags * weight[:, None])
    mean = mean / total[:, None]
    square = (tags - mean[layout.slot]).square()
    square = (square.sum(1) if dims == "sum" else square.mean(1)) * weight
    return mean, square / total[layout.slot] if points == "mean" else square


def pull_push_dense(
    tags: Tensor,
    labels: Tensor,
    *,
    cls: Tensor | None = None,
    weight: Tensor | None = None,
    **settings,
) -> TagLoss:
    """Pull and push of a D-channel map under a map of instance ids."""
    if tags.ndim != 4 or labels.shape != (tags.shape[0], *tags.shape[2:]):
        raise ValueError(
            f"tags must be (B, D, H, W) and labels (B, H, W), got shapes "
            f"{tuple(tags.shape)} and {tuple(labels.shape)}"
        )
    image = torch.arange(len(tags), device=tags.device)[:, None, None].expand_as(labels)
    extra = {"cls": cls, "weight": weight}
    for name, value in extra.items():
        if value is not None and value.shape != labels.shape:
            raise ValueError(
                f"{name} must be (B, H, W) as labels are, got shapes "
                f"{tuple(value.shape)} and {tuple(labels.shape)}"
            )
    extra = {name: value if value is None else value.reshape(-1) for name, value in extra.items()}
    flat = tags.permute(0, 2, 3, 1).reshape(-1, tags.shape[1])
    settings = {"batch": len(tags), **settings}
    return pull_push(flat, labels.reshape(-1), image.reshape(-1), **extra, **settings)


class AELoss(nn.Module):
    """`pull_push` with fixed settings: a preset by name, any setting over it."""

    def __init__(self, preset: str | None = None, **settings):
        super().__init__()
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are {', '.join(PRESETS)}")
        self.settings = {**PRESETS.get(preset, {}), **settings}

    def forward(self, tags: Tensor, group: Tensor, image: Tensor, **inputs) -> TagLoss:
        """As `pull_push`; inputs are cls, weight, batch."""
        return pull_push(tags, group, image, **inputs, **self.settings)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())


def heatmap_mse(
    pred: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    foreground: float = 0.0,
    normalise: Literal["mean", "valid", "sum"] = "mean",
    images: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Masked mean square error of heatmaps."""
    _check_maps(pred, target, mask)
    _check_choice("normalise", normalise)
    _check_choice("images", images)
    pred, target = _full(pred), target.to(_full(pred).dtype)
    gap = pred - target
    weight = None
    if mask is not None:
        weight = mask.to(gap.dtype)
        gap = torch.where(weight > 0, gap, 0)
    loss = gap.square()
    if foreground:
        loss = loss * (1 + foreground * target)
    if weight is not None:
        loss = loss * weight
    loss = loss.flatten(1).sum(1)
    if normalise == "mean":
        loss = loss / max(pred[0].numel(), 1) if len(pred) else loss
    elif normalise == "valid":
        cells = torch.ones_like(pred) if weight is None else weight.expand_as(pred)
        loss = loss / cells.flatten(1).sum(1).clamp(min=1)
    return _over_images(loss, images)


def focal(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 4.0,
    clamp: float = 1e-4,
) -> Tensor:
    """Focal loss of heatmaps with Gaussian bumps."""
    _check_maps(logits, target, mask)
    logits, target = _full(logits), target.to(_full(logits).dtype)
    if mask is not None:
        weight = mask.to(logits.dtype).expand_as(logits)
        logits = torch.where(weight > 0, logits, 0)
    if clamp:
        bound = math.log((1 - clamp) / clamp)
        logits = logits.clamp(-bound, bound)
    p = torch.sigmoid(logits)
    hit = target == 1
    loss = torch.where(
        hit,
        -F.logsigmoid(logits) * (1 - p) ** alpha,
        -F.logsigmoid(-logits) * p**alpha * (1 - target) ** beta,
    )
    if mask is not None:
        loss, hit = loss * weight, hit & (weight > 0)
    return loss.sum() / hit.sum().clamp(min=1)


def offset_l1(
    pred: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    beta: float = 1.0,
    eps: float = 1e-4,
) -> Tensor:
    """Smooth L1 of sub-cell offsets, summed over x and y, averaged over points."""
    if pred.shape != target.shape or (weight is not None and weight.shape != pred.shape[:-1]):
        shapes = [tuple(x.shape) for x in (pred, target, weight) if x is not None]
        raise ValueError(f"pred and target must be (..., 2) and weight (...), got shapes {shapes}")
    pred = _full(pred)
    gap = pred - target.to(pred.dtype)
    if weight is None:
        weight = torch.ones_like(gap[..., 0])
    weight = weight.to(gap.dtype)
    gap = torch.where(weight[..., None] > 0, gap, 0)
    loss = F.smooth_l1_loss(gap, torch.zeros_like(gap), beta=beta, reduction="none").sum(-1)
    return (loss * weight).sum() / (weight.sum() + eps)


# --- which point belongs where: integers only, no gradient ---------------------------------------


class _Layout(NamedTuple):
    keep: Tensor  # (Q,) points that count
    slot: Tensor  # (Q,) the group of each, 0..G-1
    image: Tensor  # (G,) the image of each group, 0..images-1
    first: Tensor  # (M,) every unordered pair of groups in scope once: one end,
    second: Tensor  # (M,) and the other
    groups: Tensor  # (images,) number of groups
    scope: Tensor  # (images,) ordered pairs in scope, a group with itself included


@torch.no_grad()
def _layout(group, image, cls, weight, batch) -> _Layout:
    """Number the groups and list their pairs.

    Pairs are listed one by one, image after image, so memory grows with the pairs there are: an
    image with many groups costs the others nothing, as padding to the fullest would.
    """
    counts = image >= 0
    if batch is None:
        found, _ = _rank(image[counts])
        batch = len(found)
        image = torch.searchsorted(found, image)
    elif image.numel() and int(image.max()) >= batch:
        raise ValueError(f"image has id {int(image.max())}, but batch is {batch}")
    counts = counts & (group >= 0)
    if weight is not None:
        counts = counts & (weight > 0)
    keep = counts.nonzero()[:, 0]
    image = image[keep]
    names, group = _rank(group[keep])
    keys, slot = _rank(image * len(names) + group)
    image = keys // max(len(names), 1)
    groups = torch.bincount(image, minlength=batch)
    if cls is None:
        order, size = None, groups
        segment = image
    else:
        kinds, cls = _rank(cls[keep])
        kind = torch.zeros_like(keys).scatter_reduce(0, slot, cls, "amax", include_self=False)
        segment, order = torch.sort(image * len(kinds) + kind, stable=True)
        _, segment = _rank(segment)
        size = torch.bincount(segment)
    first, second = _pairs(segment, size)
    if order is not None:
        first, second = order[first], order[second]
    per_group = size[segment] if order is None else size[segment][torch.argsort(order)]
    scope = torch.zeros_like(groups).index_add(0, image, per_group)
    return _Layout(keep, slot, image, first, second, groups, scope)


def _pairs(segment: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Every pair of rows in the same segment, once; segments are numbered and in order."""
    row = torch.arange(len(segment), device=segment.device)
    later = size.cumsum(0)[segment] - 1 - row
    first = torch.repeat_interleave(row, later)
    start = later.cumsum(0) - later
    second = torch.arange(len(first), device=row.device) - start[first] + first + 1
    return first, second


def _rank(ids: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.unique(ids, return_inverse=True)`, by counting (no sort) where ids are small."""
    if not len(ids) or int(ids.max()) > 4 * len(ids) + 1024 or int(ids.min()) < 0:
        return torch.unique(ids, return_inverse=True)
    seen = torch.bincount(ids) > 0
    return seen.nonzero()[:, 0], (seen.cumsum(0) - 1)[ids]


# --- checks and reductions -----------------------------------------------------------------------

_CHOICES = {
    "push": ("exp", "hinge"),
    "scope": ("image", "class"),
    "points": ("mean", "sum"),
    "dims": ("sum", "mean"),
    "groups": ("mean", "sum"),
    "pairs": ("square", "distinct", "sum"),
    "images": ("mean", "sum", "none"),
    "self_pairs": ("drop", "keep", "cornernet"),
    "normalise": ("mean", "valid", "sum"),
}


def _check_choice(name: str, value: str) -> None:
    if value not in _CHOICES[name]:
        allowed = ", ".join(repr(choice) for choice in _CHOICES[name])
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def _check_points(tags, group, image, cls, weight) -> None:
    if tags.ndim != 2:
        raise ValueError(f"tags must be (P, D), got shape {tuple(tags.shape)}")
    if not tags.is_floating_point():
        raise ValueError(f"tags must be floating point, got {tags.dtype}")
    for name, value in (("group", group), ("image", image), ("cls", cls), ("weight", weight)):
        if value is None:
            continue
        if value.shape != tags.shape[:1]:
            raise ValueError(
                f"{name} must be (P,) beside tags (P, D), got shapes "
                f"{tuple(value.shape)} and {tuple(tags.shape)}"
            )
        if name != "weight" and (value.is_floating_point() or value.dtype == torch.bool):
            raise ValueError(f"{name} must be integer, got {value.dtype}")


def _check_maps(pred: Tensor, target: Tensor, mask: Tensor | None) -> None:
    if pred.shape != target.shape:
        raise ValueError(
            "prediction and target must have one shape, got "
            f"{tuple(pred.shape)} and {tuple(target.shape)}"
        )
    if mask is None:
        return
    try:
        fits = torch.broadcast_shapes(mask.shape, pred.shape) == pred.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not broadcast to {tuple(pred.shape)}"
        )


def _full(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def _over_images(values: Tensor, how: str) -> Tensor:
    if how == "none":
        return values
    return values.sum() / max(len(values), 1) if how == "mean" else values.sum()
