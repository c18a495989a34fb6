"""Files of labelme: points, rectangles and polygons of one image each."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.images import read_image
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_json
from tagwise.labels.find import finder_of
from tagwise.labels.label_set import LabelledImage, LabelSet
from tagwise.labels.loose import Loose, Shape, add_loose, join_shapes


def read_labelme(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a file, or all files of a folder and its subfolders.

    Shapes with the same group_id are one instance, named after its rectangle or polygon.
    """
    found = LabelSet(path, "a folder of labelme files" if path.is_dir() else "a labelme file")
    finder = finder_of(path, images, "images")
    rows: list[tuple[LabelledImage, Loose]] = []
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        try:
            content = read_json(file, "labels")
            name = str(content["imagePath"]).replace("\\", "/")
            shapes = list(content["shapes"])
        except (UserError, KeyError, TypeError) as error:
            found.problems.append(
                Problem("not a labelme file, left out", file.name, detail=str(error))
            )
            continue
        beside = file.parent / name
        own = beside if beside.is_file() else finder.find(name)
        image = LabelledImage(name, own, None, group=file.parent.name)
        image.width, image.height = _side(content, "imageWidth"), _side(content, "imageHeight")
        data = content.get("imageData")
        image.pixels = _reader(data, file) if own is None and data else None
        found.images.append(image)
        rows += [(image, each) for each in _instances(shapes, image, found.problems)]
    add_loose(found, rows)
    return found


def _instances(shapes: list[Any], image: LabelledImage, problems: list[Problem]) -> list[Loose]:
    owners: dict[Any, Loose] = {}
    points: list[Shape] = []
    for number, shape in enumerate(shapes):
        try:
            label, group = str(shape["label"]), shape.get("group_id")
            corners = np.array(shape["points"], float).reshape(-1, 2)
            kind = shape.get("shape_type") or "polygon"
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(
                Problem("shape cannot be read, left out", image.file, detail=str(error))
            )
            continue
        key = ("shape", number) if group is None else ("group", group)
        if kind == "point" and len(corners) == 1:
            points.append(Shape(label, tuple(corners[0]), 2, None if group is None else key))
            continue
        if kind not in ("rectangle", "polygon", "circle") or len(corners) < 2:
            problems.append(Problem(f"{kind} cannot be read, left out", image.file))
            continue
        owner = owners.setdefault(key, Loose(label))
        owner.category = label
        if kind == "polygon":
            owner.mask = [*(owner.mask or []), corners.reshape(-1).tolist()]
        else:
            owner.box = _box(corners, kind)
    return join_shapes(points, owners, image, problems)


def _box(corners: np.ndarray, kind: str) -> tuple[float, float, float, float]:
    """The box of a rectangle, or of a circle given by its centre and a point on it."""
    if kind == "circle":
        radius = float(np.hypot(*(corners[1] - corners[0])))
        corners = np.stack([corners[0] - radius, corners[0] + radius])
    low, high = corners.min(0), corners.max(0)
    return (*low.tolist(), *(high - low).tolist())


def _reader(data: Any, file: Path) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        try:
            return read_image(base64.b64decode(data))
        except (binascii.Error, TypeError, ValueError) as error:
            raise UserError(f"the image inside {file} is damaged ({error})") from None

    return read


def _side(content: Mapping[str, Any], name: str) -> int | None:
    value = content.get(name)
    return value if isinstance(value, int) and value > 0 else None
