"""Any box dataset in COCO's format, as samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.coco_json import (
    ImageLabels,
    add_crowd,
    area_of,
    box_of,
    collect_labels,
    match_classes,
    read_coco,
)
from tagwise.data.instances import clip_boxes, keep_instances
from tagwise.data.photos import Photos
from tagwise.data.regions import paint_region
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.errors import UserError


class CocoBoxes(Photos):
    """The images and boxes of a COCO detection file.

    annotations: the JSON file. images: the folder that its file names start from.
    classes: names of the classes wanted, in that order; objects of others are background. None
        takes all categories of the file, in its order.

    `classes` are the names, `category_ids` the file's id of each. Boxes that hang over the
    image's edge are cut there; crowds are True in Sample.ignore. Boxes without size, outside the
    image, not finite, of unknown categories or there twice are named in `report` and left out;
    only a file that is no COCO JSON, has not the classes or leaves no image raises UserError.

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
    ) -> None:
        self.annotations, self.images = Path(annotations), Path(images)
        content = read_coco(self.annotations)
        categories = content["categories"]
        if not categories:
            raise UserError(f"{self.annotations} has no categories, so that its boxes are nothing")
        if classes is None:
            self.classes = tuple(str(entry.get("name", entry["id"])) for entry in categories)
            self.category_ids = [entry["id"] for entry in categories]
        else:
            self.classes = tuple(classes)
            self.category_ids = match_classes(self.classes, categories, self.annotations)
        self._class_of = {number: n for n, number in enumerate(self.category_ids)}
        self._known: set[tuple] = set()
        labels, self.report = collect_labels(content, self._add)
        self._labels = self._existing(labels)

    def labels_of_task(self) -> dict[str, Any]:
        """The options of a task that the labels settle."""
        return {"classes": list(self.classes)}

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see Photos.load."""
        labels = self._labels[index]
        image = self._read(index, reduce)
        height, width = labels.height, labels.width
        if width is None or height is None:
            height, width = (side * reduce for side in image.shape[:2])
        ignore = np.zeros((height, width), bool)
        for region in labels.regions:
            paint_region(ignore, region)
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

    def _add(self, annotation: dict, labels: ImageLabels) -> Iterator[Problem]:
        """Add one annotation to its image: as an instance, or as a region to ignore."""
        category = annotation.get("category_id")
        if category is None and len(self.category_ids) == 1:
            category = self.category_ids[0]
        where = (labels.file, labels.image_id, annotation["id"])
        if category is None:
            yield Problem("annotation without a category, left out", *where)
            return
        if category not in self._class_of:
            return
        if annotation.get("iscrowd"):
            yield from add_crowd(annotation, labels)
            return
        box, known = box_of(annotation), len(self._known)
        kind = _fault(annotation, box, labels)
        if kind is None:
            self._known.add((labels.image_id, category, box))
            if len(self._known) == known:
                kind = "box is there twice, the second left out"
        if kind is not None:
            yield Problem(kind, *where, f"bbox {annotation.get('bbox')}")
            return
        labels.boxes.append(box)
        labels.areas.append(area_of(annotation, box))
        labels.classes.append(self._class_of[category])
        labels.ids.append(annotation["id"])


def _fault(annotation: dict, box: tuple[float, ...] | None, labels: ImageLabels) -> str | None:
    """What is wrong with the box of an annotation, if anything."""
    if box is None:
        numbers = annotation.get("bbox")
        if not isinstance(numbers, list) or len(numbers) != 4:
            return "annotation without a box, left out"
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
            return "box is not finite, left out"
        return "box has no size, left out"
    x, y, width, height = box
    right, bottom = labels.width or math.inf, labels.height or math.inf
    if x >= right or y >= bottom or x + width <= 0 or y + height <= 0:
        return "box outside the image, left out"
    return None
