"""Box datasets in COCO's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.box_labels import read_box_labels
from tagwise.data.instances import clip_boxes, keep_instances
from tagwise.data.photos import Photos
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.errors import UserError


class CocoBoxes(Photos):
    """A dataset of the images and boxes of a COCO detection file.

    annotations: the JSON file. images: the folder that its file names are relative to.
    classes: the names of the wanted classes, in this order; other objects are background. None
        takes all categories of the file, in its order.
    keep_missing: keep images whose file is missing, instead of leaving them out.

    The attribute `classes` holds the names, and `category_ids` the file's id of each class, or
    None if the file lacks it. Boxes are clipped to the image. Crowds are True in Sample.ignore.
    Boxes that have no size, are outside the image, are not finite, are duplicates or have an
    unknown category are left out and listed in `report`. UserError is raised only for a file that
    is not COCO JSON, has none of the classes or leaves no usable image.

    >>> data = CocoBoxes("blood/train.json", "blood/images")  # doctest: +SKIP
    >>> data.classes, data[0].boxes.shape  # doctest: +SKIP
    (('RBC', 'WBC', 'Platelets'), (15, 4))
    """

    flip: tuple[int, ...] = ()  # there are no keypoint types to swap in a mirrored image

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        classes: Sequence[str] | None = None,
        *,
        keep_missing: bool = False,
    ) -> None:
        self.annotations, self.images = Path(annotations), Path(images)
        self.labels = read_box_labels(self.annotations, classes)
        self.classes, self.category_ids = self.labels.classes, self.labels.category_ids
        self.report = self.labels.problems
        self._labels = self._existing(self.labels.images, keep_missing)

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels."""
        return {"classes": list(self.classes)}

    def require_labels(self) -> None:
        """Raise UserError if the file lacks a class, whose objects would count as background."""
        missing = [name for name, number in zip(self.classes, self.category_ids) if number is None]
        if missing:
            raise UserError(
                f"{self.annotations} has no category {', '.join(missing)}; training would learn "
                "such objects as background there"
            )

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see `Photos.load`."""
        labels = self._labels[index]
        image = self._read(index, reduce)
        ignore = self._ignore_mask(labels, image, reduce)
        height, width = ignore.shape
        boxes = clip_boxes(np.array(labels.boxes, np.float32).reshape(-1, 4), (width, height))
        sample = Sample(
            image=image,
            keypoints=np.zeros((len(boxes), 0, 3), np.float32),
            boxes=boxes,
            areas=np.array(labels.areas, np.float32),
            ignore=ignore,
            labelled=np.zeros(0, bool),
            image_id=labels.image_id,
            file=labels.file,
            classes=np.array(labels.classes, np.int64),
        )
        # Only a box in an image of unknown size, or one that rounding moves outside, can be empty.
        return reduced(keep_instances(sample, (boxes[:, 2:] > 0).all(1)), reduce)
