"""DeepLabCut labels: CSV and H5 files of one or several animals, and whole projects."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_text
from tagwise.labels.deeplabcut_h5 import read_h5
from tagwise.labels.find import Finder, finder_of, name_parts
from tagwise.labels.label_set import (
    Category,
    Instance,
    LabelledImage,
    LabelSet,
    labelled_keypoints,
)

_UNIQUE = "single"  # the individual to which DeepLabCut gives body parts that occur once


@dataclass(frozen=True)
class Table:
    """A table of DeepLabCut.

    columns: C tuples scorer, individual ("" for one animal), body part, and x, y or likelihood.
    names: R image files, or numbers of frames. values: (R, C) float64, NaN where not labelled.
    """

    columns: list[tuple[str, str, str, str]]
    names: list[str]
    values: np.ndarray


def read_deeplabcut(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a CSV or H5 file; the edges of the skeleton come from the project's config.yaml."""
    config = next((read_config(p) for p in _config_paths(path) if p.is_file()), {})
    found = LabelSet(path, "a DeepLabCut file")
    # The names in a file are relative to the project: labeled-data/VIDEO/img0001.png
    finder = finder_of(path, images, "../..", "..")
    _add(found, path, config, finder)
    return found


def read_deeplabcut_project(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read the labels of all videos of a project: its folder, or its config.yaml."""
    folder = path if path.is_dir() else path.parent
    config = read_config(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
    found = LabelSet(path, "a DeepLabCut project")
    finder = finder_of(folder, images)
    files = sorted(folder.rglob("CollectedData_*.csv"))
    with_csv = {file.parent for file in files}
    files += [f for f in sorted(folder.rglob("CollectedData_*.h5")) if f.parent not in with_csv]
    if not files:
        raise UserError(f"{path} has no CollectedData file; label frames in DeepLabCut first")
    scorer = str(config.get("scorer") or "")
    own = [file for file in files if file.stem == f"CollectedData_{scorer}"] or files
    found.problems += [
        Problem("labels of another scorer than that of config.yaml, left out", file.name)
        for file in files
        if file not in own
    ]
    for file in own:
        _add(found, file, config, finder)
    return found


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config.yaml. Raises UserError if it is not YAML."""
    try:
        content = yaml.safe_load(read_text(path, "configuration"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML ({error})") from None
    return content if isinstance(content, dict) else {}


def _config_paths(path: Path) -> list[Path]:
    parents = path.absolute().parents
    return [folder / "config.yaml" for folder in parents[:3]]


# ---------------------------------------------------------------------- tables


def read_table(path: Path) -> Table:
    """Read a CSV or H5 file. Raises UserError for other tables."""
    if path.suffix == ".csv":
        columns, names, values = _read_csv(path)
    else:
        columns, names, values = read_h5(path)
    if not columns or not {len(column) for column in columns} <= {3, 4}:
        raise UserError(f"{path} is not a table of DeepLabCut: it needs scorer, bodyparts, coords")
    full = [c if len(c) == 4 else (c[0], "", c[1], c[2]) for c in columns]
    return Table(full, names, values)


def _read_csv(path: Path) -> tuple[list[tuple[str, ...]], list[str], np.ndarray]:
    rows = [row for row in csv.reader(io.StringIO(read_text(path, "labels"))) if any(row)]
    count = next((n for n, row in enumerate(rows) if row[0] == "coords"), 0)
    if not count or rows[0][0] != "scorer":
        raise UserError(f"{path} is not a table of DeepLabCut: it has no rows scorer and coords")
    header = rows[: count + 1]
    first = next((n for n, cell in enumerate(header[-1]) if n and cell), 1)
    width = len(header[-1])
    columns = list(zip(*(row[first:] for row in header), strict=False))
    names, values = [], []
    for number, row in enumerate(rows[count + 1 :], count + 2):
        if len(row) != width:
            raise UserError(f"{path} has {len(row)} cells in row {number}, but {width} columns")
        names.append("/".join(part for part in row[:first] if part))
        try:
            values.append([float(cell) if cell.strip() else np.nan for cell in row[first:]])
        except ValueError as error:
            raise UserError(f"{path}: row {number} has a cell without a number ({error})") from None
    return columns, names, np.array(values, float).reshape(len(names), width - first)


def _add(found: LabelSet, path: Path, config: dict[str, Any], finder: Finder) -> None:
    """Add the labels of one table to a label set."""
    table = read_table(path)
    name = str(config.get("Task") or "instance")
    animals = list(dict.fromkeys(c[1] for c in table.columns))
    types = {
        individual: tuple(dict.fromkeys(c[2] for c in table.columns if c[1] == individual))
        for individual in animals
    }
    names = {a: f"{name} {_UNIQUE}" if a == _UNIQUE and len(animals) > 1 else name for a in animals}
    for individual in animals:
        _add_category(found, names[individual], types[individual], config)
    index = {column[1:]: n for n, column in enumerate(table.columns)}
    video = None if not table.names or not table.names[0].isdigit() else _video_of(path, finder)
    empty = 0
    for row, values in zip(table.names, table.values):
        image = _image(row, video, path, finder)
        for individual in animals:
            category = found.category(names[individual])
            instance = _instance(values, index, individual, category)
            image.instances += [instance] if instance else []
        empty += not image.instances
        found.images += [image] if image.instances else []
    if empty:
        kind = "image without labels, left out"
        found.problems.append(Problem(kind, path.name, detail=f"{empty} images"))


def _add_category(
    found: LabelSet, name: str, types: tuple[str, ...], config: dict[str, Any]
) -> None:
    known = next((each for each in found.categories if each.name == name), None)
    every = tuple(dict.fromkeys([*(known.keypoints if known else ()), *types]))
    if known and every == known.keypoints:
        return
    pairs = [pair for pair in config.get("skeleton") or [] if isinstance(pair, list)]
    inside = [pair for pair in pairs if len(pair) == 2 and set(map(str, pair)) <= set(every)]
    edges = tuple((every.index(str(a)), every.index(str(b))) for a, b in inside)
    category = Category(name, every, edges)
    if known:
        grown = len(every) - len(known.keypoints)
        for instance in (each for image in found.images for each in image.instances):
            if instance.category == name:
                instance.keypoints = np.pad(instance.keypoints, ((0, grown), (0, 0)))
        found.categories[found.categories.index(known)] = category
    else:
        found.categories.append(category)


def _instance(
    values: np.ndarray, index: dict[tuple[str, ...], int], individual: str, category: Category
) -> Instance | None:
    columns = [[index.get((individual, name, c)) for c in "xy"] for name in category.keypoints]
    xy = [[np.nan if at is None else values[at] for at in pair] for pair in columns]
    keypoints = labelled_keypoints(np.array(xy, float).reshape(-1, 2))
    if not (keypoints[:, 2] > 0).any():
        return None
    likely = [index.get((individual, name, "likelihood")) for name in category.keypoints]
    scores = None
    if any(at is not None for at in likely):
        scores = np.nan_to_num([0.0 if at is None else values[at] for at in likely])
    score = None if scores is None else float(scores[keypoints[:, 2] > 0].mean())
    return Instance(
        category.name, keypoints, score=score, keypoint_scores=scores, track=individual or None
    )


def _image(name: str, video: tuple[str, Path | None] | None, path: Path, finder: Finder) -> Any:
    if video is not None:
        return LabelledImage(video[0], video[1], int(name), group=video[0])
    parts = name_parts(name)
    beside = path.parent / (parts or ("",))[-1]  # the images are in the folder of the table
    own = beside if parts and beside.is_file() else finder.find(name)
    group = parts[-2] if len(parts) > 1 else path.parent.name
    return LabelledImage("/".join(parts), own, group=group)


def _video_of(path: Path, finder: Finder) -> tuple[str, Path | None]:
    """The video of a table of predictions, VIDEODLC_resnet50_TASKshuffle1_1000.csv."""
    stem = path.stem.partition("DLC")[0]
    suffixes = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".wmv")
    found = (finder.find(f"{stem}{suffix}") for suffix in suffixes)
    return stem, next((video for video in found if video), None)
