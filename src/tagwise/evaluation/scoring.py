"""Scorers, which compare results with a labelled set, both in training and in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from tagwise.data.boxes import CocoBoxes
from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.errors import UserError
from tagwise.evaluation.coco_rows import BoxRows, PoseRows, Row
from tagwise.evaluation.diagnosis.box_errors import sort_box_errors
from tagwise.evaluation.diagnosis.image_errors import ImageErrors
from tagwise.evaluation.diagnosis.mask_errors import sort_mask_errors
from tagwise.evaluation.diagnosis.pose_errors import sort_pose_errors
from tagwise.label_maps import encode_labels
from tagwise.metrics import (
    box_metrics,
    keypoint_metrics,
    label_map_counts,
    mask_metrics,
    pooled_figures,
)
from tagwise.metrics.label_f1 import IOU_THRESHOLDS
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton


class Scorer:
    """Compares the results of a model with a labelled set, image by image.

    dataset: the labelled images. rows: COCO results of all images added so far, with the categories
    of the set. options: names of the options that this scorer takes.
    """

    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dataset: Photos) -> None:
        self.dataset = dataset
        self.rows: list[Row] = []

    def add(self, index: int, result: Any) -> None:
        """Add the result for an image of the dataset, in pixels of that image."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """Metrics by name; an image that was never added counts as one with an empty result."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Settings that the metrics depend on, as plain values."""
        raise NotImplementedError

    @property
    def main(self) -> str:
        """The name of the figure that ranks models."""
        return "AP"

    def sort_errors(self, sample: Sample, result: Any) -> ImageErrors:
        """Sort the errors of a result for a sample of the dataset, in pixels of its image."""
        raise UserError(f"the errors of {type(result).__name__} cannot be sorted into kinds")


class PoseScorer(Scorer):
    """Keypoint AP and AR; see `keypoint_metrics`.

    skeleton: the model's keypoint types.
    sigmas: for each value, the metrics are computed with that OKS sigma for all keypoint types. By
        default, the sigmas are those that the dataset was opened with, else those of its file, else
        the model's.
    """

    options = ("sigmas", "style", "max_dets")

    def __init__(
        self,
        dataset: CocoKeypoints,
        skeleton: Skeleton,
        *,
        sigmas: Sequence[float] = (),
        style: Literal["coco", "crowdpose"] = "coco",
        max_dets: int = 20,
    ) -> None:
        super().__init__(dataset)
        self.style, self.max_dets = style, max_dets
        self._to_rows = PoseRows(dataset.labels, skeleton, dataset.mapping)
        self._to_rows.check_labelled()
        self._sigmas = self._sigma_sets(sigmas)

    def _sigma_sets(self, sigmas: Sequence[float]) -> dict[str, float | list[float]]:
        """Sigmas of the file's keypoint types, by the suffix of the names of their metrics."""
        if sigmas:
            return {f"@{sigma:g}".replace("@0.", "@."): sigma for sigma in sigmas}
        stated = self.dataset.labels.category.get("sigmas")
        if stated and not self.dataset.sigmas_given:
            return {"": stated}
        source = self.dataset.skeleton if self.dataset.sigmas_given else self._to_rows.skeleton
        # A type that the model does not have is never labelled, so its sigma has no effect.
        types = np.maximum(self._to_rows.types, 0)
        return {"": [source.sigmas[k] for k in types]}

    def add(self, index: int, result: Poses) -> None:
        self.rows += self._to_rows(result, self.dataset.ids[index])

    def figures(self) -> dict[str, float]:
        labels = replace(self.dataset.labels, images=self.dataset.image_labels)
        figures = {}
        for ending, sigmas in self._sigmas.items():
            found = keypoint_metrics(self.rows, labels, sigmas, self.style, self.max_dets)
            figures |= {name + ending: figure for name, figure in found.items()}
        return figures

    def settings(self) -> dict[str, Any]:
        sigmas = {ending or "own": values for ending, values in self._sigmas.items()}
        return {"sigmas": sigmas, "style": self.style, "max_dets": self.max_dets}

    @property
    def main(self) -> str:
        return "AP" + next(iter(self._sigmas))

    def sort_errors(self, sample: Sample, result: Poses) -> ImageErrors:
        skeleton, types = self._to_rows.skeleton, self._to_rows.types
        sigmas = np.array(skeleton.sigmas)
        stated = np.broadcast_to(next(iter(self._sigmas.values())), len(types))
        sigmas[types[types >= 0]] = stated[types >= 0]
        keypoints = sample.keypoints.copy()
        keypoints[keypoints[..., 2] <= 0] = (np.nan, np.nan, 0)
        keypoints[..., 2] = np.minimum(keypoints[..., 2], 1)
        skeleton = replace(skeleton, sigmas=tuple(sigmas.tolist()))
        truth = Poses(keypoints, np.ones(len(keypoints)), None, skeleton)
        return sort_pose_errors(result, truth, sample.areas.astype(float), sample.ignore)


