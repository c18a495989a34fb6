"""Multi-instance pose: the keypoints of all instances together, separated by their tags.

Newell, Huang, Deng: Associative Embedding, NIPS 2017, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from tagwise import losses
from tagwise.data.coco import CocoKeypoints
from tagwise.data.keypoint_labels import KeypointLabels
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.evaluation.coco_rows import PoseRows
from tagwise.evaluation.diagnosis.tag_separation import InstanceTags
from tagwise.evaluation.pose_oracles import POSE_ORACLES, group_with_truth, pose_tags
from tagwise.evaluation.pose_score import PoseScore
from tagwise.evaluation.scoring import PoseScorer
from tagwise.geometry import cell_to_pixel, pixel_to_cell, to_xyxy
from tagwise.grouping import GroupingSettings, KeypointGroups, candidates
from tagwise.grouping.keypoint_groups import AnyGroups, BatchGroups
from tagwise.grouping.keypoints import decode_peaks
from tagwise.grouping.maps import AnyMaps, Maps, readable
from tagwise.grouping.peaks import Peaks, find_peaks
from tagwise.results import Poses
from tagwise.settings import NonNegative, NonNegativeInt, Positive, TagDim
from tagwise.skeletons import Skeleton
from tagwise.tasks.base import Head, Placement, Task
from tagwise.tasks.tag_terms import TagLossName, check_tag_loss, tag_terms, tag_unit, tag_weights
from tagwise.tasks.targets import (
    cells_around,
    collate,
    divisors,
    draw_gaussian,
    keypoints_in_cells,
    learned_cells,
    loss_weights,
    published_keypoint_targets,
)

if TYPE_CHECKING:
    from torch import Tensor

# A heatmap logit of -4 is a probability of .018, about the share of cells with a keypoint.
_PRIOR_LOGIT = -4.0


# Weights of the loss terms that a recipe does not give.
_WEIGHTS = {"heatmaps": 1.0, "offsets": 0.2, **tag_weights(0.05, 0.05)}


@dataclass(frozen=True)
class PoseTask(Task):
    """Keypoints of all instances, split into instances by tag.

    skeleton: keypoint types, their edges, mirror pairs and OKS sigmas.
    tag_dim: D, components of a tag.
    position: see `Head.position`.
    sigma: standard deviation of a target Gaussian, in cells.
    offsets: whether the network also predicts the position of a keypoint within its cell.
    heatmap_loss: "mse" on raw outputs; "mse_sigmoid" and "focal" on their sigmoid.
    foreground: the MSE has weight 1 + foreground * target, since plain MSE tends to predict
        background everywhere.
    reach: tags and offsets are learned in the (2 reach + 1)² cells around a keypoint, because a
        predicted peak may be one cell off.
    tag_loss: the loss of the tags, see `tagwise.losses`: "pull_push", "discriminative", "cosine",
        "contrastive" or "spatial". docs/which_loss.md compares them.
    push: form of the push loss.
    published: targets and loss of published code, which replace `foreground`, `reach` and `push`:
        Gaussians around whole cells, plain MSE, and the preset of this name in
        `tagwise.losses.PRESETS`. Use it with the published fitting of the same family.
    weights: the weights of the loss terms, by name; those left out keep their defaults.
    grouping: how peaks become groups.
    score: the learned score of poses; `tagwise calibrate --pose-score` fits it. None: the score of
        a pose is the mean score of its keypoints.
    """

    skeleton: Skeleton
    tag_dim: TagDim = 1
    position: Positive | None = None
    sigma: Positive = 1.5
    offsets: bool = False
    heatmap_loss: Literal["mse", "mse_sigmoid", "focal"] = "mse"
    foreground: NonNegative = 5.0
    reach: NonNegativeInt = 1
    tag_loss: TagLossName = "pull_push"
    push: Literal["exp", "hinge"] = "exp"
    published: Literal["higherhrnet", "newell2017"] | None = None
    weights: dict[str, NonNegative] = field(default_factory=dict)
    grouping: GroupingSettings = field(default_factory=GroupingSettings)
    score: PoseScore | None = None

    name: ClassVar[str] = "pose"
    result: ClassVar[type[Poses]] = Poses
    dataset: ClassVar[type[CocoKeypoints]] = CocoKeypoints
    scorer: ClassVar[type[PoseScorer]] = PoseScorer
    oracles: ClassVar[tuple[str, ...]] = POSE_ORACLES
    decoder: ClassVar[str] = "grouping"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "weights", loss_weights(_WEIGHTS, self.weights))
        check_tag_loss(self.tag_loss, self.position, self.published)
        given = {"order of the grouping": self.grouping.order}
        given |= {"score of poses": self.score and self.score.scores}
        for name, values in given.items():
            if values is not None and len(values) != len(self.skeleton):
                raise UserError(
                    f"the {name} has {len(values)} keypoint types, the skeleton has "
                    f"{len(self.skeleton)}; leave it out, or give a value for each type"
                )

    @property
    def class_names(self) -> tuple[str, ...]:
        return (self.skeleton.name,)

    def with_own_decoder(self) -> Self:
        return replace(self, grouping=GroupingSettings(), score=None)

    def rows(self, labels: KeypointLabels) -> PoseRows:
        return PoseRows(labels, self.skeleton)

    @property
    def tag_norm(self) -> str:
        """The norm in which tags are compared."""
        return self.grouping.tag_norm

    def heads(self) -> dict[str, Head]:
        """K heatmaps, K·D tag maps (keypoint-major) and, with `offsets`, 2·K offset maps (x, y)."""
        count = len(self.skeleton.keypoints)
        bias = 0.0 if self.heatmap_loss == "mse" else _PRIOR_LOGIT
        unit = tag_unit(self.tag_loss, self.tag_dim)
        maps = {
            "heatmaps": Head(count, "heatmap", bias=bias),
            "tags": Head(count * self.tag_dim, "tag", position=self.position, unit=unit),
        }
        if self.offsets:
            maps["offsets"] = Head(count * 2, "offset")
        return maps

    # ------------------------------------------------------------------ targets

    def encode(self, sample: Sample, stride: int) -> dict[str, np.ndarray]:
        """Return the targets of one sample on the grid of cells.

        heatmaps (K, h, w) float32 in [0, 1]; mask (K, h, w) bool, where the heatmap loss counts;
        points (P, 3) int64, keypoint type, y, x of each cell where tag and offset are learned;
        group (P,) int64, index of the instance; weight (P,) float32; offset (P, 2) float32, x, y
        from the cell's centre to the keypoint, in cells.
        """
        if self.published:
            return published_keypoint_targets(sample, stride, self.sigma)
        height, width = (side // stride for side in sample.image.shape[:2])
        count = len(self.skeleton.keypoints)
        cells = pixel_to_cell(sample.keypoints[..., :2], stride)
        instance, types = np.nonzero(sample.keypoints[..., 2] > 0)
        centres = cells[instance, types]
        heatmaps = np.zeros((count, height, width), np.float32)
        # The focal loss takes cells of exactly 1 as positives, so it needs whole cells.
        drawn = np.rint(centres) if self.heatmap_loss == "focal" else centres
        for k, (x, y) in zip(types, drawn, strict=True):
            draw_gaussian(heatmaps[k], x, y, self.sigma)
        mask = learned_cells(sample, stride)[None] & sample.labelled[:, None, None]
        mask |= heatmaps > 0.1  # a labelled keypoint counts even where a crowd overlaps it
        nearest = np.rint(centres).astype(np.int64)
        around = cells_around(centres, nearest, self.reach, (height, width))
        points = np.column_stack([types[around.which], around.xy[:, ::-1]])
        return {
            "heatmaps": heatmaps,
            "mask": mask,
            "points": points.astype(np.int64),
            "group": instance[around.which].astype(np.int64),
            "weight": around.weight,
            "offset": around.offset,
        }

    def collate(self, targets: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Combine targets of several samples: maps are stacked, points are concatenated."""
        return collate(targets, ("heatmaps", "mask"), ("points", "group", "weight", "offset"))

    # ------------------------------------------------------------------ loss

    def loss(self, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Terms "heatmaps", those of the tag loss, "offsets" (unweighted) and their "total".

        If a stage of a network has no tags, the terms of the tag loss are missing.
        """
        terms = {"heatmaps": self._heatmap_loss(outputs["heatmaps"], targets)}
        if "tags" in outputs:
            preset = losses.PRESETS[self.published] if self.published else {"push": self.push}
            terms |= tag_terms(
                self.tag_loss,
                self._gather(outputs["tags"], targets),
                targets["group"],
                targets["image"],
                batch=len(outputs["tags"]),
                bandwidth=self.grouping.tag_threshold,
                weight=None if self.published else targets["weight"],
                layout=targets.get("layout"),
                pull_push=preset,
            )
        if "offsets" in outputs:
            found = self._gather(outputs["offsets"], targets)
            points = (found, targets["offset"], targets["weight"])
            terms["offsets"] = losses.offset_l1(*points, number=targets.get("divisor.offsets"))
        total = sum(self.weights[name] * term for name, term in terms.items())
        return {**terms, "total": total}

    def divisors(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        return divisors(targets, ("heatmaps",), focal=self.heatmap_loss == "focal")

    def _heatmap_loss(self, raw: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the loss per labelled keypoint, which does not depend on the image size."""
        target, mask = targets["heatmaps"], targets["mask"]
        number = targets.get("divisor.heatmaps")
        if self.heatmap_loss == "focal":
            return losses.focal(raw, target, mask, number=number)
        logits = self.heatmap_loss == "mse_sigmoid"
        if self.published:
            return losses.heatmap_mse(raw, target, mask, logits=logits)
        sums = {"normalise": "sum", "images": "sum", "foreground": self.foreground}
        error = losses.heatmap_mse(raw, target, mask, logits=logits, **sums)
        return error / ((target * mask).sum().clamp(min=1) if number is None else number)

    def _gather(self, maps: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Gather maps (B, K·D, h, w) at the batch's points -> (P, D) float32."""
        batch, _, height, width = maps.shape
        per_type = maps.float().view(batch, len(self.skeleton.keypoints), -1, height, width)
        types, y, x = targets["points"].unbind(1)
        return per_type[targets["image"], types, :, y, x]

    # ------------------------------------------------------------------ results

    def heatmap_values(self, raw: AnyMaps) -> AnyMaps:
        """Convert raw heatmaps of the network to scores in [0, 1], float32."""
        if self.heatmap_loss != "mse":
            return super().heatmap_values(raw)
        return raw.clip(0, 1) if isinstance(raw, np.ndarray) else raw.float().clamp(0, 1)

    def heatmap_raw(self, values: Tensor) -> Tensor:
        """The inverse of `heatmap_values`: the raw heatmaps that give these scores."""
        return values if self.heatmap_loss == "mse" else super().heatmap_raw(values)

    def decode_input(self, outputs: Mapping[str, Maps], stride: int) -> list[Poses]:
        """Decode the poses of each image of a batch, best first, in pixels of the input."""
        peaks, groups = self.decode_groups(outputs)
        found = self.poses(groups, stride)
        return [
            Poses(found.keypoints[part], found.scores[part], found.tags[part], self.skeleton)
            for part in groups.parts(len(peaks.starts))
        ]

    def decode_groups(self, outputs: Mapping[str, Maps]) -> tuple[Peaks, BatchGroups]:
        """Return the peaks of a batch, and its groups, in cells."""
        rules, order = self.grouping, self.skeleton.order
        maps = {name: readable(outputs[name]) for name in ("tags", "offsets") if name in outputs}
        tags, offsets = maps.get("tags"), maps.get("offsets") if self.offsets else None
        if "peak_scores" in outputs:
            peaks, heatmaps = candidates.peaks_of(outputs, rules), outputs.get("heatmap_scores")
        else:
            raw = outputs["heatmaps"]
            # Published decoders do not clip heatmaps to [0, 1], which would flatten peaks.
            heatmaps = readable(raw if self.published else self.heatmap_values(raw))
            peaks = find_peaks(heatmaps, tags, rules, offsets)
        return peaks, self._ranked(decode_peaks(peaks, heatmaps, tags, rules, order, offsets))

    def _ranked(self, groups: AnyGroups) -> AnyGroups:
        return groups if self.score is None else self.score.rank(groups)

    def candidates(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the peaks of all heatmaps, see `keypoint_candidates`, and the scores for filling.

        heatmap_scores: (B, K, h, w) in [0, 1]. There are none for published decoders.
        """
        published = self.published or self.grouping.published
        if published or self.grouping.top_k > candidates.MOST_CANDIDATES:
            return {}
        raw, scores = maps["heatmaps"], self.heatmap_values(maps["heatmaps"])
        found = candidates.keypoint_candidates(
            # Values that are clipped to 1 are equal, as in the heatmaps that are decoded.
            scores if self.heatmap_loss == "mse" else raw,
            maps["tags"],
            self.grouping,
            maps.get("offsets"),
            candidates.as_they_are if self.heatmap_loss == "mse" else self.heatmap_values,
        )
        return {**found, "heatmap_scores": scores} if self.grouping.fill else found

    @property
    def maps_beside_candidates(self) -> tuple[str, ...]:
        """The maps that filling reads, besides the scores of heatmaps."""
        return ("tags", *("offsets",) * self.offsets) if self.grouping.fill else ()

    def poses(self, groups: KeypointGroups, stride: int) -> Poses:
        """Convert groups, in cells, to poses in pixels of the network's input."""
        keypoints = groups.keypoints.copy()
        keypoints[..., :2] = cell_to_pixel(keypoints[..., :2], stride)
        keypoints[..., 2] = keypoints[..., 2].clip(0, 1)
        return Poses(keypoints, groups.scores.clip(0, 1), groups.tags, self.skeleton)

    # ------------------------------------------------------------------ evaluation

    def make_scorer(self, dataset: CocoKeypoints, **options: Any) -> PoseScorer:
        return PoseScorer(dataset, self.skeleton, **options)

    def decode_with_truth(
        self,
        oracle: str,
        outputs: dict[str, Tensor],
        stride: int,
        placement: Placement,
        sample: Sample,
    ) -> Poses:
        """Implement `Task.decode_with_truth`; see `tagwise.evaluation.pose_oracles`."""
        truth = keypoints_in_cells(sample, placement.affine, stride)
        groups = group_with_truth(
            oracle,
            self.heatmap_values(outputs["heatmaps"]),
            outputs["tags"],
            truth,
            self.grouping,
            self.skeleton.order,
            outputs["offsets"].float() if self.offsets else None,
        )
        return placement.place(self.poses(self._ranked(groups), stride))

    def true_tags(
        self, outputs: dict[str, Tensor], stride: int, placement: Placement, sample: Sample
    ) -> InstanceTags:
        """Implement `Task.true_tags`: the tags at the labelled keypoints."""
        return InstanceTags(
            pose_tags(keypoints_in_cells(sample, placement.affine, stride), outputs["tags"][0]),
            to_xyxy(placement.affine.boxes(sample.boxes.astype(np.float64))),
            self.grouping.tag_threshold,
            root_mean=self.grouping.tag_norm == "rms",
        )
