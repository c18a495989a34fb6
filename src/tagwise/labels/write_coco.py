"""Labels as COCO JSON and a folder of images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from tagwise.errors import UserError
from tagwise.files import open_regular, whole_file
from tagwise.geometry import keypoint_boxes, least_side
from tagwise.label_maps import label_map_instances, rle_mask
from tagwise.labels.find import name_parts
from tagwise.labels.frames import Size, each_readable
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
    usable = [image for image in found.images if image.found]
    if not usable:
        names = ", ".join(list(dict.fromkeys(image.file for image in found.images))[:3])
        raise UserError(
            f"none of the images and videos of {found.where} was found ({names}); give the folder "
            "that contains them with --images FOLDER"
        )
    target, names = folder / "images", image_names(usable)
    if not copy and all(image.pixels is None and image.frame is None for image in usable):
        target = Path(os.path.commonpath([image.path.absolute().parent for image in usable]))
        names = {id(i): i.path.absolute().relative_to(target).as_posix() for i in usable}
    sizes = dict(_written(found, usable, names, target, progress))
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


def _written(
    found: LabelSet,
    images: list[LabelledImage],
    names: dict[int, str],
    target: Path,
    progress: bool,
) -> Iterator[tuple[int, Size]]:
    """Write the images that are not in the target folder yet; yield their ids and sizes."""
    readable = each_readable(images, found.problems)
    bar = tqdm(readable, "images", len(images), disable=None if progress else True)
    for image, pixels, size in bar:
        path = target / names[id(image)]
        if pixels is not None:
            encoded = cv2.imencode(".png", pixels[..., ::-1])[1]
            with whole_file(path) as file:
                file.write(encoded.tobytes())
        elif path.absolute() != image.path.absolute():
            with open_regular(image.path, "image") as source, whole_file(path) as file:
                file.write(source.read())
        yield id(image), size


def image_names(images: Iterable[LabelledImage]) -> dict[int, str]:
    """A different file name for each image, by its id.

    Image files keep the folders in which they differ. A frame is named after its video and its
    index: clip-000079.png.
    """
    images = list(images)
    paths = [image.path.absolute().parent for image in images if _is_file(image)]
    root = Path(os.path.commonpath(paths)) if paths else Path()
    names: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        if _is_file(image):
            name = image.path.absolute().relative_to(root).as_posix()
        else:
            stem = Path((name_parts(image.file) or ("image",))[-1]).stem
            name = f"{stem}-{image.frame or 0:06d}.png"
        stem, suffix = os.path.splitext(name)
        number = 2
        while name.casefold() in taken:
            name, number = f"{stem}_{number}{suffix}", number + 1
        taken.add(name.casefold())
        names[id(image)] = name
    return names


def _is_file(image: LabelledImage) -> bool:
    return image.path is not None and image.frame is None


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
