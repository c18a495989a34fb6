"""Any box dataset in COCO's format, as samples."""

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
    """The images and boxes of a COCO detection file.

    annotations: the JSON file. images: the folder that its file names start from.
    classes: names of the classes wanted, in that order; objects of others are background. None
        takes all categories of the file, in its order.
    keep_missing: keep images whose file is missing, instead of leaving them out.

    `classes` are the names, `category_ids` the file's id of each, None for one that it lacks. Boxes
    that hang over the image's edge are cut there; crowds are True in Sample.ignore. Boxes without
    size, outside the image, not finite, of unknown categories or there twice are named in `report`
    and left out; only a file that is not COCO JSON, has none of the classes or leaves no image
    raises UserError.

    >>> data = CocoBoxes("blood/train.json", "blood/images")  # doctest: +SKIP
    >>> data.classes, data[0].boxes.shape  # doctest: +SKIP
    (('RBC', 'WBC', 'Platelets'), (15, 4))
    """

    flip: tuple[int, ...] = ()  # no keypoints that change sides in a mirror

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
        """The options of a task that the labels settle."""
        return {"classes": list(self.classes)}

    def require_labels(self) -> None:
        """Raises UserError if the file lacks a class, whose objects would pass for background."""
        missing = [name for name, number in zip(self.classes, self.category_ids) if number is None]
        if missing:
            raise UserError(
                f"{self.annotations} has no category {', '.join(missing)}; training would learn "
                "such objects as background there"
            )

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see Photos.load."""
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
        # outside only of an image whose size the file does not say, or by a millionth of a pixel
        return reduced(keep_instances(sample, (boxes[:, 2:] > 0).all(1)), reduce)
