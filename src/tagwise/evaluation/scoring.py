"""What `tagwise eval` does differently for each task: read the truth, match names, make figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tagwise.data.coco import match_types
from tagwise.data.label_maps import LabelMaps
from tagwise.data.report import Problem
from tagwise.errors import UserError, unknown_name
from tagwise.evaluation import corner_oracles as diagnose_corners
from tagwise.evaluation import pixel_oracles as diagnose_pixels
from tagwise.evaluation import pose_oracles as diagnose
from tagwise.label_maps import encode_labels
from tagwise.metrics import (
    box_metrics,
    keypoint_metrics,
    label_map_counts,
    mask_metrics,
    pooled_figures,
)
from tagwise.metrics.coco import part_of
from tagwise.metrics.detection_ap import load_boxes
from tagwise.metrics.keypoint_ap import load_ground_truth
from tagwise.metrics.label_f1 import IOU_THRESHOLDS
from tagwise.results import Poses
from tagwise.skeletons import Skeleton

if TYPE_CHECKING:
    from tagwise.prediction.predictor import Predictor
    from tagwise.results import Boxes, Masks, Result


class Scorer:
    """Compares the results of a model with a labelled set, image by image.

    truth: COCO annotations as the figures take them; their "images" say what is to be predicted.
    rows: COCO results of all images added so far, in the categories of the truth.
    problems: what of the labels was left out, and why.
    options: what this kind of evaluation can be told. oracles: those that can help its models.
    """

    options: ClassVar[tuple[str, ...]] = ()
    oracles: ClassVar[tuple[str, ...]] = ()

    truth: dict[str, Any]

    def __init__(self, predictor: Predictor, annotations: Path, images: Path) -> None:
        self.predictor, self.annotations, self.images = predictor, annotations, images
        self.rows: list[dict[str, Any]] = []
        self.problems: list[Problem] = []

    def path(self, image: dict[str, Any]) -> Path:
        """Where one of the truth's images lies."""
        return self.images / str(image.get("file_name"))

    def keep(self, image_ids: Sequence[Any]) -> None:
        """Let only these images count."""
        self.truth = part_of(self.truth, image_ids)

    def add(self, result: Any, image: dict[str, Any]) -> None:
        """Count what was found in an image, in its pixels."""
        raise NotImplementedError

    def helped(self, oracle: str) -> Iterator[Result | UserError]:
        """What the model would find in each image with an oracle's help, or why it cannot."""
        raise NotImplementedError

    def figures(self) -> dict[str, float]:
        """Named figures; an image that was never added counts as one where nothing was found."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Plain values that the figures depend on."""
        raise NotImplementedError


class PoseScorer(Scorer):
    """Keypoint AP and AR; see `keypoint_metrics`.

    sigmas: each evaluates once with that OKS sigma for all keypoint types.
    """

    options = ("sigmas", "style", "max_dets")
    oracles = diagnose.ORACLES

    def __init__(
        self,
        predictor: Predictor,
        annotations: Path,
        images: Path,
        sigmas: Sequence[float] = (),
        style: Literal["coco", "crowdpose"] = "coco",
        max_dets: int = 20,
    ) -> None:
        super().__init__(predictor, annotations, images)
        self.truth = load_ground_truth(annotations)
        self.style, self.max_dets = style, max_dets
        self.category = self.truth["categories"][0]
        self.skeleton = Skeleton.from_coco(self.category)
        self.columns = self._columns()
        self.sigmas = self._sigma_sets(sigmas)

    def _columns(self) -> list[int]:
        """For each keypoint type of the truth, which of the model's it is."""
        own, name = self.predictor.task.skeleton, self.predictor.name
        columns = match_types(self.skeleton, own, {}, self.annotations).tolist()
        missing = [kind for kind, column in zip(self.skeleton.keypoints, columns) if column < 0]
        if missing:
            raise UserError(
                f"{self.annotations} labels {', '.join(missing)}, which {name} does not predict; "
                f"it predicts {', '.join(own.keypoints)}"
            )
        return columns

    def _sigma_sets(self, sigmas: Sequence[float]) -> dict[str, float | list[float]]:
        """Sigmas by the ending that their figures' names get."""
        if sigmas:
            return {f"@{sigma:g}".replace("@0.", "@."): sigma for sigma in sigmas}
        own = self.predictor.task.skeleton.sigmas
        return {"": self.category.get("sigmas") or [own[column] for column in self.columns]}

    def add(self, result: Poses, image: dict[str, Any]) -> None:
        tags = result.tags[:, self.columns]
        found = Poses(result.keypoints[:, self.columns], result.scores, tags, self.skeleton)
        self.rows += found.to_coco(image["id"], self.category["id"])

    def helped(self, oracle: str) -> Iterator[Poses | UserError]:
        return diagnose.oracle_poses(self.predictor, self.truth, self.images, self.columns, oracle)

    def figures(self) -> dict[str, float]:
        figures = {}
        for ending, sigmas in self.sigmas.items():
            found = keypoint_metrics(self.rows, self.truth, sigmas, self.style, self.max_dets)
            figures |= {name + ending: figure for name, figure in found.items()}
        return figures

    def settings(self) -> dict[str, Any]:
        sigmas = {ending or "own": values for ending, values in self.sigmas.items()}
        return {"sigmas": sigmas, "style": self.style, "max_dets": self.max_dets}


