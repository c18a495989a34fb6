"""Any keypoint dataset in COCO's format, as samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.instances import keep_instances
from tagwise.data.keypoint_labels import read_keypoint_labels
from tagwise.data.photos import Photos
from tagwise.data.regions import paint_region
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.data.weak_labels import WeakLabels
from tagwise.errors import UserError, unknown_name
from tagwise.skeletons import Skeleton, match_names, plain_name


class CocoKeypoints(Photos):
    """The images and instances of a COCO keypoint file.

    annotations: the JSON file. images: the folder that its file names start from.
    skeleton: the keypoint types that samples shall have; None takes those of the file.
    mapping: {type of the skeleton: type of the file, or None for none}, for names that differ;
        names that are equal except for case and joining need no entry. Types that the file does
        not have, or never labels, are False in Sample.labelled and give no loss.
    category: its name where several have keypoints; None takes the first that has annotations.
    sigmas: OKS sigmas, one for all types or one each, in place of those of the file or of COCO.
    flip_pairs: types that change places in a mirror, in place of those that the file or the names
        tell, see `Skeleton.with_flip_pairs`.
    ignore_results: COCO results of another model for these images, in types of `skeleton`; what
        it saw beyond the labelled instances is somebody without labels, and ignored.
    fill_results: the least score at which those results also lend the labelled instances the
        types that the file never labels; None lends none.
    keep_missing: keep images whose file is missing, instead of leaving them out.

    Crowd regions and instances without any labelled keypoint are True in Sample.ignore.
    `report` lists every fault that was found; what is faulty is left out, and only a file that
    is not COCO keypoint JSON, or leaves no image, raises UserError.

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
        sigmas: float | tuple[float, ...] | None = None,
        flip_pairs: Sequence[Sequence[str | int]] | None = None,
        ignore_results: str | Path | None = None,
        fill_results: float | None = None,
        keep_missing: bool = False,
    ) -> None:
        self.annotations, self.images = Path(annotations), Path(images)
        self.labels = read_keypoint_labels(self.annotations, category)
        self.source, self.category_id = self.labels.skeleton, self.labels.category["id"]
        self.skeleton = _with_sigmas(skeleton or self.source, sigmas)
        if flip_pairs is not None:
            self.skeleton = self.skeleton.with_flip_pairs(flip_pairs)
        self.sigmas_given, self.mapping = sigmas is not None, dict(mapping or {})
        self.columns = match_types(self.skeleton, self.source, mapping or {}, self.annotations)
        self.report = self.labels.problems
        self._labels = self._existing(self.labels.images, keep_missing)
        ever = self.labels.labelled_types()
        self.labelled = np.array([column >= 0 and bool(ever[column]) for column in self.columns])
        self._weak_labels = (
            WeakLabels(ignore_results, self.skeleton, fill_results) if ignore_results else None
        )

    @property
    def flip(self) -> tuple[int, ...]:
        """The type that each keypoint type becomes in a mirror."""
        return self.skeleton.flip

    def labels_of_task(self) -> dict[str, Any]:
        """The options of a task that the labels settle."""
        return {"skeleton": self.skeleton.to_dict()}

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

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see Photos.load."""
        labels = self._labels[index]
        image = self._read(index, reduce)
        keypoints, boxes, areas = self.instances(index)
        ignore = self._ignore_mask(labels, image, reduce)
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
        if self._weak_labels is not None:
            sample = self._weak_labels.apply(sample)
        return reduced(sample, reduce)


def _with_sigmas(skeleton: Skeleton, sigmas: float | tuple[float, ...] | None) -> Skeleton:
    if sigmas is None:
        return skeleton
    each = (sigmas,) * len(skeleton) if isinstance(sigmas, int | float) else tuple(sigmas)
    return replace(skeleton, sigmas=each)


def match_types(
    target: Skeleton, source: Skeleton, mapping: Mapping[str, str | None], where: Path
) -> np.ndarray:
    """For each type of the target its column in the source, -1 for none; int64 (K,).

    mapping: {type of the target: type of the source, or None for none}; other types are found by
        `match_names`.
    """
    renamed = {plain_name(name): other and plain_name(other) for name, other in mapping.items()}
    for name, other in renamed.items():
        if name not in target.keypoints:
            raise unknown_name(f"keypoint in the mapping for {where}:", name, target.keypoints)
        if other is not None and other not in source.keypoints:
            raise unknown_name(f"keypoint of {where}:", other, source.keypoints)
    wanted = [renamed.get(name, name) for name in target.keypoints]
    found = match_names([name or "" for name in wanted], source.keypoints)
    columns = [-1 if name is None else column for name, column in zip(wanted, found, strict=True)]
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
