"""Predictions of tagwise as labels: files of `predict` and `track`, and COCO results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tagwise.data.coco_json import Ids
from tagwise.data.coco_labels import as_number, box_of
from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.files import read_json, read_text
from tagwise.labels.coco import read_coco_labels, read_keypoints
from tagwise.labels.find import Finder, finder_of
from tagwise.labels.from_results import instances_of
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet
from tagwise.labels.loose import NO_CLASS
from tagwise.prediction.video import SUFFIXES as VIDEO_SUFFIXES
from tagwise.results import Boxes, Poses, Result
from tagwise.tasks import read_result

_JOURNAL = ".tagwise-predict.jsonl"
_FRAME = re.compile(r"(.+)-(\d{6,})")  # the names of frames of a video


def read_predictions(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read one .predictions.json file, or all such files of photos and videos in a folder."""
    folder = path if path.is_dir() else path.parent
    found = LabelSet(path, "predictions of tagwise")
    finder = Finder([*finder_of(path, images).roots, Path()])
    sources = dict(_journal(folder))
    for file in sorted(path.rglob("*.predictions.json")) if path.is_dir() else [path]:
        record = read_json(file, "prediction")
        result = read_result(record, file)
        name = file.relative_to(folder).as_posix().removesuffix(".predictions.json")
        image = _image(result, name, sources.get(name), finder)
        image.instances = _instances(result, found)
        found.images.append(image)
    for file in sorted(path.rglob("*.predictions.jsonl")) if path.is_dir() else []:
        _read_frames(file, found, finder)
    return found


def read_tracks(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a .tracks.jsonl or .predictions.jsonl file; the track of an instance is its id."""
    is_track = path.name.endswith(".tracks.jsonl")
    found = LabelSet(path, f"{'tracks' if is_track else 'predictions'} of tagwise")
    _read_frames(path, found, finder_of(path, images))
    return found


def _read_frames(path: Path, found: LabelSet, finder: Finder) -> None:
    """Add the frames of a file of JSON lines to a label set."""
    name = path.name.removesuffix(".jsonl").removesuffix(".tracks").removesuffix(".predictions")
    video = _video_named(name, finder)
    for number, line in enumerate(read_text(path, "tracks").splitlines(), 1):
        try:
            record = json.loads(line)
            frame = int(record["frame"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged in line {number} ({error})") from None
        result = read_result(record, path)
        if result.file and Path(result.file).suffix.lower() not in VIDEO_SUFFIXES:
            image = LabelledImage(result.file, finder.find(result.file), group=name)
        else:
            own = finder.find(result.file) if result.file else None
            image = LabelledImage(result.file or name, own or video, frame, group=name)
        image.width, image.height = result.width, result.height
        ids = [instance.get("id") for instance in record["instances"]]
        for instance, track in zip(_instances(result, found), ids, strict=True):
            image.instances.append(replace(instance, track=track))
        found.images.append(image)


def read_results(path: Path, annotations: str | Path, images: str | Path | None = None) -> LabelSet:
    """Read COCO results; the annotations name the images and categories that they belong to."""
    rows = read_json(path, "results")
    truth = read_coco_labels(Path(annotations), images)
    content = read_json(annotations, "annotation file")
    for image in truth.images:
        image.instances = []
    by_file = {image.file: image for image in truth.images}
    entries = {e["id"]: by_file.get(str(e.get("file_name"))) for e in content["images"]}
    categories = dict(zip((c["id"] for c in content["categories"]), truth.categories, strict=True))
    image_ids, category_ids = Ids(entries), Ids(categories)
    found = replace(truth, where=path, what="COCO results", problems=[], notes=[])
    for row in rows:
        image = entries.get(image_ids.find(row.get("image_id")))
        category = categories.get(category_ids.find(row.get("category_id")))
        score = as_number(row.get("score"))
        if image is None or category is None or score is None:
            kind = "result of an unknown image or category, left out"
            found.problems.append(Problem(kind, detail=f"image_id {row.get('image_id')!r}"))
            continue
        keypoints, fault = read_keypoints(row.get("keypoints"), len(category.keypoints))
        if fault:
            found.problems.append(Problem(fault, image.file))
            continue
        mask = row.get("segmentation") or None
        image.instances.append(Instance(category.name, keypoints, box_of(row), mask, score))
    return found


def _image(result: Result, name: str, source: Any, finder: Finder) -> LabelledImage:
    size = {"width": result.width, "height": result.height}
    if result.file and result.frame is not None:
        video = finder.find(result.file)
        return LabelledImage(result.file, video, result.frame, group=result.file, **size)
    if result.file:
        group = Path(result.file).parent.as_posix()
        return LabelledImage(result.file, finder.find(result.file), group=group, **size)
    frame = _FRAME.fullmatch(name)
    if isinstance(source, list) and len(source) == 4:  # file, size, time, index of the frame
        file = str(source[0])
        return LabelledImage(file, finder.find(file), int(source[3]), group=file, **size)
    if frame:
        video = _video_named(frame[1], finder)
        return LabelledImage(frame[1], video, int(frame[2]), group=frame[1], **size)
    return LabelledImage(name, None, **size)


def _journal(folder: Path) -> Iterator[tuple[str, Any]]:
    """The names of results and the state of their sources, which `predict` recorded."""
    path = folder / _JOURNAL
    if not path.is_file():
        return
    for line in read_text(path, "journal").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield entry["name"], entry.get("source")


def _video_named(stem: str, finder: Finder) -> Path | None:
    found = (finder.find(f"{stem}{suffix}") for suffix in sorted(VIDEO_SUFFIXES))
    return next((path for path in found if path), None)


def _instances(result: Result, found: LabelSet) -> list[Instance]:
    """The instances of a result; adds its categories to the set."""
    if isinstance(result, Poses):
        skeleton = result.skeleton
        _declare(found, Category(NO_CLASS, tuple(skeleton.keypoints), tuple(skeleton.edges)))
    elif isinstance(result, Boxes):
        for name in result.names:
            _declare(found, Category(str(name)))
    else:
        _declare(found, Category(NO_CLASS))
    return instances_of(result, NO_CLASS)


def _declare(found: LabelSet, category: Category) -> None:
    known = next((each for each in found.categories if each.name == category.name), None)
    if known is None:
        found.categories.append(category)
    elif known.keypoints != category.keypoints:
        raise UserError(
            f"{found.where} contains predictions of models with different keypoints; give those of "
            "one model"
        )
