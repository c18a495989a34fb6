"""Labels and predictions as a folder of DeepLabCut labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import yaml

from tagwise.data.report import Problem
from tagwise.files import whole_file
from tagwise.labels.choose import one_category, with_files, with_keypoints
from tagwise.labels.find import name_parts
from tagwise.labels.frames import image_names, write_images
from tagwise.labels.label_set import LabelledImage, LabelSet

SCORER = "tagwise"
"""The scorer that DeepLabCut shows for these labels."""


def write_deeplabcut(
    found: LabelSet, folder: Path, copy: bool = True, progress: bool = False
) -> Path:
    """Write labeled-data/VIDEO/CollectedData_tagwise.csv and the images, and return the folder.

    Each group of images is a VIDEO. Of several categories, that with the most instances is written.
    DeepLabCut makes its H5 files from these with `deeplabcut.convertcsv2h5`. Scores, visibility,
    boxes and masks are lost. copy: write the images too, not only the tables.
    """
    found = one_category(with_keypoints(found))
    images = with_files(found) if copy else found.images
    labelled = [image for image in images if image.instances]
    individuals = _individuals(labelled, found.problems)
    for video, images in _by_video(labelled).items():
        target = folder / "labeled-data" / video
        names = image_names(images, flat=True)
        if copy:
            kept = write_images(images, names, target, found.problems, progress)
            images = [image for image in images if id(image) in kept]
        rows = _header(found, individuals)
        for image in images:
            cells = _cells(image, found, individuals)
            rows.append(["labeled-data", video, names[id(image)], *cells])
        with whole_file(target / f"CollectedData_{SCORER}.csv") as file:
            file.write(_table(rows))
    _write_config(found, folder, individuals)
    return folder


def _by_video(images: Iterable[LabelledImage]) -> dict[str, list[LabelledImage]]:
    """The images of each group, under a name that a folder can have."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        parts = name_parts(image.group)
        last = parts[-1] if parts else "images"
        name = Path(last).stem if image.frame is not None else last
        groups.setdefault(name, []).append(image)
    return groups


def _individuals(images: list[LabelledImage], problems: list[Problem]) -> list[str]:
    """The names of the individuals; none if no image has two instances."""
    most = max(len(image.instances) for image in images)
    if most == 1:
        return []
    tracks = [[each.track for each in image.instances] for image in images]
    named = all(None not in row and len(set(row)) == len(row) for row in tracks)
    if named:
        return sorted({str(track) for row in tracks for track in row})
    if any(track is not None for row in tracks for track in row):
        kind = "individuals are numbered, because some have no track or share one"
        problems.append(Problem(kind))
    return [f"individual{number}" for number in range(1, most + 1)]


def _header(found: LabelSet, individuals: list[str]) -> list[list[str]]:
    types = found.categories[0].keypoints
    columns = [(who, name, c) for who in individuals or [""] for name in types for c in "xy"]
    rows = [["scorer", "", "", *[SCORER] * len(columns)]]
    rows += [["individuals", "", "", *(c[0] for c in columns)]] if individuals else []
    rows.append(["bodyparts", "", "", *(c[1] for c in columns)])
    return [*rows, ["coords", "", "", *(c[2] for c in columns)]]


def _cells(image: LabelledImage, found: LabelSet, individuals: list[str]) -> list[str]:
    count = len(found.categories[0].keypoints)
    numbered = {str(each.track): each for each in image.instances}
    cells: list[str] = []
    for number, who in enumerate(individuals or [""]):
        ordered = image.instances[number] if number < len(image.instances) else None
        each = numbered.get(who) if set(numbered) <= set(individuals) else ordered
        points = [(0, 0, 0)] * count if each is None else each.keypoints.tolist()
        for x, y, visible in points:
            cells += [f"{x:.3f}", f"{y:.3f}"] if visible > 0 else ["", ""]
    return cells


def _table(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _write_config(found: LabelSet, folder: Path, individuals: list[str]) -> None:
    """The part of config.yaml that describes the labels: paste it into that of a project."""
    category = found.categories[0]
    names = list(category.keypoints)
    parts = {"multianimalbodyparts": names} if individuals else {"bodyparts": names}
    content = {
        "Task": category.name,
        "scorer": SCORER,
        "multianimalproject": bool(individuals),
        **({"individuals": individuals, "uniquebodyparts": []} if individuals else {}),
        **parts,
        "skeleton": [[names[a], names[b]] for a, b in category.edges],
    }
    with whole_file(folder / "config.yaml") as file:
        file.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