class BoxScorer(Scorer):
    """Box AP and AR, over classes and for each; see `box_metrics`. classes: of the model."""

    options = ("max_dets",)

    def __init__(self, dataset: CocoBoxes, classes: Sequence[str], *, max_dets: int = 500) -> None:
        super().__init__(dataset)
        self.max_dets, self.classes = max_dets, tuple(classes)
        self._to_rows = BoxRows(dataset.labels, classes)
        self._to_rows.check_labelled()

    def add(self, index: int, result: Boxes) -> None:
        self.rows += self._to_rows(result, self.dataset.ids[index])

    def figures(self) -> dict[str, float]:
        labels = replace(self.dataset.labels, images=self.dataset.image_labels)
        return box_metrics(self.rows, labels, self.max_dets)

    def settings(self) -> dict[str, Any]:
        return {"max_dets": self.max_dets}

    def sort_errors(self, sample: Sample, result: Boxes) -> ImageErrors:
        ones = np.ones(len(sample.boxes))
        truth = Boxes(sample.boxes, ones, sample.classes, self.classes)
        return sort_box_errors(result, truth, sample.ignore)


class MaskScorer(Scorer):
    """AP of masks, which uses their scores, and F1 and pooled AP of label maps, which do not.

    See `mask_metrics` and `pooled_figures`.
    """

    options = ("max_dets",)

    def __init__(self, dataset: LabelMaps, *, max_dets: int = 500) -> None:
        super().__init__(dataset)
        self.max_dets = max_dets
        self._counts = np.zeros((len(IOU_THRESHOLDS), 3), np.int64)
        self._annotations: list[Row] = []
        self._added: set[int] = set()

    def add(self, index: int, result: Masks) -> None:
        self._count(index, result.labels)
        self.rows += result.to_coco(self.dataset.ids[index], 1)

    def _count(self, index: int, found: np.ndarray) -> None:
        """Compare a label map with the true one, and store the true one as annotations."""
        truth = self.dataset.label_map(index)
        self._counts += label_map_counts(found, truth)
        self._added.add(index)
        ids = {"image_id": self.dataset.ids[index], "category_id": 1}
        for mask in encode_labels(truth):
            number = len(self._annotations) + 1
            self._annotations.append({"id": number, **ids, "segmentation": mask})

    def figures(self) -> dict[str, float]:
        images = []
        for index, image_id in enumerate(self.dataset.ids):
            _, width, height = self.dataset.info(index)
            images.append({"id": image_id, "width": width, "height": height})
            if index not in self._added:
                self._count(index, np.zeros((height, width), np.int32))
        truth = {"images": images, "annotations": self._annotations}
        truth["categories"] = [{"id": 1, "name": "instance"}]
        by_score = mask_metrics(self.rows, truth, self.max_dets)
        whole = {name: figure for name, figure in by_score.items() if "/" not in name}
        return whole | pooled_figures(self._counts)

    def settings(self) -> dict[str, Any]:
        return {"max_dets": self.max_dets}

    def sort_errors(self, sample: Sample, result: Masks) -> ImageErrors:
        truth = Masks(sample.labels, np.ones(len(sample.boxes)))
        return sort_mask_errors(result, truth)
