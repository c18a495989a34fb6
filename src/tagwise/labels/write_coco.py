"""Labels as COCO JSON and a folder of images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.geometry import keypoint_boxes, least_side
from tagwise.label_maps import label_map_instances, rle_mask
from tagwise.labels.choose import with_files
from tagwise.labels.frames import Size, image_names, write_images
from tagwise.labels.label_set import Box, Category, Instance, LabelledImage, LabelSet


class CocoFiles(NamedTuple):
    """Where `write_coco` put the annotations, and the folder of their images."""

    annotations: Path
    images: Path


def write_coco(
    found: LabelSet, folder: str | Path, copy: bool = True, progress: bool = False
) -> CocoFiles:
    """Write labels.json, and the images that it names, into a folder.

    copy: put copies of the image files into FOLDER/images. Otherwise they stay where they are, and
        the file names in labels.json are relative to their common folder, which is returned.
        Frames of videos are always written to FOLDER/images, as PNG.
    progress: show a progress bar. Images that are missing or cannot be read are left out; those
    that cannot be read are added to the problems of `found`.
    Raises UserError if no image is left.
    """
    folder = Path(folder)
    usable = with_files(found)
    target, names = folder / "images", image_names(usable)
    if not copy and all(image.pixels is None and image.frame is None for image in usable):
        target = Path(os.path.commonpath([image.path.absolute().parent for image in usable]))
        names = {id(i): i.path.absolute().relative_to(target).as_posix() for i in usable}
        found.notes.append(f"the images stay in {target}")
    sizes = write_images(usable, names, target, found.problems, progress)
    kept = [(image, names[id(image)], sizes[id(image)]) for image in usable if id(image) in sizes]
    if not kept:
        raise UserError(
            f"none of the images of {found.where} could be read; replace them. The first: "
            f"{found.problems[-1].kind}, {found.problems[-1]}"
        )
    annotations = folder / "labels.json"
    with whole_file(annotations) as file:
        file.write(json.dumps(coco_content(found, kept), ensure_ascii=False).encode())
    return CocoFiles(annotations, target)


# ---------------------------------------------------------------------- the content


def coco_content(
    found: LabelSet, images: Iterable[tuple[LabelledImage, str, Size]]
) -> dict[str, Any]:
    """The content of a COCO annotation file.

    images: each with its file name and its size (width, height).
    """
    ids = {category.name: number for number, category in enumerate(found.categories, 1)}
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [_entry(each, ids[each.name]) for each in found.categories]
    for number, (image, name, (width, height)) in enumerate(images, 1):
        entry = {"id": number, "file_name": name, "width": width, "height": height}
        entry |= {"video": image.group} if image.group else {}
        entry |= {} if image.frame is None else {"frame": image.frame}
        content["images"].append(entry)
        for instance in image.instances:
            annotation = {"id": len(content["annotations"]) + 1, "image_id": number}
            annotation["category_id"] = ids[instance.category]
            content["annotations"].append(annotation | _values(instance, (width, height)))
    return content


def _entry(category: Category, number: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": number, "name": category.name}
    if category.keypoints:
        entry["keypoints"] = list(category.keypoints)
        entry["skeleton"] = [[a + 1, b + 1] for a, b in category.edges]
    if category.pairs:
        flip = list(range(len(category.keypoints)))
        for a, b in category.pairs:
            flip[a], flip[b] = b, a
        entry["flip_idx"] = flip
    return entry | category.extra


def _values(instance: Instance, size: Size) -> dict[str, Any]:
    box = box_of_instance(instance, size)
    mask = instance.mask
    area = mask_area(mask) if mask else box[2] * box[3]
    values: dict[str, Any] = {"bbox": list(box), "area": area, "iscrowd": int(instance.crowd)}
    if instance.keypoints is not None:
        values["keypoints"] = np.round(instance.keypoints, 3).reshape(-1).tolist()
        values["num_keypoints"] = int((instance.keypoints[:, 2] > 0).sum())
    values |= {"segmentation": mask} if mask else {}
    values |= {} if instance.track is None else {"track_id": instance.track}
    return values | ({} if instance.score is None else {"score": round(instance.score, 6)})


def box_of_instance(instance: Instance, size: tuple[int | None, int | None]) -> Box:
    """The box of an instance: labelled, else around its mask, else around its keypoints."""
    if instance.box is not None:
        return tuple(round(float(value), 3) for value in instance.box)
    if isinstance(instance.mask, dict):
        boxes, _ = label_map_instances(rle_mask(instance.mask).astype(np.uint8), 1)
        return tuple(boxes[0].tolist())
    if instance.mask:
        corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in instance.mask])
        low, high = corners.min(0), corners.max(0)
        return tuple(np.round([*low, *(high - low)], 3).tolist())
    keypoints = np.zeros((1, 1, 3)) if instance.keypoints is None else instance.keypoints[None]
    tight = keypoint_boxes(keypoints)[0]
    grown = keypoint_boxes(keypoints, least_side(*size))[0]
    return tuple(np.round(np.where(np.tile(tight[2:] < 1, 2), grown, tight), 3).tolist())


def mask_area(mask: Any) -> float:
    """The area in pixels of polygons or of a COCO RLE."""
    if isinstance(mask, dict):
        return float(rle_mask(mask).sum())
    areas = (cv2.contourArea(np.reshape(polygon, (-1, 2)).astype(np.float32)) for polygon in mask)
    return float(sum(areas))
