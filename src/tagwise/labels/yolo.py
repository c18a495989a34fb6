"""Labels of YOLO as Ultralytics writes them: poses, boxes and outlines of masks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tagwise.data.images import SUFFIXES, image_size
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_text
from tagwise.labels.find import Finder, finder_of
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet


def read_yolo(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a folder with data.yaml, images and labels, or its data.yaml.

    Without data.yaml, classes are named after classes.txt or their number. An image without a
    label file shows no instance, as in Ultralytics.
    """
    folder = path if path.is_dir() else path.parent
    found = LabelSet(path, "a folder of YOLO labels")
    config = _config(path, folder)
    count, values = _keypoint_shape(config, path)
    classes = _classes(config, folder)
    types = _types(config, count)
    finder = finder_of(folder, images, "images")
    pairs, edges = _flip_pairs(config, count, path), _edges(config, count, path)
    posed: dict[str, bool] = {}  # for each class in use, whether an instance has keypoints
    for image, file in _pairs(folder, finder):
        found.images.append(image)
        if file is None:
            continue
        lines = [line.split() for line in read_text(file, "labels").splitlines() if line.strip()]
        size = _size(image, found.problems) if lines else None
        for number, cells in enumerate(lines, 1):
            try:
                if size is None:
                    continue
                instance = _instance(cells, size, count, values, classes)
            except (ValueError, IndexError) as error:
                kind = "line of labels cannot be read, left out"
                found.problems.append(Problem(kind, file.name, detail=f"line {number}: {error}"))
                continue
            name, pose = instance.category, instance.keypoints is not None
            posed[name] = posed.get(name, False) or pose
            image.instances.append(instance)
    order = {name: number for number, name in classes.items()}
    for name in sorted(posed, key=lambda name: (order.get(name, len(order)), name)):
        category = Category(name, types, edges, pairs) if posed[name] else Category(name)
        found.categories.append(category)
    return found


def _config(path: Path, folder: Path) -> dict[str, Any]:
    names = [path] if path.is_file() else [folder / "data.yaml", folder / "dataset.yaml"]
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        return {}
    try:
        content = yaml.safe_load(read_text(file, "description"))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file} does not describe a YOLO data set; it needs names: and train:")
    return content


def _keypoint_shape(config: dict[str, Any], path: Path) -> tuple[int, int]:
    """The number of keypoint types, and of values of each: 2 or 3."""
    shape = config.get("kpt_shape") or [0, 3]
    whole = isinstance(shape, list) and all(type(number) is int for number in shape)
    if not whole or len(shape) != 2 or shape[1] not in (2, 3) or shape[0] < 0:
        raise UserError(f"{path}: kpt_shape is {shape}; write [number of keypoints, 2 or 3]")
    return int(shape[0]), int(shape[1])


def _classes(config: dict[str, Any], folder: Path) -> dict[int, str]:
    names = config.get("names")
    if isinstance(names, dict) and all(str(number).isdigit() for number in names):
        return {int(number): str(name) for number, name in names.items()}
    if not isinstance(names, list):
        file = next((f for f in (folder / "classes.txt",) if f.is_file()), None)
        names = read_text(file, "names of classes").split("\n") if file else []
    return {number: str(name).strip() for number, name in enumerate(names) if str(name).strip()}


def _types(config: dict[str, Any], count: int) -> tuple[str, ...]:
    """The names of the keypoint types; keypoint_0, ... where data.yaml does not name them."""
    names = config.get("kpt_names") or config.get("node_names")
    if isinstance(names, dict):  # Ultralytics: one list for each class
        names = next(iter(names.values()), None)
    if isinstance(names, list) and len(names) == count:
        return tuple(map(str, names))
    return tuple(f"keypoint_{number}" for number in range(count))


def _flip_pairs(config: dict[str, Any], count: int, path: Path) -> tuple[tuple[int, int], ...]:
    flip = config.get("flip_idx") or []
    if flip and (
        not isinstance(flip, list) or sorted(map(str, flip)) != sorted(map(str, range(count)))
    ):
        raise UserError(f"{path}: flip_idx is {flip}; write the {count} numbers 0 to {count - 1}")
    return tuple((a, int(b)) for a, b in enumerate(flip) if a < int(b))


