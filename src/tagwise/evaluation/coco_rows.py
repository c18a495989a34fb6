"""Results as rows of a COCO results file, with the categories and types of a labelled set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tagwise.data.box_labels import BoxLabels
from tagwise.data.coco import match_types
from tagwise.data.coco_json import match_classes
from tagwise.data.keypoint_labels import KeypointLabels
from tagwise.errors import UserError
from tagwise.results import Boxes, Masks, Poses
from tagwise.skeletons import Skeleton

Row = dict[str, Any]


class PoseRows:
    """Converts poses to rows with the keypoint types of the labels, in their order.

    labels: of the set. skeleton: the model's keypoint types. mapping: from a type of the model to a
    type of the labels, for names that differ.
    """

    def __init__(
        self,
        labels: KeypointLabels,
        skeleton: Skeleton,
        mapping: Mapping[str, str | None] | None = None,
    ) -> None:
        self.labels, self.skeleton = labels, skeleton
        columns = match_types(skeleton, labels.skeleton, mapping or {}, labels.where)
        # The model's type for each type of the labels, -1 for none.
        self.types = np.full(len(labels.skeleton), -1)
        self.types[columns[columns >= 0]] = np.flatnonzero(columns >= 0)

    def check_labelled(self) -> None:
        """Raise UserError if the set labels a type that the model does not predict."""
        labelled = self.labels.labelled_types() & (self.types < 0)
        missing = [self.labels.skeleton.keypoints[k] for k in np.flatnonzero(labelled)]
        if missing:
            raise UserError(
                f"{self.labels.where} labels {', '.join(missing)}, which the model does not "
                f"predict; it predicts {', '.join(self.skeleton.keypoints)}"
            )

    def __call__(self, poses: Poses, image_id: Any) -> list[Row]:
        keypoints = poses.keypoints[:, self.types].copy()
        keypoints[:, self.types < 0] = (np.nan, np.nan, 0)
        found = Poses(keypoints, poses.scores, None, self.labels.skeleton)
        return found.to_coco(image_id, self.labels.category["id"])


class BoxRows:
    """Converts boxes to rows; boxes of classes that the labels do not have are left out.

    labels: of the set. classes: of the model; they are matched to categories by name.
    """

    def __init__(self, labels: BoxLabels, classes: Sequence[str]) -> None:
        self.labels, self.classes = labels, tuple(classes)
        self.category_ids = match_classes(classes, labels.categories, labels.where)

    def check_labelled(self) -> None:
        """Raise UserError if the set has objects of a class that the model does not predict."""
        known = {name.casefold() for name in self.classes}
        missing = [name for name in self.labels.left_out if name.casefold() not in known]
        if missing:
            raise UserError(
                f"{self.labels.where} labels {', '.join(name[:60] for name in missing[:50])}, "
                f"which the model does not predict; it predicts {', '.join(self.classes)}"
            )

    def __call__(self, boxes: Boxes, image_id: Any) -> list[Row]:
        known = np.array([self.category_ids[c] is not None for c in boxes.classes], bool)
        return boxes[known].to_coco(image_id, self.category_ids)


class MaskRows:
    """Converts masks to rows of a single category, the one with the most objects."""

    def __init__(self, labels: BoxLabels) -> None:
        count = dict.fromkeys(labels.category_ids, 0)
        for image in labels.images:
            for number in image.classes:
                count[labels.category_ids[number]] += 1
        self.category_id = max(count, key=count.__getitem__)

    def __call__(self, masks: Masks, image_id: Any) -> list[Row]:
        return masks.to_coco(image_id, self.category_id)
