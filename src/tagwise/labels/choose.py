"""Reducing labels to what another format can hold."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.label_maps import rle_mask
from tagwise.labels.label_set import Instance, LabelledImage, LabelSet


def with_keypoints(found: LabelSet) -> LabelSet:
    """Only the instances with keypoints; the others are added to the problems.

    Raises UserError if there are none.
    """
    images, count = [], 0
    for image in found.images:
        kept = [each for each in image.instances if each.keypoints is not None]
        count += len(image.instances) - len(kept)
        images.append(replace(image, instances=kept))
    categories = [each for each in found.categories if each.keypoints]
    if not any(image.instances for image in images):
        raise UserError(
            f"{found.where} has no keypoints, and this format holds nothing else; write it with "
            "--to coco, yolo or csv"
        )
    if count:
        kind = "instance without keypoints, left out"
        found.problems.append(Problem(kind, detail=f"{count} instances"))
    return replace(found, categories=categories, images=images)


def with_files(found: LabelSet) -> list[LabelledImage]:
    """The images whose file, video or pixels were found; the others are mentioned in the notes.

    Raises UserError if there are none.
    """
    usable = [image for image in found.images if image.found]
    if not usable:
        names = ", ".join(list(dict.fromkeys(image.file for image in found.images))[:3])
        raise UserError(
            f"none of the images and videos of {found.where} was found ({names}); give the folder "
            "that contains them with --images FOLDER"
        )
    count = len(found.images) - len(usable)
    if count:
        found.notes.append(f"left out {count} of {len(found.images)} images, which were not found")
    return usable


def one_category(found: LabelSet) -> LabelSet:
    """Only the category with the most instances; the others are added to the problems."""
    if len(found.categories) == 1:
        return found
    counts = found.counts()
    best = max(found.categories, key=lambda each: counts[each.name])
    for other in found.categories:
        if other is not best and counts[other.name]:
            kind = f"category left out, only {best.name} is written (choose with --category)"
            found.problems.append(Problem(kind, detail=f"{other.name}: {counts[other.name]}"))
    return found.only(best.name)


def polygons_of(instance: Instance) -> list[list[float]]:
    """The outlines of the mask of an instance; empty if it has none."""
    if not isinstance(instance.mask, dict):
        return list(instance.mask or [])
    mask = rle_mask(instance.mask).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [each.reshape(-1).astype(float).tolist() for each in outlines if len(each) > 2]
