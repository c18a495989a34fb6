"""Any keypoint dataset in COCO's format, as samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tagwise.data.coco_json import ImageLabels, collect_labels, pick_category, read_coco
from tagwise.data.images import read_image
from tagwise.data.regions import paint_region
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.seen import Seen
from tagwise.data.transforms import Affine, hide_keypoints, keep_instances
from tagwise.errors import UserError, unknown_name
from tagwise.skeletons import Skeleton, name_words


class ImageInfo(NamedTuple):
    """An image of a dataset; its size in pixels is None where the annotations do not say."""

    file: str
    width: int | None
    height: int | None


class CocoKeypoints:
    """The images and instances of a COCO keypoint file.

    annotations: the JSON file. images: the folder that its file names start from.
    skeleton: the keypoint types that samples shall have; None takes those of the file.
    mapping: {type of the skeleton: type of the file, or None for none}, for names that differ;
        names that are equal but for case and joining need no entry. Types that the file has not,
        or never labels, are False in Sample.labelled and give no loss.
    category: its name where several have keypoints; None takes the first.
    ignore_results: COCO results of another model for these images, in types of `skeleton`; what
        it saw beyond the labelled instances is somebody without labels, and ignored.
    fill_results: the least score at which those results also lend the labelled instances the
        types that the file never labels; None lends none.

    Crowd regions and instances without any labelled keypoint are True in Sample.ignore.
    `report` lists every fault that was found; what is faulty is left out, and only a file that
    is no COCO keypoint JSON, or leaves no image, raises UserError.

    >>> data = CocoKeypoints("robots/val.json", "robots/images")  # doctest: +SKIP
    >>> data[0].keypoints.shape  # doctest: +SKIP
    (2, 6, 3)
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path,
        skeleton: Skeleton | None = None,
        mapping: Mapping[str, str | None] | None = None,
        *,
        category: str | None = None,
        ignore_results: str | Path | None = None,
        fill_results: float | None = None,
    ) -> None:
        self.annotations, self.images = Path(annotations), Path(images)
        content = read_coco(self.annotations)
        entry = pick_category(content, self.annotations, category)
        self.source = Skeleton.from_coco(entry)
        self.skeleton = skeleton or self.source
        self.category_id = entry["id"]
        self.columns = match_types(self.skeleton, self.source, mapping or {}, self.annotations)
        labels, self.report = collect_labels(content, entry)
        self._labels = self._existing(labels)
        self.labelled = self._labelled_types()
        self._seen = Seen(ignore_results, self.skeleton, fill_results) if ignore_results else None

    def _existing(self, labels: list[ImageLabels]) -> list[ImageLabels]:
        """The images whose files are there; raises UserError if none is."""
        if not labels:
            raise UserError(f"{self.annotations} lists no image that can be used")
        found = []
        for image in labels:
            if (self.images / image.file).is_file():
                found.append(image)
            else:
                kind = "image file is missing, image left out"
                self.report.append(Problem(kind, image.file, image.image_id))
        if not found:
            raise UserError(
                f"none of the {len(labels)} images of {self.annotations} is in {self.images}; "
                "give the folder that their file names start from"
            )
        return found

    def _labelled_types(self) -> np.ndarray:
        """Which of the K types this set labels anywhere; bool (K,)."""
        ever = np.zeros(len(self.source), bool)
        for image in self._labels:
            for keypoints in image.keypoints:
                ever |= keypoints[:, 2] > 0
        return np.array([column >= 0 and bool(ever[column]) for column in self.columns])

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def ids(self) -> list[int]:
        """The image ids, in the order of the samples."""
        return [image.image_id for image in self._labels]

    def info(self, index: int) -> ImageInfo:
        """File name and size of an image as the annotations give them."""
        image = self._labels[index]
        return ImageInfo(image.file, image.width, image.height)

    def size(self, index: int) -> tuple[int, int] | None:
        """Width and height in pixels, None where the annotations do not say."""
        image = self._labels[index]
        return None if None in (image.width, image.height) else (image.width, image.height)

    def path(self, index: int) -> Path:
        """Where an image lies."""
        return self.images / self._labels[index].file

    def instances(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, K, 3), boxes (N, 4) and areas (N,) of an image, float32, unread."""
        image = self._labels[index]
        count = len(image.keypoints)
        keypoints = np.zeros((count, len(self.skeleton), 3), np.float32)
        has = self.columns >= 0
        if count:
            keypoints[:, has] = np.stack(image.keypoints)[:, self.columns[has]]
        boxes = np.array(image.boxes, np.float32).reshape(count, 4)
        return keypoints, boxes, np.array(image.areas, np.float32)

    def __getitem__(self, index: int) -> Sample:
        return self.load(index)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; reduce (1, 2, 4 or 8) shrinks it while the image is decoded.

        Raises UserError, naming the file, if the image cannot be read or has another size than
        the annotations say.
        """
        labels = self._labels[index]
        image = self._read(index, reduce)
        keypoints, boxes, areas = self.instances(index)
        width, height = labels.width, labels.height
        if width is None or height is None:
            height, width = (side * reduce for side in image.shape[:2])
        ignore = np.zeros((height, width), bool)
        for region in labels.regions:
            paint_region(ignore, region)
        sample = Sample(
            image=image,
            keypoints=keypoints,
            boxes=boxes,
            areas=areas,
            ignore=ignore,
            labelled=self.labelled.copy(),
            image_id=labels.image_id,
            file=labels.file,
        )
        sample = _without_unmapped(sample)
        if self._seen is not None:
            sample = self._seen.apply(sample)
        return reduced(sample, reduce)

    def _read(self, index: int, reduce: int) -> np.ndarray:
        labels, path = self._labels[index], self.path(index)
        said = (labels.height, labels.width)
        if None in said:
            return read_image(path, reduce)
        want = tuple(-(-side // reduce) for side in said)
        image = read_image(path, reduce)
        if image.shape[:2] != want and image.shape[1::-1] == want:
            image = read_image(path, reduce, upright=False)  # labelled as stored, not as shown
        if image.shape[:2] != want:
            height, width = image.shape[:2]
            raise UserError(
                f"image {path} is {width * reduce}×{height * reduce}, but {self.annotations} "
                f"says {said[1]}×{said[0]}; were the images resized?"
            )
        return image

    def check_images(self) -> list[Problem]:
        """Read every image once; leave out from now on, and report, those that are broken.

        Takes a few milliseconds an image. Returns the problems found.
        """
        found, whole = [], []
        for index, labels in enumerate(self._labels):
            try:
                self._read(index, 8)
                whole.append(labels)
            except UserError as error:
                kind = "image cannot be read, left out"
                found.append(Problem(kind, labels.file, labels.image_id, detail=str(error)))
        self._labels = whole
        self.report += found
        return found


def match_types(
    target: Skeleton, source: Skeleton, mapping: Mapping[str, str | None], where: Path
) -> np.ndarray:
    """For each type of the target its column in the source, -1 for none; int64 (K,)."""
    by_words = {name_words(name): k for k, name in enumerate(source.keypoints)}
    for name, other in mapping.items():
        if name not in target.keypoints:
            raise unknown_name(f"keypoint in the mapping for {where}:", name, target.keypoints)
        if other is not None and other not in source.keypoints:
            raise unknown_name(f"keypoint of {where}:", other, source.keypoints)
    columns = []
    for name in target.keypoints:
        other = mapping.get(name, name)
        columns.append(-1 if other is None else by_words.get(name_words(other), -1))
    if max(columns) < 0:
        raise UserError(
            f"{where} has none of the keypoints {', '.join(target.keypoints)}; "
            f"map them to its own: {', '.join(source.keypoints)}"
        )
    return np.array(columns)


def _without_unmapped(sample: Sample) -> Sample:
    """Ignore the boxes of instances that have keypoints, but none of the wanted types."""
    empty = ~(sample.keypoints[..., 2] > 0).any(1)
    for box in sample.boxes[empty]:
        paint_region(sample.ignore, tuple(box))
    return keep_instances(sample, ~empty)


def reduced(sample: Sample, factor: int) -> Sample:
    """Labels shrunk by a factor, to go with an image that is so already."""
    if factor == 1:
        return sample
    small = Affine.scaling(1 / factor)
    height, width = sample.image.shape[:2]
    sample.keypoints[..., :2] = small.points(sample.keypoints[..., :2])
    hide_keypoints(sample.keypoints, np.zeros(sample.keypoints.shape[:2], bool))
    return replace(
        sample,
        boxes=small.boxes(sample.boxes),
        areas=sample.areas / factor**2,
        ignore=small.mask(sample.ignore, (width, height)),
    )
