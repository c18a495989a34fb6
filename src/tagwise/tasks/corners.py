"""Objects as pairs of corners, paired by their tags.

Law and Deng: CornerNet, ECCV 2018 (arXiv:1808.01244), sections 3.1 to 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np

from tagwise import losses
from tagwise.data.box_labels import BoxLabels
from tagwise.data.boxes import CocoBoxes
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine
from tagwise.errors import UserError
from tagwise.evaluation.coco_rows import BoxRows
from tagwise.evaluation.corner_oracles import CORNER_ORACLES, corner_tags, pair_with_truth
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags
from tagwise.evaluation.scoring import BoxScorer
from tagwise.geometry import edges_to_cells, edges_to_pixels, to_xywh, to_xyxy
from tagwise.grouping.candidates import MOST_CANDIDATES, corner_candidates, corners_of
from tagwise.grouping.corner_peaks import CornerPeaks, find_corners
from tagwise.grouping.corners import CornerBoxes, pair_corners
from tagwise.grouping.fusion import fuse_boxes
from tagwise.grouping.maps import Maps
from tagwise.grouping.settings import CornerSettings
from tagwise.grouping.suppression import soft_nms
from tagwise.plot import plot_corner_maps
from tagwise.results import Boxes
from tagwise.settings import NonNegative, NonNegativeInt, Positive, Range, TagDim
from tagwise.tasks.base import Head, Placement, Task
from tagwise.tasks.tag_terms import TagLossName, check_tag_loss, tag_terms, tag_unit, tag_weights
from tagwise.tasks.targets import (
    cells_around,
    collate,
    divisors,
    draw_gaussian,
    gaussian_radius,
    learned_cells,
    loss_weights,
)

if TYPE_CHECKING:
    from torch import Tensor

CORNERS = ("tl", "br")  # top-left, bottom-right
Overlap = Annotated[float, Range(above=0, below=1)]

# sigmoid(-2.19) = .1, the published initial value of heatmaps trained with the focal loss.
_PRIOR_LOGIT = -2.19


# Weights of the loss terms that a recipe does not give.
_WEIGHTS = {"heatmaps": 1.0, "offsets": 1.0, **tag_weights(0.1, 0.1)}


@dataclass(frozen=True)
class CornerTask(Task):
    """Objects of any number of classes as top-left and bottom-right corners, paired by tag.

    classes: names of the classes.
    tag_dim: D, components of a tag; 1 in the paper.
    position: see `Head.position`; None learns the tags themselves, as in the paper.
    overlap: errors cost less within the radius in which a box keeps this IoU with the true one.
    radius: "exact", or "legacy" for the formula with a bug that much public code has.
    reach: tags and offsets are learned in the (2 reach + 1)² cells around a corner; 0 in the paper.
    centres: also predict the centres of objects, which confirm the boxes around them, as in
        CenterNet (Duan et al. 2019, arXiv:1904.08189, "keypoint triplets").
    tag_loss: the loss of the tags, see `tagwise.losses`: "pull_push", "discriminative", "cosine",
        "contrastive" or "spatial". docs/which_loss.md compares them.
    push: form of the push loss.
    published: "cornernet" uses the tag loss of the public code, a sum over the batch, instead of
        `push`.
    weights: the weights of the loss terms, by name; those left out keep their defaults.
    pairing: how corners become boxes.
    """

    classes: tuple[str, ...]
    tag_dim: TagDim = 1
    position: Positive | None = None
    overlap: Overlap = 0.3
    radius: Literal["exact", "legacy"] = "exact"
    reach: NonNegativeInt = 0
    centres: bool = False
    tag_loss: TagLossName = "pull_push"
    push: Literal["exp", "hinge"] = "hinge"
    published: Literal["cornernet"] | None = None
    weights: dict[str, NonNegative] = field(default_factory=dict)
    pairing: CornerSettings = field(default_factory=CornerSettings)

    name: ClassVar[str] = "corners"
    result: ClassVar[type[Boxes]] = Boxes
    dataset: ClassVar[type[CocoBoxes]] = CocoBoxes
    scorer: ClassVar[type[BoxScorer]] = BoxScorer
    oracles: ClassVar[tuple[str, ...]] = CORNER_ORACLES
    decoder: ClassVar[str] = "pairing"
    merges: ClassVar[str] = "results"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", loss_weights(_WEIGHTS, self.weights))
        check_tag_loss(self.tag_loss, self.position, self.published)
        if not self.classes:
            raise UserError("the corners task needs at least one class")

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.classes

    def with_own_decoder(self) -> Self:
        return replace(self, pairing=CornerSettings())

    def labels(self) -> dict[str, Any]:
        """Return the classes as an argument of the labelled set."""
        return {"classes": self.classes}

    def rows(self, labels: BoxLabels) -> BoxRows:
        return BoxRows(labels, self.classes)

    def heads(self) -> dict[str, Head]:
        """C heatmaps, D tag maps and 2 offset maps (x, y) per corner; C heatmaps of centres."""
        maps, classes = {}, len(self.classes)
        unit = tag_unit(self.tag_loss, self.tag_dim)
        for corner in CORNERS:
            maps[f"{corner}_heat"] = Head(classes, "heatmap", _PRIOR_LOGIT, corner=corner)
            maps[f"{corner}_tag"] = Head(
                self.tag_dim, "tag", position=self.position, unit=unit, corner=corner
            )
            maps[f"{corner}_off"] = Head(2, "offset", corner=corner)
        if self.centres:
            maps["centre_heat"] = Head(len(self.classes), "heatmap", _PRIOR_LOGIT)
        return maps

    @property
    def heatmaps(self) -> tuple[str, ...]:
        """Names of the maps that are heatmaps, in network outputs and in targets."""
        return ("tl_heat", "br_heat") + ("centre_heat",) * self.centres

    # ------------------------------------------------------------------ targets

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Return the targets of one sample on the grid of cells.

        tl_heat, br_heat and, with centres, centre_heat (C, h, w) float32 in [0, 1], 1 in the cell
        of each corner or centre; mask (h, w) bool, where the heatmap loss counts; points (P, 3)
        int64, corner (0 or 1), y, x of each cell where tag and offset are learned; group (P,)
        int64, index of the object; weight (P,) float32; offset (P, 2) float32, x, y from the
        cell's top-left edge to the corner, in cells.
        """
        size = tuple(side // stride for side in sample.image.shape[:2])
        count = len(sample.boxes)
        low, high = np.split(edges_to_cells(to_xyxy(sample.boxes), stride), 2, axis=1)
        places = np.stack([low, high, (low + high) / 2])  # (corner or centre, objects, x y)
        cells = np.clip(np.floor(places), 0, np.array(size[::-1]) - 1).astype(np.int64)
        sides = sample.boxes[:, 2:] / stride
        draw = partial(self.draw_points, classes=sample.classes, sizes=sides, shape=size)
        heats = {name: draw(xy) for name, xy in zip(self.heatmaps, cells)}
        around = cells_around(
            places[:2].reshape(-1, 2), cells[:2].reshape(-1, 2), self.reach, size, middle=0.5
        )
        corner, group = np.divmod(around.which, max(count, 1))
        known = np.max(list(heats.values()), (0, 1))[None]
        return {
            **heats,
            # A labelled corner counts even where an ignored region overlaps it.
            "mask": learned_cells(sample, stride)[None] | (known > 0.1),
            "points": np.column_stack([corner, around.xy[:, ::-1]]).astype(np.int64),
            "group": group.astype(np.int64),
            "weight": np.ones_like(around.weight) if self.published else around.weight,
            "offset": around.offset,
        }

    def draw_points(
        self, cells: np.ndarray, classes: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]
    ) -> np.ndarray:
        """Draw heatmaps (C, h, w) float32 of one type of point: 1 in its cell, less around it.

        cells: (N, 2) int, x, y. classes: (N,) int. sizes: (N, 2), width and height of the boxes
        in cells, which set the radius of the Gaussians. shape: (h, w).
        """
        heat = np.zeros((len(self.classes), *shape), np.float32)
        width, height = np.ceil(sizes).T
        radius = gaussian_radius(height, width, self.overlap, self.radius == "legacy")
        for (x, y), label, sigma in zip(cells, classes, (2 * np.floor(radius) + 1) / 6):
            draw_gaussian(heat[label], x, y, sigma)
        return heat

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Combine targets of several samples: maps are stacked, points are concatenated."""
        maps = (*self.heatmaps, "mask")
        return collate(targets, maps, ("points", "group", "weight", "offset"))

    # ------------------------------------------------------------------ loss

    def divisors(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return divisors(targets, self.heatmaps, focal=True)

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms "heatmaps", those of the tag loss, "offsets" (unweighted) and their "total"."""
        maps = [(name, targets[name], targets["mask"]) for name in self.heatmaps]
        terms = {
            "heatmaps": sum(
                losses.focal(outputs[name], target, mask, number=targets.get(f"divisor.{name}"))
                for name, target, mask in maps
            )
        }
        terms |= tag_terms(
            self.tag_loss,
            _gather(outputs, "tag", targets),
            targets["group"],
            targets["image"],
            batch=len(targets["mask"]),
            bandwidth=self.pairing.tag_threshold,
            weight=None if self.published else targets["weight"],
            layout=targets.get("layout"),
            pull_push=losses.PRESETS[self.published] if self.published else {"push": self.push},
        )
        found = _gather(outputs, "off", targets)
        points = (found, targets["offset"], targets["weight"])
        terms["offsets"] = losses.offset_l1(*points, number=targets.get("divisor.offsets"))
        total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}

    # ------------------------------------------------------------------ results

    def decode_input(self, outputs: Mapping[str, Maps], stride: int) -> list[Boxes]:
        """Decode the boxes of each image of a batch, best first, in pixels of the input."""
        return [self.boxes(pairs, stride) for pairs in self.decode_pairs(outputs)[1]]

    def decode_pairs(self, outputs: Mapping[str, Maps]) -> tuple[CornerPeaks, list[CornerBoxes]]:
        """Return the corners of a batch, and the boxes of each image, in cells."""
        if "tl_scores" in outputs:
            corners = corners_of(outputs, self.pairing)
            return corners, pair_corners(corners, self.pairing, outputs.get("centre_scores"))
        heats = {name: self.heatmap_values(outputs[name]) for name in self.heatmaps}
        corners = find_corners(
            heats["tl_heat"],
            heats["br_heat"],
            outputs["tl_tag"],
            outputs["br_tag"],
            outputs["tl_off"],
            outputs["br_off"],
            self.pairing,
        )
        return corners, pair_corners(corners, self.pairing, heats.get("centre_heat"))

    def candidates(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the peaks of both corners, see `corner_candidates`, and the scores of centres.

        centre_scores: (B, C, h, w) in [0, 1], with `centres`.
        """
        if self.pairing.top_k > MOST_CANDIDATES:
            return {}
        found = {}
        for corner in CORNERS:
            heat, tag, off = (maps[f"{corner}_{what}"] for what in ("heat", "tag", "off"))
            found |= corner_candidates(corner, heat, tag, off, self.pairing, self.heatmap_values)
        if self.centres:
            found["centre_scores"] = self.heatmap_values(maps["centre_heat"])
        return found

    def boxes(self, pairs: CornerBoxes, stride: int) -> Boxes:
        """Convert paired corners, in cells, to boxes in pixels of the network's input."""
        return Boxes(
            to_xywh(edges_to_pixels(pairs.boxes, stride)),
            pairs.scores,
            pairs.classes,
            self.classes,
            pairs.corner_scores,
            pairs.tags,
        )

    def merge_results(self, results: Sequence[Boxes]) -> Boxes:
        """Merge the boxes of several passes over one image.

        Published pairing merges them by soft-NMS, as in the test of CornerNet; otherwise they are
        fused, see `tagwise.grouping.fusion.fuse_boxes`.
        """
        every = _joined(results)
        corners = to_xyxy(every.boxes)
        if self.pairing.pairing == "all":
            index, scores = soft_nms(corners, every.scores, every.classes, inclusive=True)
            return replace(every[index], scores=scores)
        passes = np.repeat(np.arange(len(results)), [len(boxes) for boxes in results])
        groups, fused, scores = fuse_boxes(corners, every.scores, every.classes, passes)
        best = every[[group[0] for group in groups]]
        # A pass without boxes counts too.
        scores *= max(1, len(np.unique(passes))) / len(results)
        return replace(best, boxes=to_xywh(fused), scores=scores)

    # ------------------------------------------------------------------ evaluation and pictures

    def make_scorer(self, dataset: CocoBoxes, **options: Any) -> BoxScorer:
        return BoxScorer(dataset, self.classes, **options)

    def decode_with_truth(
        self,
        oracle: str,
        outputs: dict[str, Tensor],
        stride: int,
        placement: Placement,
        sample: Sample,
    ) -> Boxes:
        """Implement `Task.decode_with_truth`; see `tagwise.evaluation.corner_oracles`."""
        inside = placement.affine.boxes(sample.boxes.astype(np.float64))
        boxes = edges_to_cells(to_xyxy(inside), stride)
        pairs = pair_with_truth(oracle, outputs, boxes, sample.classes, self.pairing)
        return placement.place(self.boxes(pairs, stride))

    def true_tags(
        self, outputs: dict[str, Tensor], stride: int, placement: Placement, sample: Sample
    ) -> InstanceTags:
        """Implement `Task.true_tags`: the tags at both corners; classes are never mixed."""
        inside = to_xyxy(placement.affine.boxes(sample.boxes.astype(np.float64)))
        return InstanceTags(
            corner_tags(edges_to_cells(inside, stride), outputs),
            inside,
            self.pairing.tag_threshold,
            groups=sample.classes,
            growth=self.pairing.tag_growth / stride,
        )

    def draw_maps(
        self, image: np.ndarray, outputs: dict[str, Tensor], to_image: Affine, title: str
    ) -> Any:
        """Draw heatmaps and tags of both corners on the image, see `plot_corner_maps`."""
        maps = {name: tensor[0].float().cpu() for name, tensor in outputs.items()}
        maps |= {name: maps[name].sigmoid() for name in self.heatmaps}
        arrays = {name: tensor.numpy() for name, tensor in maps.items()}
        return plot_corner_maps(image, arrays, to_image, title)


def _joined(results: Sequence[Boxes]) -> Boxes:
    """Join the boxes of several results of the same image in one result."""
    fields = ("boxes", "scores", "classes", "corner_scores", "tags")
    values = {name: np.concatenate([getattr(r, name) for r in results]) for name in fields}
    return replace(results[0], **values)


def _gather(outputs: dict[str, Tensor], what: str, targets: dict[str, Tensor]) -> Tensor:
    """Gather both corners' maps (B, D, h, w) of "tag" or "off" at the points -> (P, D) float32."""
    corner, y, x = targets["points"].unbind(1)
    tl, br = (outputs[f"{c}_{what}"].float()[targets["image"], :, y, x] for c in CORNERS)
    return tl.where((corner == 0)[:, None], br)