def _edges(config: dict[str, Any], count: int, path: Path) -> tuple[tuple[int, int], ...]:
    """The edges that data.yaml lists under skeleton, as sleap-io and tagwise write them."""
    edges = config.get("skeleton") or []
    numbers = range(count)
    if not isinstance(edges, list) or not all(
        isinstance(edge, list) and len(edge) == 2 and all(end in numbers for end in edge)
        for edge in edges
    ):
        raise UserError(f"{path}: skeleton is {edges}; write pairs of the numbers of keypoints")
    return tuple((int(a), int(b)) for a, b in edges)


def _pairs(folder: Path, finder: Finder) -> Iterator[tuple[LabelledImage, Path | None]]:
    """Each image with its file of labels, or None; missing images too."""
    other = {"classes.txt", "train.txt", "val.txt", "test.txt", "readme.txt", "labels.txt"}
    every = sorted(folder.rglob("*.txt"))
    inside = [file for file in every if "labels" in file.relative_to(folder).parts[:-1]]
    files = [f for f in inside or every if f.name.lower() not in other]
    seen = set()
    for file in files:
        path = _image_of(file, folder, finder)
        name = path.name if path else f"{file.stem}.jpg"
        seen.add(path)
        yield LabelledImage(name, path, group=_group(file, folder)), file
    folders = {path.parent for path in seen if path}
    for path in sorted(p for f in folders for p in f.iterdir() if p.suffix.lower() in SUFFIXES):
        if path not in seen:
            yield LabelledImage(path.name, path, group=_group(path, folder)), None


def _image_of(file: Path, folder: Path, finder: Finder) -> Path | None:
    parts = list(file.relative_to(folder).parts)
    for n in reversed(range(len(parts) - 1)):
        if parts[n] == "labels":
            parts[n] = "images"
            break
    beside = folder.joinpath(*parts)
    for suffix in sorted(SUFFIXES):
        for name in (beside.with_name(file.stem + suffix), file.with_name(file.stem + suffix)):
            if name.is_file():
                return name
    names = (finder.find(f"{file.stem}{suffix}") for suffix in (".jpg", ".png", ".jpeg"))
    return next((path for path in names if path), None)


def _group(file: Path, folder: Path) -> str:
    """The split or folder of a file, without the folders images and labels."""
    inside = file.relative_to(folder).parts[:-1] if file.is_relative_to(folder) else ()
    return "/".join(part for part in inside if part not in ("images", "labels"))


def _size(image: LabelledImage, problems: list[Problem]) -> tuple[int, int] | None:
    if image.path is None:
        return None
    try:
        image.width, image.height = image_size(image.path)
    except UserError as error:
        problems.append(Problem("image cannot be read, left out", detail=str(error)))
        return None
    return image.width, image.height


def _instance(
    cells: list[str], size: tuple[int, int], count: int, values: int, classes: dict[int, str]
) -> Instance:
    """Read one line: class, box and keypoints, or class and polygon; then maybe a score."""
    numbers = np.array(cells, float)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    number, rest = int(numbers[0]), numbers[1:]
    category = classes.get(number, f"class {number}")
    pose = 4 + count * values
    if count and len(rest) in (pose, pose + 1):
        keypoints = np.full((count, 3), 2.0)
        keypoints[:, :values] = rest[4:pose].reshape(count, values)
        if values == 2:
            keypoints[:, 2] = np.where((keypoints[:, :2] != 0).any(1), 2, 0)
        keypoints[:, :2] *= size
        score = float(rest[pose]) if len(rest) > pose else None
        keypoints[keypoints[:, 2] <= 0] = 0
        keypoints[~np.isin(keypoints[:, 2], (0, 1)), 2] = 2  # predictions have a score instead
        return Instance(category, keypoints, _box(rest[:4], size), score=score)
    if len(rest) in (4, 5):
        score = float(rest[4]) if len(rest) > 4 else None
        return Instance(category, box=_box(rest[:4], size), score=score)
    if count or len(rest) < 6:
        raise ValueError(f"{len(cells)} numbers, expected {pose + 1}")
    score = float(rest[-1]) if len(rest) % 2 else None
    polygon = rest[: len(rest) // 2 * 2].reshape(-1, 2) * size
    return Instance(category, mask=[polygon.reshape(-1).tolist()], score=score)


def _box(values: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """x, y, width and height in pixels, from the centre and the size as fractions."""
    centre, extent = values[:2] * size, values[2:] * size
    return (*(centre - extent / 2).tolist(), *extent.tolist())
