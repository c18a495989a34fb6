"""Keypoint datasets in COCO's format."""

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
    """A dataset of the images and instances of a COCO keypoint file.

    annotations: the JSON file. images: the folder that its file names are relative to.
    skeleton: the keypoint types of the samples; None takes those of the file.
    mapping: {type of the skeleton: type of the file, or None for no type}, for names that differ.
        Names that differ only in case and word separators need no entry. Types that the file does
        not have, or never labels, are False in Sample.labelled and contribute no loss.
    category: the name of the category to read, where several have keypoints; None takes the first
        one that has annotations.
    sigmas: OKS sigmas, one for all types or one per type, instead of those of the file or of COCO.
    flip_pairs: types that a mirrored image swaps, instead of those that the file or the names give;
        see `Skeleton.with_flip_pairs`.
    ignore_results: COCO results of another model on these images, with the types of `skeleton`.
        Its detections that match no labelled instance are treated as unlabelled instances and
        ignored.
    fill_results: the minimum score at which those results also fill in the types that the file
        never labels; None fills in none.
    keep_missing: keep images whose file is missing, instead of leaving them out.

    Crowd regions and instances without any labelled keypoint are True in Sample.ignore.
    Faulty annotations and images are left out and listed in `report`. UserError is raised only for
    a file that is not COCO keypoint JSON or that leaves no usable image.

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
        if self._weak_labels is not None:
            self._weak_labels.require_one_of(self.ids)

    @property
    def flip(self) -> tuple[int, ...]:
        """For each keypoint type, the type that it becomes in a mirrored image."""
        return self.skeleton.flip

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels."""
        return {"skeleton": self.skeleton.to_dict()}

    def instances(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, K, 3), boxes (N, 4) and areas (N,) of an image, float32.

        The image itself is not read.
        """
        image = self._labels[index]
        count = len(image.keypoints)
        keypoints = np.zeros((count, len(self.skeleton), 3), np.float32)
        has = self.columns >= 0
        if count:
            keypoints[:, has] = np.stack(image.keypoints)[:, self.columns[has]]
        boxes = np.array(image.boxes, np.float32).reshape(count, 4)
        return keypoints, boxes, np.array(image.areas, np.float32)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Read a sample; see `Photos.load`."""
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
    """Match the keypoint types of two skeletons by name.

    mapping: {type of the target: type of the source, or None}; other types are matched by
        `match_names`. where: the file, for errors.
    Returns (K,) int64: for each type of the target its index in the source, -1 if it has none.
    Raises UserError if the mapping contains an unknown name or no type matches.
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
            f"map them to those of the file: {', '.join(source.keypoints)}"
        )
    return np.array(columns)


def _without_unmapped(sample: Sample) -> Sample:
    """Remove instances without keypoints of the wanted types, and ignore their boxes."""
    empty = ~(sample.keypoints[..., 2] > 0).any(1)
    for box in sample.boxes[empty]:
        paint_region(sample.ignore, tuple(box))
    return keep_instances(sample, ~empty)
