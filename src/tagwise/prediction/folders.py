"""The files of a folder: photos in natural order, and what is left out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tagwise.data.images import SUFFIXES
from tagwise.errors import UserError

_OWN = (".predictions", ".tracks")  # what the stems of files that tagwise wrote end in


class Folder(NamedTuple):
    """The photos of a folder, and how many other files it has by suffix."""

    photos: list[Path]
    others: Counter[str]


def list_folder(folder: str | Path, below: bool = True) -> Folder:
    """The photos of a folder in natural order.

    below: include the folders inside it. Hidden files and files that tagwise wrote are neither
    photos nor counted. Raises UserError if there is no photo.
    """
    photos, others = [], Counter[str]()
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")] if below else []
        for path in (Path(place) / name for name in names):
            if is_own(path):
                continue
            if path.suffix.lower() in SUFFIXES:
                photos.append(path)
            else:
                others[path.suffix.lower() or "no suffix"] += 1
    if not photos:
        known = ", ".join(sorted(SUFFIXES))
        found = f"; it has {describe(others)}" if others else ""
        raise UserError(f"no image in the folder {folder}{found}; known suffixes are {known}")
    return Folder(sorted(photos, key=natural_key), others)


def is_own(path: Path) -> bool:
    """Whether a file is hidden, or a result that tagwise wrote."""
    return path.name.startswith(".") or path.stem.endswith(_OWN)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """A key that sorts numbers in names by value: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def describe(others: Counter[str]) -> str:
    """Numbers of files by suffix, in words.

    >>> describe(Counter({".txt": 2, ".mp4": 1}))
    '2 files .txt, 1 file .mp4'
    """
    return ", ".join(_number(count, suffix) for suffix, count in others.most_common(5))


def _number(count: int, suffix: str) -> str:
    name = suffix if suffix.startswith(".") else f"with {suffix}"
    return f"{count} file{'s' * (count > 1)} {name}"


def unique_prefix(wanted: Iterable[str], taken: Iterable[str]) -> str:
    """The first of several names whose numbered frames have names that nothing else has.

    wanted: names, the best one first; the last one is extended by "_" until it is free.
    taken: names of other results.
    """
    stems = {match.group(1) for name in taken if (match := re.fullmatch(r"(.*)-\d{6,}", name))}
    name = ""
    for name in wanted:
        if name not in stems:
            return name
    while name in stems:
        name += "_"
    return name
