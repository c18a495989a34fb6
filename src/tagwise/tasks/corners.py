"""Objects as pairs of corners, paired by their tags.

Law and Deng: CornerNet, ECCV 2018 (arXiv:1808.01244), sections 3.1 to 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from tagwise import losses
from tagwise.data.boxes import CocoBoxes
from tagwise.errors import UserError, unknown_name
from tagwise.grouping.corners import CornerBoxes, decode_corners
from tagwise.grouping.fusion import fuse_boxes
from tagwise.grouping.settings import CornerSettings
from tagwise.grouping.suppression import soft_nms
from tagwise.results import Boxes
from tagwise.tasks.base import Head
from tagwise.tasks.targets import (
    cells_around,
    collate,
    draw_gaussian,
    gaussian_radius,
    learned_cells,
)

if TYPE_CHECKING:
    from tagwise.data.sample import Sample

CORNERS = ("tl", "br")  # top-left, bottom-right

# sigmoid(-2.19) = .1: the published first value of heatmaps that learn by the focal loss
_PRIOR_LOGIT = -2.19


@dataclass(frozen=True)
class CornerTask:
    """Objects of any number of classes as top-left and bottom-right corners, paired by tag.

    classes: their names.
    tag_dim: D, components of a tag; the paper has 1.
    position: see `Head.position`; None learns tags outright, as the paper does.
    overlap: a corner may lie so far off that its box still has this IoU with the true one; within
        that radius, mistakes cost less.
    radius: "exact", or "legacy" for a formula with a slip that much public code has.
    reach: tags and offsets are learned in the (2 reach + 1)² cells round a corner; 0 as published.
    centres: also find the middles of objects, which then speak for the boxes round them, as in
        CenterNet (Duan et al. 2019, arXiv:1904.08189, "keypoint triplets").
    push: form of the push loss.
    published: "cornernet" takes the tag loss of the public code, a sum over the batch, in place of
        what push says.
    weights: of the loss terms.
    pairing: how corners become boxes.
    """

    classes: tuple[str, ...]
    tag_dim: int = 1
    position: float | None = None
    overlap: float = 0.3
    radius: Literal["exact", "legacy"] = "exact"
    reach: int = 0
    centres: bool = False
    push: Literal["exp", "hinge"] = "hinge"
    published: Literal["cornernet"] | None = None
    weights: dict[str, float] = field(
        default_factory=lambda: {"heatmaps": 1.0, "pull": 0.1, "push": 0.1, "offsets": 1.0}
    )
    pairing: CornerSettings = field(default_factory=CornerSettings)

    name: ClassVar[str] = "corners"
    merges: ClassVar[str] = "results"
    zoom: ClassVar[None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        known = {"heatmaps", "pull", "push", "offsets"}
        for key in self.weights:
            if key not in known:
                raise unknown_name("loss term", key, known)
        if not self.classes:
            raise UserError("the corners task needs at least one class")
        if self.published not in (None, "cornernet"):
            raise unknown_name("published loss of corners", str(self.published), ("cornernet",))
        if self.radius not in ("exact", "legacy"):
            raise unknown_name("radius", self.radius, ("exact", "legacy"))

    @classmethod
    def from_options(cls, **options: Any) -> CornerTask:
        """The inverse of `options`; keys that are left out keep their defaults."""
        known = {f.name for f in fields(cls)}
        for key in options:
            if key not in known:
                raise unknown_name("option of the corners task", key, known)
        values = dict(options)
        values["pairing"] = CornerSettings.from_dict(values.get("pairing", {}))
        if "weights" in values:
            values["weights"] = {**cls(("any",)).weights, **values["weights"]}
        return cls(**values)

    def options(self) -> dict[str, Any]:
        """Plain values, fit for JSON, that make this task again."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["classes"] = list(self.classes)
        values["pairing"] = asdict(self.pairing)
        return values

    @staticmethod
    def open_dataset(
        annotations: Path, images: Path, like: CocoBoxes | None = None, **options: Any
    ) -> CocoBoxes:
        """Any COCO box set; with the classes of another one if `like` is given."""
        for name in options:
            raise UserError(f"the corners task has no use for {name!r} in its data")
        return CocoBoxes(annotations, images, classes=like.classes if like else None)

    def heads(self) -> dict[str, Head]:
        """For each corner C heatmaps, D tag maps and 2 offset maps (x, y); C for the centres."""
        maps = {}
        for corner in CORNERS:
            classes = len(self.classes)
            maps[f"{corner}_heat"] = Head(classes, "heatmap", _PRIOR_LOGIT, corner=corner)
            maps[f"{corner}_tag"] = Head(self.tag_dim, "tag", position=self.position, corner=corner)
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
        """Targets of one sample on the grid of cells.

        tl_heat, br_heat and, with centres, centre_heat (C, h, w) float32 in [0, 1], 1 in the cell
        of each corner or centre; mask (h, w) bool, where the heatmap loss counts; points (P, 3)
        int64, corner (0 or 1), y, x of each cell where tag and offset are learned; group (P,)
        int64, index of the object; weight (P,) float32; offset (P, 2) float32, x, y from the
        cell's top-left edge to the corner, in cells.
        """
        size = tuple(side // stride for side in sample.image.shape[:2])
        count = len(sample.boxes)
        boxes = sample.boxes / stride
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        places = np.stack([low, high, (low + high) / 2])  # (corner or centre, objects, x y)
        cells = np.clip(np.floor(places), 0, np.array(size[::-1]) - 1).astype(np.int64)
        draw = partial(self.draw_points, classes=sample.classes, sizes=boxes[:, 2:], shape=size)
        heats = {name: draw(xy) for name, xy in zip(self.heatmaps, cells)}
        around = cells_around(
            places[:2].reshape(-1, 2), cells[:2].reshape(-1, 2), self.reach, size, middle=0.5
        )
        corner, group = np.divmod(around.which, max(count, 1))
        known = np.max(list(heats.values()), (0, 1))[None]
        return {
            **heats,
            # what is known to be a corner counts even where something unknown overlaps it
            "mask": learned_cells(sample, stride)[None] | (known > 0.1),
            "points": np.column_stack([corner, around.xy[:, ::-1]]).astype(np.int64),
            "group": group.astype(np.int64),
            "weight": np.ones_like(around.weight) if self.published else around.weight,
            "offset": around.offset,
        }

    def draw_points(
        self, cells: np.ndarray, classes: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]
    ) -> np.ndarray:
        """Heatmaps (C, h, w) float32 of one kind of point: 1 in its cell, less around it.

        cells: (N, 2) int, x, y. classes: (N,) int. sizes: (N, 2), width and height of the boxes
        in cells, by which mistakes are judged. shape: (h, w).
        """
        heat = np.zeros((len(self.classes), *shape), np.float32)
        width, height = np.ceil(sizes).T
        radius = gaussian_radius(height, width, self.overlap, self.radius == "legacy")
        for (x, y), label, sigma in zip(cells, classes, (2 * np.floor(radius) + 1) / 6):
            draw_gaussian(heat[label], x, y, sigma)
        return heat

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """A batch: maps stacked, points of all images one after the other with their image (P,)."""
        maps = (*self.heatmaps, "mask")
        return collate(targets, maps, ("points", "group", "weight", "offset"))

    # ------------------------------------------------------------------ loss

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms "heatmaps", "pull", "push", "offsets" (unweighted scalars) and their "total"."""
        terms = {
            "heatmaps": sum(
                losses.focal(outputs[name], targets[name], targets["mask"])
                for name in self.heatmaps
            )
        }
        own = {"push": self.push, "weight": targets["weight"]}
        tag_loss = losses.pull_push(
            _gather(outputs, "tag", targets),
            targets["group"],
            targets["image"],
            batch=len(targets["mask"]),
            **(losses.PRESETS[self.published] if self.published else own),
        )
        terms["pull"], terms["push"] = tag_loss.pull, tag_loss.push
        found = _gather(outputs, "off", targets)
        terms["offsets"] = losses.offset_l1(found, targets["offset"], targets["weight"])
        total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}

    # ------------------------------------------------------------------ results

    def decode(self, outputs: dict[str, Tensor], stride: int) -> list[Boxes]:
        """Boxes of each image of a batch, best first, in pixels of the network's input."""
        found = decode_corners(
            outputs["tl_heat"].float().sigmoid(),
            outputs["br_heat"].float().sigmoid(),
            outputs["tl_tag"].float(),
            outputs["br_tag"].float(),
            outputs["tl_off"].float(),
            outputs["br_off"].float(),
            outputs["centre_heat"].float().sigmoid() if self.centres else None,
            self.pairing,
        )
        return [self.boxes(pairs, stride) for pairs in found]

    def boxes(self, pairs: CornerBoxes, stride: int) -> Boxes:
        """Paired corners, in cells, as boxes in pixels of the network's input."""
        low, high = pairs.boxes[:, :2] * stride, pairs.boxes[:, 2:] * stride
        return Boxes(
            np.concatenate([low, high - low], 1),
            pairs.scores,
            pairs.classes,
            self.classes,
            pairs.corner_scores,
            pairs.tags,
        )

    def merge_results(self, looks: Sequence[Boxes]) -> Boxes:
        """Boxes of one image seen several times, in the same pixels, as one set.

        With the published pairing, all of them under soft suppression, as CornerNet tests; else
        fused, see `tagwise.grouping.fusion.fuse_boxes`.
        """
        every = _joined(looks)
        corners = np.concatenate([every.boxes[:, :2], every.boxes[:, :2] + every.boxes[:, 2:]], 1)
        if self.pairing.pairing == "all":
            index, scores = soft_nms(corners, every.scores, every.classes, inclusive=True)
            return replace(every[index], scores=scores)
        look = np.repeat(np.arange(len(looks)), [len(boxes) for boxes in looks])
        groups, fused, scores = fuse_boxes(corners, every.scores, every.classes, look)
        best = every[[group[0] for group in groups]]
        boxes = np.concatenate([fused[:, :2], fused[:, 2:] - fused[:, :2]], 1)
        # A look that found nothing is still a look.
        scores *= max(1, len(np.unique(look))) / len(looks)
        return replace(best, boxes=boxes, scores=scores)

    def metric(self, results: list[Boxes], dataset: CocoBoxes) -> dict[str, float]:
        """COCO box AP and AR of one Boxes an image of the dataset, in image pixels."""
        from tagwise.metrics import box_metrics

        rows = []
        for image_id, boxes in zip(dataset.ids, results, strict=True):
            rows += boxes.to_coco(image_id, dataset.category_ids)
        return box_metrics(rows, dataset.annotations, image_ids=dataset.ids)


def _joined(looks: Sequence[Boxes]) -> Boxes:
    """All boxes of several results of the same image in one."""
    fields = ("boxes", "scores", "classes", "corner_scores", "tags")
    return replace(
        looks[0], **{name: np.concatenate([getattr(r, name) for r in looks]) for name in fields}
    )


def _gather(outputs: dict[str, Tensor], what: str, targets: dict[str, Tensor]) -> Tensor:
    """Both corners' maps (B, D, h, w) of "tag" or "off" at the batch's points -> (P, D) float32."""
    corner, y, x = targets["points"].unbind(1)
    tl, br = (outputs[f"{c}_{what}"].float()[targets["image"], :, y, x] for c in CORNERS)
    return tl.where((corner == 0)[:, None], br)
