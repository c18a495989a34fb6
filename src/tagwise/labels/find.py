"""Finding the images and videos that labels name, which often come from another machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from tagwise.data.images import SUFFIXES as PHOTO_SUFFIXES
from tagwise.errors import UserError
from tagwise.prediction.video import SUFFIXES as VIDEO_SUFFIXES

_DEEPEST, _MOST = 6, 300_000  # folders below a root, and files, that are searched


class Finder:
    """Finds files by the names that labels give.

    roots: folders to search, in this order. A name is tried as it is and inside each root, with
    fewer and fewer of its folders; then files with the same name are searched in all subfolders,
    and the one that shares the most folders with the name is taken.
    given: the file that stands for a video of another name that is not found.
    """

    def __init__(self, roots: Sequence[Path], given: Path | None = None) -> None:
        self.roots, self.given = list(dict.fromkeys(roots)), given

    def find(self, name: str) -> Path | None:
        """Return the file that a name means, or None. Windows paths are understood."""
        parts = name_parts(name)
        if not parts:
            return None
        if _is_file(Path(name)) and Path(name).is_absolute():
            return Path(name)
        for root in self.roots:
            for start in range(len(parts)):
                path = root.joinpath(*parts[start:])
                if _is_file(path):
                    return path
        found = self._by_name(parts)
        return self.given if found is None and self.given else found

    def _by_name(self, parts: tuple[str, ...]) -> Path | None:
        found = self._index.get(parts[-1].casefold(), [])
        shared = [_shared(path.parts, parts) for path in found]
        best = max(shared, default=0)
        # Files of the same name in different folders: none is the right one for sure.
        return found[shared.index(best)] if shared.count(best) == 1 else None

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = {}
        for count, path in enumerate(_files_below(self.roots)):
            if count >= _MOST:
                break
            index.setdefault(path.name.casefold(), []).append(path)
        return index


def finder_of(labels: Path, images: str | Path | None, *subfolders: str) -> Finder:
    """The finder for a file or folder of labels.

    images: a folder that the user gave, which is searched first, or a video.
    subfolders: folders to try first, relative to that of the labels.
    Raises UserError if there is no such folder and no such file.
    """
    folder = labels if labels.is_dir() else labels.parent
    if images is None:
        return Finder([*(folder / name for name in subfolders), folder])
    if _is_file(Path(images)):
        return Finder([folder], Path(images))
    if not Path(images).is_dir():
        raise UserError(f"no such folder of images: {images}; give --images FOLDER")
    return Finder([Path(images), *(Path(images) / name for name in subfolders), folder])


def name_parts(name: str) -> tuple[str, ...]:
    """The folders and the file of a path of any system, without drives and roots.

    >>> name_parts("C:\\\\lab\\\\mouse 1\\\\a.png"), name_parts("../a.png")
    (('lab', 'mouse 1', 'a.png'), ('a.png',))
    """
    path = PurePosixPath(re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/"))
    return tuple(part for part in path.parts if part not in ("/", "..", "."))


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """The number of last parts in which two paths agree, ignoring case."""
    count = 0
    for a, b in zip(reversed(one), reversed(other)):
        if a.casefold() != b.casefold():
            break
        count += 1
    return count


def _files_below(roots: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for root in roots:
        for parent, folders, names in os.walk(root):
            here = Path(parent)
            if here in seen or len(here.relative_to(root).parts) >= _DEEPEST:
                folders[:] = []
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if here not in seen:
                seen.add(here)
                yield from (here / name for name in sorted(names) if _is_picture(name))


def _is_picture(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    return suffix in PHOTO_SUFFIXES or suffix in VIDEO_SUFFIXES or suffix in (".h5", ".seq")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
