"""COCO keypoint JSON, read with distrust: what does not hold is reported and left out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.regions import check_region
from tagwise.data.report import Problem
from tagwise.errors import UserError


@dataclass
class ImageLabels:
    """What a file says of one image, keypoint types still those of the file (S of them).

    keypoints: (N, S, 3) float32, x, y, v. boxes: (N, 4), x, y, width, height. areas: (N,).
    ids: the annotations' ids. regions: where nothing is to be learned (see regions.paint_region).
    """

    image_id: int
    file: str
    width: int | None
    height: int | None
    keypoints: list[np.ndarray] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    regions: list[Any] = field(default_factory=list)


def read_coco(path: str | Path) -> dict[str, Any]:
    """The content of a COCO annotation file; raises UserError if it is none."""
    content = read_json(path)
    check_coco(content, path)
    return content


def check_coco(content: Any, path: str | Path) -> None:
    """Raises UserError, naming `path`, if the content is not that of a COCO annotation file."""
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO annotation file: it holds a {type(content).__name__}")
    missing = [key for key in lists if not isinstance(content.get(key), list)]
    if missing:
        raise UserError(
            f"{path} is no COCO annotation file: it has no list of {' or '.join(missing)}"
        )
    for key in lists:
        if not all(isinstance(entry, dict) and _is_id(entry.get("id")) for entry in content[key]):
            raise UserError(f'{path} is no COCO annotation file: an entry of {key} has no "id"')


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; raises UserError, naming file and line."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error.msg} in line {error.lineno}") from None


def pick_category(content: dict[str, Any], path: str | Path, name: str | None) -> dict[str, Any]:
    """The category called `name`, else the first with keypoints."""
    known = [c for c in content["categories"] if c.get("keypoints")]
    if name is not None:
        known = [c for c in known if c.get("name") == name]
    if not known:
        which = f"named {name!r} " if name is not None else ""
        raise UserError(
            f'{path}: no category {which}has "keypoints"; is it made for something else?'
        )
    return known[0]


def collect_labels(
    content: dict[str, Any], category: dict[str, Any]
) -> tuple[list[ImageLabels], list[Problem]]:
    """The labels of every image, in the file's order, and what is wrong with them."""
    problems: list[Problem] = []
    images = _collect_images(content["images"], problems)
    seen: dict[Any, Any] = {}
    known = {entry["id"] for entry in content["categories"]}
    for annotation in content["annotations"]:
        fault = _misfit(annotation, images, known, seen)
        if fault:
            problems.append(fault)
        elif annotation.get("category_id", category["id"]) == category["id"]:
            labels = images[annotation["image_id"]]
            problems += _add_annotation(annotation, labels, len(category["keypoints"]))
    return list(images.values()), problems


def _collect_images(entries: list[dict], problems: list[Problem]) -> dict[Any, ImageLabels]:
    images: dict[Any, ImageLabels] = {}
    for entry in entries:
        name, number = str(entry.get("file_name", "")), entry["id"]
        if number in images:
            kind = "image id is used twice, the second image left out"
            problems.append(Problem(kind, name, number))
        elif not name:
            problems.append(Problem('image has no "file_name", left out', "", number))
        else:
            sides = [entry.get(side) for side in ("width", "height")]
            sides = [int(side) if _is_positive(side) else None for side in sides]
            images[number] = ImageLabels(number, name, *sides)
    return images


def _misfit(annotation: dict, images: dict, categories: set, seen: dict) -> Problem | None:
    """Why an annotation belongs nowhere, if so."""
    number, image = annotation["id"], annotation.get("image_id")
    if not _is_id(image) or image not in images:
        image = image if _is_id(image) else None
        return Problem("annotation of an unknown image, left out", "", image, number)
    file = images[image].file
    category = annotation.get("category_id")
    if category is not None and not (_is_id(category) and category in categories):
        detail = f"category {category}"
        return Problem("annotation of an unknown category, left out", file, image, number, detail)
    twin = seen.setdefault(number, annotation)
    if twin is not annotation:
        return Problem(
            "annotation id is used twice, the second annotation left out", file, image, number
        )
    return None


def _add_annotation(annotation: dict, labels: ImageLabels, types: int) -> Iterator[Problem]:
    """Add one annotation to its image: as an instance, or as a region to ignore."""
    where = (labels.file, labels.image_id, annotation["id"])
    box = _box(annotation)
    if annotation.get("iscrowd"):
        region = annotation.get("segmentation") or box
        try:
            check_region(region, (labels.width, labels.height))
            labels.regions.append(region)
        except ValueError as error:
            instead = "its box ignored instead" if box else "left out"
            yield Problem(f"crowd region cannot be read, {instead}", *where, str(error))
            labels.regions += [box] if box else []
        return
    keypoints, faults = _keypoints(annotation, types, labels)
    yield from (Problem(kind, *where, detail) for kind, detail in faults)
    if keypoints is None or not keypoints[:, 2].any():
        if box:  # something is there, but nobody said what: no place to learn background
            labels.regions.append(box)
        return
    if not box:
        if "bbox" in annotation:
            detail = f"bbox {annotation['bbox']}"
            yield Problem("box has no size, taken from the keypoints", *where, detail)
        box = _box_around(keypoints)
    labels.keypoints.append(keypoints)
    labels.boxes.append(box)
    area = annotation.get("area")
    labels.areas.append(float(area) if _is_positive(area) else max(box[2] * box[3], 1.0))
    labels.ids.append(annotation["id"])


def _keypoints(
    annotation: dict, types: int, labels: ImageLabels
) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """The keypoints (S, 3) of an annotation, None if it has none to use, and its faults."""
    values = annotation.get("keypoints")
    if values is None:
        return None, []
    if not isinstance(values, list) or len(values) != 3 * types:
        count = len(values) if isinstance(values, list) else 0
        fault = "annotation has a wrong number of keypoints, left out"
        return None, [(fault, f"{count} numbers, not {3 * types}")]
    try:
        keypoints = np.array(values, np.float32).reshape(types, 3)
    except (TypeError, ValueError):
        return None, [("keypoints are no numbers, annotation left out", "")]
    faults = []
    broken = ~np.isfinite(keypoints).all(1)
    if broken.any():
        faults.append(("keypoint is not finite, left out", f"types {np.flatnonzero(broken)}"))
        keypoints[broken] = 0
    size = np.array([labels.width or math.inf, labels.height or math.inf])
    # a label on the very edge counts from the pixel's corner and may say x = width
    far = ((keypoints[:, :2] < -1) | (keypoints[:, :2] > size)).any(1) & (keypoints[:, 2] > 0)
    if far.any():
        detail = f"types {np.flatnonzero(far)} at {keypoints[far, :2].tolist()}"
        faults.append(("keypoint outside the image, left out", detail))
        keypoints[far] = 0
    keypoints[keypoints[:, 2] <= 0] = 0
    return keypoints, faults


def _box(annotation: dict) -> tuple[float, ...] | None:
    """The box of an annotation if it is one of any size."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
        return None
    return tuple(float(v) for v in box) if box[2] > 0 and box[3] > 0 else None


def _box_around(keypoints: np.ndarray) -> tuple[float, ...]:
    """The box around labelled keypoints (S, 3), at least one pixel wide and high."""
    xy = keypoints[keypoints[:, 2] > 0, :2]
    low, high = xy.min(0), xy.max(0)
    return (*map(float, low), *map(float, np.maximum(high - low, 1)))


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