class BoxScorer(Scorer):
    """Box AP and AR, over classes and for each; see `box_metrics`."""

    options = ("max_dets",)
    oracles = diagnose_corners.ORACLES

    def __init__(
        self, predictor: Predictor, annotations: Path, images: Path, max_dets: int = 500
    ) -> None:
        super().__init__(predictor, annotations, images)
        self.truth = load_boxes(annotations)
        self.max_dets = max_dets
        self.category_ids = self._category_ids()

    def _category_ids(self) -> list[Any]:
        """For each class of the model the category of the truth of that name, None for none."""
        named = {str(c.get("name")).casefold(): c["id"] for c in self.truth["categories"]}
        ids = [named.get(name.casefold()) for name in self.predictor.task.classes]
        labelled = {annotation["category_id"] for annotation in self.truth["annotations"]}
        missing = [
            str(category.get("name"))
            for category in self.truth["categories"]
            if category["id"] in labelled and category["id"] not in ids
        ]
        if missing:
            raise UserError(
                f"{self.annotations} labels {', '.join(missing)}, which {self.predictor.name} does "
                f"not predict; it predicts {', '.join(self.predictor.task.classes)}"
            )
        return ids

    def add(self, result: Boxes, image: dict[str, Any]) -> None:
        known = [self.category_ids[c] is not None for c in result.classes]
        self.rows += result[known].to_coco(image["id"], self.category_ids)

    def helped(self, oracle: str) -> Iterator[Boxes | UserError]:
        return diagnose_corners.oracle_boxes(
            self.predictor, self.truth, self.images, self.category_ids, oracle
        )

    def figures(self) -> dict[str, float]:
        return box_metrics(self.rows, self.truth, self.max_dets)

    def settings(self) -> dict[str, Any]:
        return {"max_dets": self.max_dets}


class MaskScorer(Scorer):
    """AP of masks with their scores, and F1 and pooled AP of whole label maps, without.

    See `mask_metrics` and `pooled_figures`. annotations: a folder of label maps.
    """

    options = ("max_dets",)
    oracles = diagnose_pixels.ORACLES

    def __init__(
        self, predictor: Predictor, annotations: Path, images: Path, max_dets: int = 500
    ) -> None:
        super().__init__(predictor, annotations, images)
        self.data, self.max_dets = LabelMaps(images, annotations), max_dets
        self.problems = self.data.report
        names = ("file_name", "width", "height")
        entries = [dict(zip(names, self.data.info(index))) for index in range(len(self.data))]
        self.truth = {
            "images": [{"id": number, **e} for number, e in zip(self.data.ids, entries)],
            "annotations": [],
            "categories": [{"id": 1, "name": "instance"}],
        }
        self.counts = np.zeros((len(IOU_THRESHOLDS), 3), np.int64)
        self.seen: set[Any] = set()

    def add(self, result: Masks, image: dict[str, Any]) -> None:
        self._count(result.labels, image)
        self.rows += result.to_coco(image["id"], 1)

    def helped(self, oracle: str) -> Iterator[Masks | UserError]:
        return diagnose_pixels.oracle_masks(self.predictor, self.data, self.truth["images"], oracle)

    def _count(self, found: np.ndarray, image: dict[str, Any]) -> None:
        """Compare a label map with the image's true one, and keep that as annotations."""
        truth = self.data.label_map(self.data.ids.index(image["id"]))
        self.counts += label_map_counts(found, truth)
        self.seen.add(image["id"])
        ids = {"image_id": image["id"], "category_id": 1}
        annotations = self.truth["annotations"]
        for mask in encode_labels(truth):
            annotations.append({"id": len(annotations) + 1, **ids, "segmentation": mask})

    def figures(self) -> dict[str, float]:
        for image in self.truth["images"]:
            if image["id"] not in self.seen:
                self._count(np.zeros((image["height"], image["width"]), np.int32), image)
        by_score = mask_metrics(self.rows, self.truth, self.max_dets)
        whole = {name: figure for name, figure in by_score.items() if "/" not in name}
        return whole | pooled_figures(self.counts)

    def settings(self) -> dict[str, Any]:
        return {"max_dets": self.max_dets}


SCORERS: dict[str, type[Scorer]] = {
    "pose": PoseScorer,
    "corners": BoxScorer,
    "pixels": MaskScorer,
}


def make_scorer(
    predictor: Predictor,
    annotations: str | Path,
    images: str | Path,
    oracle: str | None = None,
    **options: Any,
) -> Scorer:
    """The scorer of a model's task.

    options: those of the scorer; None is as good as left out. Raises UserError for an option or an
    oracle that the task has no use for, and for annotations that do not fit the model.
    """
    task = predictor.task.name
    kind = SCORERS[task]
    if oracle is not None and oracle not in kind.oracles:
        if not kind.oracles:
            raise UserError(f"{predictor.name} is a {task} model, which no oracle can help")
        raise unknown_name(f"oracle for a {task} model,", oracle, kind.oracles)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in kind.options:
            raise UserError(
                f"{predictor.name} is a {task} model, whose evaluation has no use for {name}; "
                f"it takes {', '.join(kind.options)}"
            )
    return kind(predictor, Path(annotations), Path(images), **given)
