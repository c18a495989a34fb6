"""Label Studio's JSON: keypoints, rectangles, polygons and brush masks of images or frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from tagwise.data.coco_labels import as_number
from tagwise.data.images import SUFFIXES, image_size
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_json
from tagwise.label_maps import encode_labels
from tagwise.labels.brush import brush_mask
from tagwise.labels.find import Finder, finder_of, name_parts
from tagwise.labels.label_set import LabelledImage, LabelSet
from tagwise.labels.loose import NO_CLASS, Loose, Shape, add_loose, join_shapes

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts such a prefix before uploads


def read_labelstudio(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read the JSON export of a Label Studio project (not JSON-MIN).

    Keypoints belong to a rectangle by a relation, as a child of it, or because no other rectangle
    contains them. Of several annotations of a task, the ground truth or the last one is taken.
    """
    content = read_json(path, "labels")
    tasks = content if isinstance(content, list) else [content]
    found = LabelSet(path, "a Label Studio file")
    finder = finder_of(path, images, "images", "media")
    rows: list[tuple[LabelledImage, Loose]] = []
    for task in tasks:
        if not isinstance(task, Mapping):
            found.problems.append(Problem("task is not an object, left out"))
            continue
        image = _image(task, finder)
        results = list(_results(task, image, found))
        if not results:
            found.problems.append(Problem("task without annotations, left out", image.file))
            continue
        found.images.append(image)
        for shapes, score in results:
            try:
                rows += [(image, each) for each in _instances(shapes, score, image, found.problems)]
            except (KeyError, TypeError, ValueError, IndexError) as error:
                kind = "annotation cannot be read, left out"
                reason = str(error) if type(error) is ValueError else repr(error)
                found.problems.append(Problem(kind, image.file, detail=reason[:200]))
    add_loose(found, rows)
    return found


def _results(
    task: Mapping[str, Any], image: LabelledImage, found: LabelSet
) -> Iterator[tuple[list[dict[str, Any]], float | None]]:
    """The shapes of the annotation of a task, and of its predictions with their scores."""
    given = task.get("annotations") or task.get("completions") or []
    kept = [a for a in given if isinstance(a, Mapping) and not a.get("was_cancelled")]
    truth = [a for a in kept if a.get("ground_truth")] or kept
    if len(kept) > 1:
        kind = "several annotations of one task, one is read (ground truth, or the last)"
        found.problems.append(Problem(kind, image.file))
    if truth:
        yield list(truth[-1].get("result") or []), None
    for prediction in task.get("predictions") or []:
        if isinstance(prediction, Mapping) and prediction.get("result"):
            yield list(prediction["result"]), as_number(prediction.get("score")) or 0.0


def _image(task: Mapping[str, Any], finder: Finder) -> LabelledImage:
    video = (task.get("meta") or {}).get("video") if isinstance(task.get("meta"), Mapping) else None
    if isinstance(video, Mapping) and "filename" in video:
        name, shape = str(video["filename"]), video.get("shape") or (None,) * 4
        frame, path = int(video.get("frame_idx") or 0), finder.find(name)
        return LabelledImage(name, path, frame, shape[2], shape[1], group=name)
    data = task.get("data") if isinstance(task.get("data"), Mapping) else {}
    texts = [value for value in data.values() if isinstance(value, str)]
    urls = [_file_of(text) for text in texts]
    names = [name for name in urls if Path(name).suffix.lower() in SUFFIXES]
    name = (names or urls or [f"task {task.get('id', '')}"])[0]
    path, parts = finder.find(name), name_parts(name)
    uploaded = _UPLOADED.fullmatch(parts[-1]) if parts else None
    if path is None and uploaded:
        path = finder.find("/".join([*parts[:-1], uploaded[1]]))
    return LabelledImage(name, path, group=parts[-2] if len(parts) > 1 else "")


def _file_of(address: str) -> str:
    """The file that an address of Label Studio names.

    >>> _file_of("/data/local-files/?d=mice/a%20b.png")
    'mice/a b.png'
    """
    parts = urlsplit(address.replace("\\", "/"))
    inside = parse_qs(parts.query).get("d")
    return inside[0] if inside else unquote(parts.path)


def _instances(
    results: list[dict[str, Any]],
    score: float | None,
    image: LabelledImage,
    problems: list[Problem],
) -> list[Loose]:
    owners: dict[Any, Loose] = {}
    shapes: list[Shape] = []
    links = _links(results)
    for number, entry in enumerate(results):
        kind, value = entry.get("type"), entry.get("value")
        if kind == "relation" or not isinstance(value, Mapping):
            continue
        key = entry.get("id", number)
        size = _size(entry, image)
        label = str((value.get(kind) or [NO_CLASS])[0])
        if kind == "keypointlabels":
            group = next((k for k in links.get(key, ()) if k != key), entry.get("parentID"))
            shapes.append(Shape(label, _pixels(value, ("x", "y"), size), group=group))
        elif kind == "rectanglelabels" or kind == "rectangle":
            corner, extent = _pixels(value, ("x", "y"), size), ("width", "height")
            owners[key] = Loose(label, box=(*corner, *_pixels(value, extent, size)))
            if value.get("rotation"):
                problems.append(Problem("rotated rectangle, read without rotation", image.file))
        elif kind == "polygonlabels":
            flat = [side * x / 100 for point in value["points"] for side, x in zip(size, point)]
            owners[key] = Loose(label, mask=[flat])
        elif kind == "brushlabels":
            mask = brush_mask(value["rle"], *size)
            owners[key] = Loose(label, mask=encode_labels(mask.astype(np.uint8), 1)[0])
        else:
            problems.append(Problem(f"{kind} cannot be read, left out", image.file))
    shapes = [_owned(shape, owners) for shape in shapes]
    loose = join_shapes(shapes, owners, image, problems)
    for each in loose:
        each.score = score
    return loose


def _owned(shape: Shape, owners: dict[Any, Loose]) -> Shape:
    """The keypoint without its group if the group is not among the instances."""
    return shape if shape.group in owners else Shape(shape.name, shape.xy, shape.visibility)


def _links(results: list[dict[str, Any]]) -> dict[Any, list[Any]]:
    """The shapes to which each shape has a relation, in either direction."""
    links: dict[Any, list[Any]] = {}
    for entry in results:
        if entry.get("type") == "relation":
            links.setdefault(entry.get("from_id"), []).append(entry.get("to_id"))
            links.setdefault(entry.get("to_id"), []).append(entry.get("from_id"))
    return links


def _pixels(value: Mapping[str, Any], names: tuple[str, str], size: tuple[int, int]) -> Any:
    """Two percentages of the width and the height, in pixels."""
    return tuple(side * float(value[name]) / 100 for name, side in zip(names, size, strict=True))


def _size(entry: Mapping[str, Any], image: LabelledImage) -> tuple[int, int]:
    """The size of the image, which the entry states, or that of the file."""
    stated = (entry.get("original_width"), entry.get("original_height"))
    if all(isinstance(side, int) and side > 0 for side in stated):
        image.width, image.height = stated
    if image.width is None or image.height is None:
        if image.path is None:
            raise ValueError("the size of the image is not stated, and its file was not found")
        try:
            image.width, image.height = image_size(image.path)
        except UserError as error:
            raise ValueError(str(error)) from None
    return image.width, image.height
