"""Find images in files, videos, folders and arrays, and name their results."""

from __future__ import annotations

import glob
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tagwise.data.images import ImageSource, is_image
from tagwise.data.report import print_note
from tagwise.errors import UserError
from tagwise.files import refuse_address
from tagwise.prediction.folders import describe, is_own, list_folder, natural_key, unique_prefix
from tagwise.prediction.video import Video, is_video_file

Image = ImageSource
_LONGEST = 200  # bytes of a name; file systems allow 255, and results add their suffixes


@dataclass(frozen=True, eq=False)
class Source:
    """An image, and the name of its results without a suffix, relative to the output folder.

    file, index: for a frame of a video, the file of the video and the number of the frame.
    """

    image: Image
    name: str
    file: Path | None = None
    index: int | None = None

    def state(self) -> Any:
        """Return a value that changes when the file changes; None if there is no readable file."""
        file = self.image if isinstance(self.image, Path) else self.file
        if file is None:
            return None
        try:
            status = file.stat()
        except OSError:
            return None
        state = [str(file), status.st_size, status.st_mtime_ns]
        return state if self.index is None else [*state, self.index]


def find_sources(sources: Image | Iterable[Image]) -> list[Source] | Iterator[Source]:
    """Find the images to predict from, and give each a unique name.

    sources: one or several of: an image file, a video, a folder (with all photos below it), a
        pattern such as "photos/**/*.jpg", or an image in memory, see `read_image`. A list is read
        immediately. Images of any other iterable, and frames of videos, are read one by one as they
        are needed, and numbered.
    Results are named after the stem of their file, relative to the given folder. If two files would
    get the same name, their suffixes are added, then their folders. Raises UserError for a missing
    file, and if there are no images.
    """
    if not _is_many(sources):
        sources = [sources]
    elif not isinstance(sources, (list, tuple)):
        return (Source(_as_image(i), _numbered(n, i)) for n, i in enumerate(sources))
    found: list[Source] = []
    files: list[tuple[Path, Path]] = []
    for n, image in enumerate(sources):
        if isinstance(image, (str, Path)):
            files += find_files(image)
        else:
            found.append(Source(image, _numbered(n, image)))
    if not files and not found:
        raise UserError("no image to predict from; give a file or a folder of photos")
    named = name_files(files)
    named += _with_unique_names(found, {source.name for source in named})
    videos = {source: Video(source.image) for source in named if _is_video(source.image)}
    return _with_frames(named, videos) if videos else named


def find_files(source: str | Path) -> list[tuple[Path, Path]]:
    """Return pairs (file, folder that its name is relative to), sorted, of a file or a pattern."""
    refuse_address(source)
    path = Path(source)
    if os.path.isdir(path):
        folder = list_folder(path)
        if folder.others:
            print_note(f"{path}: skipped {describe(folder.others)}")
        return [(photo, path) for photo in folder.photos]
    if os.path.exists(path):
        return [(path, path.parent)]
    if glob.has_magic(str(source)):
        matches = sorted(map(Path, glob.glob(str(source), recursive=True)), key=natural_key)
        files = [
            (match, match.parent) for match in matches if match.is_file() and not is_own(match)
        ]
        if not files:
            raise UserError(f"no file matches the pattern {source}; check folder and suffix")
        return files
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.75)
    hint = f"did you mean {path.parent / near[0]}?" if near else "give a file, folder or pattern"
    raise UserError(f"no such file or folder: {path}; {hint}")


def name_files(files: list[tuple[Path, Path]]) -> list[Source]:
    """Give files unique names; a file that is given twice becomes one source."""
    unique: dict[str, tuple[Path, Path]] = {}
    for file, root in files:
        unique.setdefault(os.path.abspath(file), (file, root))
    if not unique:
        return []
    files, absolute = list(unique.values()), [Path(path) for path in unique]
    common = Path(os.path.commonpath([file.parent for file in absolute]))
    ways = (
        [file.relative_to(root).with_suffix("") for file, root in files],
        [file.relative_to(root) for file, root in files],
        [file.relative_to(common) for file in absolute],  # unique for every file
    )
    names = list(ways[0])
    for way in (*ways[1:], ways[-1]):
        count = Counter(names)
        names = [longer if count[name] > 1 else name for name, longer in zip(names, way)]
    return [Source(file, _shortened(name.as_posix())) for (file, _), name in zip(files, names)]


def _shortened(name: str) -> str:
    """Shorten a name to leave room for the suffixes of results; a checksum keeps it unique."""
    folder, slash, leaf = name.rpartition("/")
    data = os.fsencode(leaf)
    if len(data) > _LONGEST:
        start = data[: _LONGEST - 9].decode(errors="ignore")
        leaf = f"{start}-{zlib.crc32(data):08x}"
    return folder + slash + leaf


def _with_unique_names(images: list[Source], taken: set[str]) -> list[Source]:
    """Give images in memory numbered names that no file has."""
    named = []
    for source in images:
        name = source.name
        while name in taken:
            name += "_"
        taken.add(name)
        named.append(replace(source, name=name))
    return named


def _with_frames(sources: list[Source], videos: dict[Source, Video]) -> Iterator[Source]:
    """Replace each video by its frames, which are decoded as they are needed."""
    taken = {source.name for source in sources if source not in videos}
    for source in sources:
        if source not in videos:
            yield source
            continue
        prefix = unique_prefix((source.name, source.name + source.image.suffix), taken)
        taken.add(f"{prefix}-000000")
        for frame in videos[source]:
            name = f"{prefix}-{frame.index:06d}"
            yield Source(frame.image, name, source.image, frame.index)


def _is_video(image: Image) -> bool:
    return isinstance(image, Path) and is_video_file(image)


def _is_many(sources: Any) -> bool:
    # An array-like object, such as a tensor, is one image, which `read_image` refuses as a whole.
    single = is_image(sources) or hasattr(sources, "__array__")
    return not single and isinstance(sources, Iterable)


def _as_image(image: Image) -> Image:
    return Path(image) if isinstance(image, str) else image


def _numbered(number: int, image: Image) -> str:
    stem = Path(image).stem if isinstance(image, (str, Path)) else "image"
    return f"{stem}-{number:06d}"
