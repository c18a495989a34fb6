"""Instance segmentation: foreground pixels, split into instances by their tags.

Tags of pixels are what De Brabandere, Neven and Van Gool (2017, arXiv:1708.02551) learn, with the
means as push; that a tag starts from its pixel's place is Neven et al. (CVPR 2019,
arXiv:1906.11109), and so is a seed map that learns how near a tag is to its instance's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tagwise import losses
from tagwise.data.label_maps import LabelMaps
from tagwise.data.regions import Size
from tagwise.data.transforms import Affine
from tagwise.errors import UserError, unknown_name
from tagwise.grouping.pixels import PixelGrid, decode_pixels
from tagwise.grouping.settings import PixelSettings
from tagwise.results import Masks
from tagwise.tasks.base import Head
from tagwise.tasks.targets import collate, learned_cells

if TYPE_CHECKING:
    from tagwise.data.sample import Sample


@dataclass(frozen=True)
class PixelTask:
    """Every pixel of any number of instances, told apart by tag.

    tag_dim: D, components of a tag.
    position: see `Head.position`; None learns tags outright.
    seeds: whether a map learns how near each pixel's tag is to the mean of its instance, from
        which instances then grow; without it they grow from the surest foreground.
    near: instances whose boxes lie no farther apart than so many cells push each other.
    push: form of the push loss, with its sigma or margin.
    gaps: weight 1 + gaps of the foreground loss in cells by two instances at once.
    zoom: pixels of the network's input for one of a photo; photos are not fitted into the input,
        but seen at this size, in tiles.
    weights: of the loss terms.
    grouping: how pixels become instances.
    """

    tag_dim: int = 2
    position: float | None = None
    seeds: bool = True
    near: float = 8.0
    push: Literal["exp", "hinge"] = "exp"
    gaps: float = 2.0
    zoom: float = 1.0
    weights: dict[str, float] = field(
        default_factory=lambda: {"foreground": 1.0, "seeds": 1.0, "pull": 0.5, "push": 1.0}
    )
    grouping: PixelSettings = field(default_factory=PixelSettings)

    name: ClassVar[str] = "pixels"
    merges: ClassVar[str] = "maps"
    flip: ClassVar[tuple[int, ...]] = (0,)
    tag_norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        known = {"foreground", "seeds", "pull", "push"}
        for key in self.weights:
            if key not in known:
                raise unknown_name("loss term", key, known)
        if not self.zoom > 0:
            raise UserError(f"zoom is {self.zoom}; use a number above 0")

    @classmethod
    def from_options(cls, **options: Any) -> PixelTask:
        """The inverse of `options`; keys that are left out keep their defaults."""
        known = {f.name for f in fields(cls)}
        for key in options:
            if key not in known:
                raise unknown_name("option of the pixels task", key, known)
        values = dict(options)
        values["grouping"] = PixelSettings.from_dict(values.get("grouping", {}))
        if "weights" in values:
            values["weights"] = {**cls().weights, **values["weights"]}
        return cls(**values)

    def options(self) -> dict[str, Any]:
        """Plain values, fit for JSON, that make this task again."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["grouping"] = asdict(self.grouping)
        return values

    @staticmethod
    def open_dataset(
        annotations: Path, images: Path, like: LabelMaps | None = None, **options: Any
    ) -> LabelMaps:
        """A folder of label maps (`annotations`) and one of the images that they are of."""
        for name in options:
            raise UserError(f"the pixels task has no use for {name!r} in its data")
        return LabelMaps(images, annotations)

    def heads(self) -> dict[str, Head]:
        """A foreground map, D tag maps and, if asked for, a map of seeds."""
        maps = {
            "foreground": Head(1, "heatmap"),
            "tags": Head(self.tag_dim, "tag", position=self.position),
        }
        if self.seeds:
            maps["seeds"] = Head(1, "heatmap")
        return maps

    # ------------------------------------------------------------------ targets

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Targets of one sample on the grid of cells.

        labels (h, w) int64, the instance of each cell's middle, -1 for none; foreground (h, w)
        float32, the share of a cell's pixels that belong to any; weight (h, w) float32 of the
        cell's foreground loss, 0 in ignored regions.
        """
        if sample.labels is None:
            raise UserError(f"{sample.file or 'a sample'} has no label map, which this task learns")
        height, width = (side // stride for side in sample.image.shape[:2])
        labels = np.ascontiguousarray(sample.labels[: height * stride, : width * stride])
        whole = (labels > 0).reshape(height, stride, width, stride)
        learned = learned_cells(sample, stride)
        # One past the middle of an even stride: a label cannot lie between two pixels.
        middle = labels[stride // 2 :: stride, stride // 2 :: stride].astype(np.int64)
        weight = learned * (1 + self.gaps * _gaps(middle)).astype(np.float32)
        return {
            "labels": np.where(learned, middle, 0) - 1,
            "foreground": whole.mean((1, 3), dtype=np.float32),
            "weight": weight.astype(np.float32),
        }

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """A batch: every map stacked."""
        return collate(targets, ("labels", "foreground", "weight"))

    # ------------------------------------------------------------------ loss

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms "foreground", "seeds", "pull", "push" (unweighted scalars) and their "total"."""
        labels, weight = targets["labels"], targets["weight"]
        tags = outputs["tags"].float()
        logits = outputs["foreground"][:, 0]
        terms = {"foreground": _foreground_loss(logits, targets["foreground"], weight)}
        tag_loss = losses.pull_push_dense(
            tags, labels, push=self.push, near=self.near, pairs="distinct"
        )
        terms["pull"], terms["push"] = tag_loss.pull, tag_loss.push
        if self.seeds:
            close = _closeness(tags.detach(), labels, self.grouping.bandwidth)
            error = (outputs["seeds"][:, 0].float().sigmoid() - close).square()
            terms["seeds"] = _balanced(error, labels >= 0, weight > 0)
        total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}

    # ------------------------------------------------------------------ results

    def heatmap_values(self, raw: Tensor) -> Tensor:
        """What the network says of foreground and seeds, as scores in [0, 1], float32."""
        return raw.float().sigmoid()

    def heatmap_raw(self, values: Tensor) -> Tensor:
        """The inverse of `heatmap_values`."""
        return torch.logit(values, eps=1e-6)

    def decode(
        self,
        outputs: dict[str, Tensor],
        stride: int,
        views: Sequence[tuple[Affine, Size]] | None = None,
    ) -> list[Masks]:
        """Masks of each image of a batch, best first.

        views: for each image the map from its pixels to the network's input, without turn or
            mirror, and its width and height; masks are then in its own pixels. By default they
            are in pixels of the network's input.
        """
        height, width = (side * stride for side in outputs["tags"].shape[-2:])
        views = views or [(Affine.identity(), (width, height))] * len(outputs["tags"])
        to_cells = Affine.scaling(1 / stride)
        found = decode_pixels(
            self.heatmap_values(outputs["foreground"])[:, 0],
            outputs["tags"],
            self.heatmap_values(outputs["seeds"])[:, 0] if self.seeds else None,
            self.grouping,
            [PixelGrid((to_cells @ affine).matrix, size) for affine, size in views],
        )
        return [Masks(*label_map) for label_map in found]

    def metric(self, results: list[Masks], dataset: LabelMaps) -> dict[str, float]:
        """F1 and AP of the label maps of one Masks an image, at IoU .5 to .9; without scores."""
        from tagwise.metrics import label_map_counts, pooled_figures

        counts = sum(
            label_map_counts(masks.labels, dataset.label_map(i)) for i, masks in enumerate(results)
        )
        return pooled_figures(counts)


