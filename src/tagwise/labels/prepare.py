"""Labels of any format as the files that training reads, split into training and validation."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tagwise.data.coco_json import annotated_categories, read_coco
from tagwise.data.images import read_image
from tagwise.data.label_formats import recognise_labels
from tagwise.data.label_maps import LabelMaps
from tagwise.data.regions import check_region, paint_region
from tagwise.data.report import Problem
from tagwise.errors import UserError, unknown_name
from tagwise.files import open_regular, read_json, whole_file
from tagwise.labels.read import read_labels
from tagwise.labels.write_coco import write_coco

_MAPS, _PHOTOS = ("labels", "masks", "label_maps"), ("images", "photos")


@dataclass
class CocoLabels:
    """Labels in COCO's form. images: the folder that the file names are relative to.

    lines: what was understood. problems: what was left out.
    """

    content: dict[str, Any]
    images: Path
    lines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def as_coco(labels: Path, images: Path | None, folder: Path) -> CocoLabels:
    """Read labels of any format, and convert them unless they are COCO JSON beside its images.

    images: a folder to search for images and videos; None searches the folder of the labels.
    folder: gets labels.json and the frames of videos, if anything is converted.
    Raises UserError for unknown, damaged and empty labels, and if no image is found.
    """
    if recognise_labels(labels) == "coco":
        content = read_coco(labels)
        root = _root_of(content, labels, images)
        if root is not None:
            counts = f"{len(content['images'])} images, {len(content['annotations'])} annotations"
            return CocoLabels(content, root, [f"{labels} is a COCO file: {counts}"])
    found = read_labels(labels, images).labelled()
    files = write_coco(found, folder, copy=False, progress=True)
    lines = [line for line in found.describe() if not line.startswith("category ")]
    kinds = Counter(problem.kind for problem in found.problems)
    shown = [line for line in lines if not any(f"× {kind}" in line for kind in kinds)]
    return CocoLabels(read_json(files.annotations), files.images, shown, found.problems)


def _root_of(content: dict[str, Any], labels: Path, images: Path | None) -> Path | None:
    """The folder in which every image of a COCO file is, by its name; None if there is none."""
    if images is not None and not images.is_dir():
        raise UserError(f"no such folder of images: {images}; give --images FOLDER")
    near = labels.parent
    roots = [images] if images else [near, near / "images", near / labels.stem]
    names = [str(image.get("file_name") or "") for image in content["images"]]
    for root in roots:
        if names and all(name and (root / name).is_file() for name in names):
            return root
    return None


def keep_category(found: CocoLabels, task: str, name: str | None = None) -> None:
    """Keep one category with keypoints for poses, in place, and say what is left out.

    name: of the category; None keeps the one with the most annotations. Other tasks keep all.
    Raises UserError for an unknown name and if no category has keypoints.
    """
    content = found.content
    if task != "pose":
        if name is not None:
            raise UserError("category chooses among categories with keypoints; leave it out")
        return
    known = [each for each in content["categories"] if each.get("keypoints")]
    used = annotated_categories(content)
    if not known:
        raise UserError("no category of the labels has keypoints; use --task corners for boxes")
    if name is not None and name not in {each.get("name") for each in known}:
        raise unknown_name("category with keypoints", name, [str(e.get("name")) for e in known])
    chosen = max(known, key=lambda each: (each.get("name") == name, used[each["id"]]))
    for other in content["categories"]:
        if other is not chosen and used[other["id"]]:
            found.lines.append(
                f"left out: {used[other['id']]} instances of category {other.get('name')!r}; "
                f"one recipe learns one category, here {chosen.get('name')!r} (see --category)"
            )
    others = {str(each["id"]) for each in content["categories"] if each is not chosen}
    content["annotations"] = [
        each for each in content["annotations"] if str(each.get("category_id")) not in others
    ]
    content["categories"] = [chosen]


def task_of(content: dict[str, Any]) -> str:
    """The task that a COCO file is for: "pose" if a category with keypoints is used."""
    used = annotated_categories(content)
    keypoints = [each for each in content["categories"] if each.get("keypoints")]
    return "pose" if any(used[each["id"]] for each in keypoints) else "corners"


def part_of(content: dict[str, Any], image_ids: Sequence[Any]) -> dict[str, Any]:
    """The images with these ids, in this order, with their annotations."""
    wanted = {str(number): n for n, number in enumerate(image_ids)}
    images = [image for image in content["images"] if str(image["id"]) in wanted]
    images.sort(key=lambda image: wanted[str(image["id"])])
    annotations = [a for a in content["annotations"] if str(a.get("image_id")) in wanted]
    return {**content, "images": images, "annotations": annotations}


def write_json(content: Any, path: Path, indent: int | None = None) -> None:
    """Write JSON of names in any script."""
    with whole_file(path) as file:
        file.write(
            json.dumps(content, ensure_ascii=False, indent=indent).encode("utf-8", "replace")
        )


# ---------------------------------------------------------------------- label maps


def map_folders(labels: Path, images: Path | None) -> tuple[Path, Path]:
    """The folder of the images and the folder of the label maps.

    labels: the folder of the maps, or one that holds both as `images` and `labels`.
    Raises UserError if the images are not found.
    """
    maps = next((labels / name for name in _MAPS if (labels / name).is_dir()), labels)
    if images is not None:
        return images, maps
    for folder in (maps.parent, labels):
        for name in _PHOTOS:
            if (folder / name).is_dir():
                return folder / name, maps
    raise UserError(f"the images of the label maps in {maps} were not found; give --images FOLDER")


def has_map_folders(labels: Path) -> bool:
    """Whether a folder holds label maps, itself or in a subfolder beside one of images."""
    if not labels.is_dir():
        return False
    inside = any((labels / name).is_dir() for name in _MAPS)
    photos = any((labels / name).is_dir() for name in _PHOTOS)
    return recognise_labels(labels) == "label maps" or (
        inside and photos and recognise_labels(labels) is None
    )


def write_maps(found: CocoLabels, folder: Path) -> None:
    """Paint the masks of COCO labels as label maps: writes FOLDER/images and FOLDER/labels.

    Where instances overlap, the smaller one is in front. Instances without a mask, and masks that
    cannot be painted, are left out and listed in the problems of `found`. Raises UserError if no
    instance has a mask.
    """
    by_image: dict[str, list[dict[str, Any]]] = {}
    for annotation in found.content["annotations"]:
        by_image.setdefault(str(annotation.get("image_id")), []).append(annotation)
    masks = 0
    for number, entry in enumerate(found.content["images"], 1):
        source = found.images / entry["file_name"]
        try:
            labels = np.zeros(read_image(source, upright=False).shape[:2], np.uint16)
        except UserError as error:
            kind = "image cannot be read, left out"
            found.problems.append(Problem(kind, entry["file_name"], detail=str(error)))
            continue
        annotations = by_image.get(str(entry["id"]), [])
        masks += _paint(labels, annotations, entry["file_name"], found.problems)
        stem = f"{number:05d}-{source.stem}"  # image files of several folders may share a name
        with open_regular(source, "image") as file:
            _write(folder / "images" / f"{stem}{source.suffix}", file.read())
        _write(folder / "labels" / f"{stem}.png", cv2.imencode(".png", labels)[1].tobytes())
    if not masks:
        raise UserError("no instance of the labels has a mask; use --task corners for boxes")


def _paint(
    labels: np.ndarray, annotations: list[dict[str, Any]], file: str, problems: list[Problem]
) -> int:
    """Paint the masks of an image into a label map, in place; returns their number."""
    regions = []
    for annotation in annotations:
        mask, kind = np.zeros(labels.shape, bool), "instance without a mask, left out"
        try:
            if annotation.get("segmentation"):
                kind = "mask cannot be read, left out"
                check_region(annotation["segmentation"], labels.shape[::-1])
                paint_region(mask, annotation["segmentation"])
        except ValueError as error:
            problems.append(Problem(kind, file, None, annotation.get("id"), str(error)))
            continue
        if mask.any():
            regions.append(mask)
        else:
            problems.append(Problem(kind, file, None, annotation.get("id")))
    regions.sort(key=np.count_nonzero, reverse=True)
    for number, mask in enumerate(regions, 1):
        labels[mask] = number
    return len(regions)


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def copy_maps(dataset: LabelMaps, indices: Sequence[int], folder: Path) -> None:
    """Copy images and their label maps to FOLDER/images and FOLDER/labels."""
    for source, target in _map_files(dataset, indices, folder):
        with open_regular(source, "image") as file:
            _write(target, file.read())


def _map_files(
    dataset: LabelMaps, indices: Sequence[int], folder: Path
) -> Iterator[tuple[Path, Path]]:
    for index in indices:
        entry = dataset.image_labels[index]
        yield dataset.path(index), folder / "images" / entry.file
        yield entry.labels, folder / "labels" / entry.labels.name
