"""Instance segmentation: foreground pixels, split into instances by their tags.

Tags of pixels, with a push between the means of instances, follow De Brabandere, Neven and Van Gool
(2017, arXiv:1708.02551). Tags that are offsets from the pixel's position, and a seed map of how
close a tag is to the mean of its instance, follow Neven et al. (CVPR 2019, arXiv:1906.11109).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import cv2
import numpy as np

from tagwise import losses
from tagwise.data.box_labels import BoxLabels
from tagwise.data.label_maps import LabelMaps
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.evaluation.coco_rows import MaskRows
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags
from tagwise.evaluation.pixel_oracles import PIXEL_ORACLES, maps_with_truth, pixel_tags
from tagwise.evaluation.scoring import MaskScorer
from tagwise.geometry import to_xyxy
from tagwise.grouping.maps import Maps
from tagwise.grouping.pixels import PixelGrid, decode_pixels
from tagwise.grouping.settings import PixelSettings
from tagwise.plot import plot_pixel_maps
from tagwise.results import Masks
from tagwise.settings import NonNegative, Positive, Range, TagDim
from tagwise.tasks.base import Head, Placement, Task
from tagwise.tasks.tag_terms import TagLossName, check_tag_loss, tag_terms, tag_unit, tag_weights
from tagwise.tasks.targets import collate, learned_cells, loss_weights

if TYPE_CHECKING:
    from torch import Tensor

# Weights of the loss terms that a recipe does not give.
_WEIGHTS = {"foreground": 1.0, "seeds": 1.0, **tag_weights(0.5, 1.0)}


_CONTRASTED = 2048  # pixels of an image that the contrastive loss compares


@dataclass(frozen=True)
class PixelTask(Task):
    """The pixels of any number of instances, separated by tag.

    tag_dim: D, components of a tag.
    position: see `Head.position`; None learns the tags themselves.
    seeds: whether the network also predicts how close each pixel's tag is to the mean of its
        instance. Instances grow from there; without it, from the most confident foreground.
    near: instances push each other if their boxes are at most this many cells apart.
    tag_loss: the loss of the tags, see `tagwise.losses`: "pull_push", "discriminative", "cosine",
        "contrastive" or "spatial". docs/which_loss.md compares them.
    push: form of the push loss, with its default sigma or margin.
    gaps: the foreground loss has weight 1 + gaps in cells that are next to two instances.
    zoom: pixels of the network's input per pixel of the image. Images are not fitted into the
        input; the network runs over them at this size, in tiles.
    weights: the weights of the loss terms, by name; those left out keep their defaults.
    grouping: how pixels become instances.
    """

    tag_dim: TagDim = 2
    position: Positive | None = None
    seeds: bool = True
    near: NonNegative = 8.0
    tag_loss: TagLossName = "pull_push"
    push: Literal["exp", "hinge"] = "exp"
    gaps: NonNegative = 2.0
    zoom: Annotated[float, Range(above=0, most=16)] = 1.0
    weights: dict[str, NonNegative] = field(default_factory=dict)
    grouping: PixelSettings = field(default_factory=PixelSettings)

    name: ClassVar[str] = "pixels"
    result: ClassVar[type[Masks]] = Masks
    dataset: ClassVar[type[LabelMaps]] = LabelMaps
    scorer: ClassVar[type[MaskScorer]] = MaskScorer
    oracles: ClassVar[tuple[str, ...]] = PIXEL_ORACLES
    decoder: ClassVar[str] = "grouping"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", loss_weights(_WEIGHTS, self.weights))
        check_tag_loss(self.tag_loss, self.position, None)

    @classmethod
    def open_dataset(
        cls, annotations: Path, images: Path, like: Task | None = None, **options: Any
    ) -> LabelMaps:
        """Open a folder of label maps (`annotations`) and the folder of their images."""
        return super().open_dataset(images, annotations, like, **options)

    def rows(self, labels: BoxLabels) -> MaskRows:
        return MaskRows(labels)

    def heads(self) -> dict[str, Head]:
        """A foreground map, D tag maps and, with `seeds`, a seed map."""
        unit = tag_unit(self.tag_loss, self.tag_dim)
        maps = {
            "foreground": Head(1, "heatmap"),
            "tags": Head(self.tag_dim, "tag", position=self.position, unit=unit),
        }
        if self.seeds:
            maps["seeds"] = Head(1, "heatmap")
        return maps

    # ------------------------------------------------------------------ targets

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Return the targets of one sample on the grid of cells.

        labels (h, w) int64, the instance at the centre of each cell, -1 for none; foreground (h, w)
        float32, the share of a cell's pixels that belong to an instance; weight (h, w) float32, the
        weight of the cell in the foreground loss, 0 in ignored regions.
        """
        if sample.labels is None:
            raise UserError(
                f"{sample.file or 'a sample'} has no label map; the pixels task needs one"
            )
        height, width = (side // stride for side in sample.image.shape[:2])
        labels = np.ascontiguousarray(sample.labels[: height * stride, : width * stride])
        whole = (labels > 0).reshape(height, stride, width, stride)
        learned = learned_cells(sample, stride)
        # The centre of a cell of even stride is between two pixels; take the second one.
        middle = labels[stride // 2 :: stride, stride // 2 :: stride].astype(np.int64)
        weight = learned * (1 + self.gaps * _gaps(middle)).astype(np.float32)
        return {
            "labels": np.where(learned, middle, 0) - 1,
            "foreground": whole.mean((1, 3), dtype=np.float32),
            "weight": weight.astype(np.float32),
        }

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Combine targets of several samples: all maps are stacked.

        "layout" has the pixels of each instance, see `losses.layout_groups`.
        """
        batch = collate(targets, ("labels", "foreground", "weight"))
        return {**batch, "layout": _layout(batch["labels"])}

    # ------------------------------------------------------------------ loss

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms "foreground", "seeds", those of the tag loss (unweighted) and their "total"."""
        labels, weight = targets["labels"], targets["weight"]
        tags = outputs["tags"].float()
        logits = outputs["foreground"][:, 0]
        cells = targets.get("divisor.cells")
        terms = {"foreground": _foreground_loss(logits, targets["foreground"], weight, cells)}
        layout = targets["layout"] if "layout" in targets else _layout(labels)
        terms |= self._tag_terms(tags, labels, layout)
        if self.seeds:
            close = _closeness(tags.detach(), layout, self.grouping.bandwidth)
            error = (outputs["seeds"][:, 0].float().sigmoid() - close).square()
            terms["seeds"] = _balanced(error, targets)
        total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}

    def divisors(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weight of all cells, and the numbers of cells inside and outside of instances."""
        inside, outside = _sides(targets)
        cells = targets["weight"].float().sum()
        return {"cells": cells, "inside": inside.float().sum(), "outside": outside.float().sum()}

    def _tag_terms(self, tags: Tensor, labels: Tensor, layout: losses.Layout) -> dict[str, Tensor]:
        """The terms of the tag loss; tags (B, D, h, w), labels (B, h, w), -1 for background."""
        # The time of "contrastive" grows with the pairs of pixels.
        most = _CONTRASTED if self.tag_loss == "contrastive" else None
        rules = {"push": self.push, "pairs": "distinct"}
        if self.tag_loss == "pull_push":
            rules |= {"near": self.near, "place": losses.grid_places(labels)}
        return tag_terms(
            self.tag_loss,
            *losses.dense_points(tags, labels, most),
            batch=len(tags),
            bandwidth=self.grouping.bandwidth,
            layout=None if most else layout,
            pull_push=rules,
        )

    # ------------------------------------------------------------------ results

    def decode(
        self,
        outputs: Mapping[str, Maps],
        stride: int,
        placements: Sequence[Placement] | None = None,
    ) -> list[Masks]:
        """Decode the masks of each image of a batch, best first.

        placements: one per image, without rotation or mirroring. Masks are drawn directly in the
            pixels of the image, since the network's input may be coarser. By default they are in
            pixels of the network's input.
        """
        height, width = (side * stride for side in outputs["tags"].shape[-2:])
        whole_input = Placement(Affine.identity(), (width, height))
        placements = placements or [whole_input] * len(outputs["tags"])
        to_cells = Affine.scaling(1 / stride)
        found = decode_pixels(
            self.heatmap_values(outputs["foreground"])[:, 0],
            outputs["tags"],
            self.heatmap_values(outputs["seeds"])[:, 0] if self.seeds else None,
            self.grouping,
            [PixelGrid((to_cells @ affine).matrix, size) for affine, size in placements],
        )
        return [Masks(*label_map) for label_map in found]

    # ------------------------------------------------------------------ evaluation and pictures

    def make_scorer(self, dataset: LabelMaps, **options: Any) -> MaskScorer:
        return MaskScorer(dataset, **options)

    def decode_with_truth(
        self,
        oracle: str,
        outputs: dict[str, Tensor],
        stride: int,
        placement: Placement,
        sample: Sample,
    ) -> Masks:
        """Implement `Task.decode_with_truth`; see `tagwise.evaluation.pixel_oracles`."""
        to_cells = Affine.scaling(1 / stride) @ placement.affine
        maps = maps_with_truth(oracle, outputs, sample.labels, to_cells)
        return self.decode(maps, stride, [placement])[0]

    def true_tags(
        self, outputs: dict[str, Tensor], stride: int, placement: Placement, sample: Sample
    ) -> InstanceTags:
        """Implement `Task.true_tags`: the tags in some cells of each instance."""
        to_cells = Affine.scaling(1 / stride) @ placement.affine
        return InstanceTags(
            pixel_tags(sample.labels, outputs["tags"][0], to_cells),
            to_xyxy(placement.affine.boxes(sample.boxes.astype(np.float64))),
            self.grouping.bandwidth,
        )

    def draw_maps(
        self, image: np.ndarray, outputs: dict[str, Tensor], to_image: Affine, title: str
    ) -> Any:
        """Draw foreground, seeds and tags on the image, see `plot_pixel_maps`."""
        maps = {name: tensor[0].float().cpu() for name, tensor in outputs.items()}
        for name in {"foreground", "seeds"} & set(maps):
            maps[name] = maps[name].sigmoid()
        arrays = {name: tensor.numpy() for name, tensor in maps.items()}
        return plot_pixel_maps(image, arrays, to_image, title)


def _gaps(labels: np.ndarray, reach: int = 2) -> np.ndarray:
    """Return (h, w) float32, 1 in cells with two or more instances within `reach` cells, else 0."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    numbers = labels.astype(np.float32)
    highest = cv2.dilate(numbers, window)
    lowest = cv2.erode(np.where(labels > 0, numbers, np.inf).astype(np.float32), window)
    return (np.isfinite(lowest) & (lowest < highest)).astype(np.float32)


def _foreground_loss(
    logits: Tensor, target: Tensor, weight: Tensor, cells: Tensor | None
) -> Tensor:
    """Return the mean cross-entropy per cell, plus 1 - the soft Dice coefficient of the batch.

    cells: the divisor of the cross-entropy, by default the sum of the weights.
    Dice: Milletari, Navab and Ahmadi 2016 (arXiv:1606.04797), with squares in the denominator.
    """
    from torch.nn import functional as F

    entropy = F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
    found, counts = logits.sigmoid(), weight > 0
    shared = (found * target * counts).sum()
    both = ((found.square() + target.square()) * counts).sum()
    dice = 1 - 2 * (shared + 1) / (both + 2)
    return entropy / (weight.sum().clamp(min=1) if cells is None else cells) + dice


def _layout(labels: Tensor) -> losses.Layout:
    """The pixels of each instance; labels (B, h, w), -1 for background."""
    import torch

    image = torch.arange(len(labels), device=labels.device)[:, None, None].expand_as(labels)
    return losses.layout_groups(labels.reshape(-1), image.reshape(-1), batch=len(labels))


def _closeness(tags: Tensor, layout: losses.Layout, bandwidth: float) -> Tensor:
    """(B, h, w): 1 at the mean tag of the instance, 1/2 one bandwidth away, 0 in the background."""
    batch, dims, height, width = tags.shape
    points = tags.permute(0, 2, 3, 1).reshape(-1, dims)[layout.keep]
    count = len(layout.image)
    number = points.new_zeros(count).index_add(0, layout.slot, points.new_ones(len(points)))
    mean = points.new_zeros(count, dims).index_add(0, layout.slot, points) / number[:, None]
    square = (points - mean[layout.slot]).square().sum(1)
    close = tags.new_zeros(batch * height * width)
    return close.index_copy(0, layout.keep, 0.5 ** (square / bandwidth**2)).view(
        batch, height, width
    )


def _balanced(error: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return the mean error of the foreground plus the mean error of the background."""
    inside, outside = _sides(targets)
    within = targets.get("divisor.inside", inside.sum().clamp(min=1))
    beyond = targets.get("divisor.outside", outside.sum().clamp(min=1))
    return (error * inside).sum() / within + (error * outside).sum() / beyond


def _sides(targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Which cells count and are in an instance, and which count and are not: (B, h, w) bool."""
    counts, foreground = targets["weight"] > 0, targets["labels"] >= 0
    return foreground & counts, ~foreground & counts