def _gaps(labels: np.ndarray, reach: int = 2) -> np.ndarray:
    """(h, w) float32, 1 in cells with two or more instances within `reach` cells, else 0."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    numbers = labels.astype(np.float32)
    highest = cv2.dilate(numbers, window)
    lowest = cv2.erode(np.where(labels > 0, numbers, np.inf).astype(np.float32), window)
    return (np.isfinite(lowest) & (lowest < highest)).astype(np.float32)


def _foreground_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy a cell, plus 1 - the soft Dice coefficient of the batch's cells that count.

    Dice: Milletari, Navab and Ahmadi 2016 (arXiv:1606.04797), with squares in the denominator.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    found, counts = logits.sigmoid(), weight > 0
    shared = (found * target * counts).sum()
    both = ((found.square() + target.square()) * counts).sum()
    dice = 1 - 2 * (shared + 1) / (both + 2)
    return entropy / weight.sum().clamp(min=1) + dice


def _closeness(tags: Tensor, labels: Tensor, bandwidth: float) -> Tensor:
    """(B, h, w): 1 where a tag is its instance's mean, 1/2 a bandwidth off, 0 in the background."""
    batch, dims = tags.shape[:2]
    count = int(labels.max()) + 2
    image = torch.arange(batch, device=labels.device)[:, None, None]
    slot = (labels + 1 + image * count).reshape(-1)
    points = tags.permute(0, 2, 3, 1).reshape(-1, dims)
    total = points.new_zeros(batch * count, dims).index_add(0, slot, points)
    number = torch.bincount(slot, minlength=batch * count).clamp(min=1)
    mean = total / number[:, None]
    square = (points - mean[slot]).square().sum(1).view(labels.shape)
    return torch.where(labels >= 0, 0.5 ** (square / bandwidth**2), 0.0)


def _balanced(error: Tensor, foreground: Tensor, counts: Tensor) -> Tensor:
    """The mean error of the foreground, plus that of the background."""
    parts = (foreground & counts, ~foreground & counts)
    return sum((error * part).sum() / part.sum().clamp(min=1) for part in parts)
