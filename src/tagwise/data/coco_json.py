"""COCO's JSON, read with distrust: what does not hold is reported and left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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

    keypoints: (N, S, 3) float32, x, y, v, where the file has any. boxes: (N, 4), x, y, width,
    height. areas: (N,). classes: (N,), where there are several. ids: the annotations' ids.
    regions: where nothing is to be learned (see regions.paint_region).
    """

    image_id: int
    file: str
    width: int | None
    height: int | None
    keypoints: list[np.ndarray] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
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


def match_classes(
    names: Sequence[str], categories: Sequence[dict[str, Any]], path: str | Path
) -> list[int]:
    """The category id of each class by its name. Raises UserError if one has no category."""
    ids = {str(category.get("name")).casefold(): category["id"] for category in categories}
    missing = [name for name in names if name.casefold() not in ids]
    if missing:
        known = ", ".join(str(category.get("name")) for category in categories)
        raise UserError(f"{path} has no category {', '.join(missing)}; it has {known}")
    return [ids[name.casefold()] for name in names]


def collect_labels(
    content: dict[str, Any], add: Callable[[dict, ImageLabels], Iterable[Problem]]
) -> tuple[list[ImageLabels], list[Problem]]:
    """The labels of every image, in the file's order, and what is wrong with them.

    add: adds an annotation of a known image and category to the labels of its image.
    """
    problems: list[Problem] = []
    images = _collect_images(content["images"], problems)
    seen: dict[Any, Any] = {}
    known = {entry["id"] for entry in content["categories"]}
    for annotation in content["annotations"]:
        fault = _misfit(annotation, images, known, seen)
        if fault:
            problems.append(fault)
        else:
            problems += add(annotation, images[annotation["image_id"]])
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
            sides = [int(side) if is_positive(side) else None for side in sides]
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


def add_crowd(annotation: dict, labels: ImageLabels) -> Iterator[Problem]:
    """Add the region of a crowd to those that its image ignores."""
    box = box_of(annotation)
    region = annotation.get("segmentation") or box
    try:
        check_region(region, (labels.width, labels.height))
        labels.regions.append(region)
    except ValueError as error:
        instead = "its box ignored instead" if box else "left out"
        kind = f"crowd region cannot be read, {instead}"
        yield Problem(kind, labels.file, labels.image_id, annotation["id"], str(error))
        labels.regions += [box] if box else []


def area_of(annotation: dict, box: tuple[float, ...]) -> float:
    """The area that an annotation gives, else that of its box, in squared pixels."""
    area = annotation.get("area")
    return float(area) if is_positive(area) else max(box[2] * box[3], 1.0)


def box_of(annotation: dict) -> tuple[float, ...] | None:
    """The box of an annotation if it is one of any size."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in box):
        return None
    return tuple(float(v) for v in box) if box[2] > 0 and box[3] > 0 else None


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
