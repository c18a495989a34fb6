"""List the photos of a folder in natural order, and count its other files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tagwise.data.images import SUFFIXES
from tagwise.errors import UserError

_OWN = (".predictions", ".tracks")  # endings of the stems of output files


class Folder(NamedTuple):
    """The photos of a folder, and the number of its other files per suffix."""

    photos: list[Path]
    others: Counter[str]


def list_folder(folder: str | Path, below: bool = True) -> Folder:
    """List the photos of a folder in natural order.

    below: include subfolders. Hidden files and output files of tagwise are neither listed nor
    counted. Raises UserError if there are no photos.
    """
    photos, others = [], Counter[str]()
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")] if below else []
        for path in (Path(parent) / name for name in names):
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
    """Return whether a file is hidden, or an output file of tagwise."""
    return path.name.startswith(".") or path.stem.endswith(_OWN)


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Return a key that sorts numbers in names by value: frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def describe(others: Counter[str]) -> str:
    """Describe numbers of files per suffix in words.

    >>> describe(Counter({".txt": 2, ".mp4": 1}))
    '2 .txt files, 1 .mp4 file'
    """
    return ", ".join(_number(count, suffix) for suffix, count in others.most_common(5))


def _number(count: int, suffix: str) -> str:
    files = "file" if count == 1 else "files"
    if suffix in (".heic", ".heif"):  # a phone's photos: the user expects them to be read
        files += f" (convert {'it' if count == 1 else 'them'} to JPEG)"
    return f"{count} {suffix} {files}" if suffix[0] == "." else f"{count} {files} with {suffix}"


def unique_prefix(wanted: Iterable[str], taken: Iterable[str]) -> str:
    """Return the first of several prefixes whose numbered frames have unique names.

    wanted: prefixes in order of preference; if all are taken, "_" is appended to the last one until
        it is free.
    taken: names of other results, such as "clip-000000".
    """
    stems = {match.group(1) for name in taken if (match := re.fullmatch(r"(.*)-\d{6,}", name))}
    name = ""
    for name in wanted:
        if name not in stems:
            return name
    while name in stems:
        name += "_"
    return name
