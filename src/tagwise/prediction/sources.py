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
from tagwise.prediction.folders import describe, is_own, list_folder, natural_key, unique_prefix
from tagwise.prediction.given import (
    STDIN,
    RemoteImage,
    StandardInput,
    images_of_tensor,
    is_address,
    is_tensor,
)
from tagwise.prediction.video import Video, is_video_file

Image = ImageSource
_LONGEST = 200  # bytes of a name; file systems allow 255, and results add their suffixes


@dataclass(frozen=True, eq=False)
class Source:
    """An image, and the name of its results without a suffix, relative to the output folder.

    file, index, time: for a frame of a video, the file of the video, the number of the frame and
        its time in seconds.
    """

    image: Image
    name: str
    file: Path | None = None
    index: int | None = None
    time: float | None = None

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
        pattern such as "photos/**/*.jpg", an http or https address of an image, "-" for an image
        on standard input, an image in memory, see `read_image`, or a torch tensor of one or several
        images, see `images_of_tensor`. A list is read immediately. Images of any other iterable,
        and frames of videos, are read one by one as they are needed, and numbered.
    Results are named after the stem of their file, relative to the given folder. If two files would
    get the same name, their suffixes are added, then their folders. Raises UserError for a missing
    file, and if there are no images.
    """
    if not _is_many(sources):
        sources = [sources]
    elif not isinstance(sources, (list, tuple)):
        return (Source(i, _numbered(n, i)) for n, i in enumerate(_in_memory(sources)))
    found: list[Source] = []
    files: list[tuple[Path, Path]] = []
    number = 0
    for source in sources:
        if isinstance(source, (str, Path)) and not is_address(source) and source != STDIN:
            files += find_files(source)
            number += 1
            continue
        for image in _in_memory([source]):
            found.append(Source(image, _numbered(number, image)))
            number += 1
    if not files and not found:
        raise UserError("no image to predict from; give a file or a folder of photos")
    named = name_files(files)
    named += _with_unique_names(found, {source.name for source in named})
    videos = {source: Video(source.image) for source in named if _is_video(source.image)}
    return _with_frames(named, videos) if videos else named


def find_files(source: str | Path) -> list[tuple[Path, Path]]:
    """Return pairs (file, folder that its name is relative to), sorted, of a file or a pattern."""
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
            yield Source(frame.image, name, source.image, frame.index, frame.time)


def _is_video(image: Image) -> bool:
    return isinstance(image, Path) and is_video_file(image)


def _is_many(sources: Any) -> bool:
    # An array-like object, such as a tensor, is one image, which `read_image` refuses as a whole.
    single = is_image(sources) or hasattr(sources, "__array__")
    return not single and isinstance(sources, Iterable)


def _in_memory(sources: Iterable[Any]) -> Iterator[Image]:
    """Replace addresses, standard input and tensors by what `read_image` reads."""
    for source in sources:
        if is_tensor(source):
            yield from images_of_tensor(source)
        elif is_address(source):
            yield RemoteImage(source)
        elif isinstance(source, str):
            yield StandardInput() if source == STDIN else Path(source)
        else:
            yield source


def _numbered(number: int, image: Image) -> str:
    stem = getattr(image, "stem", "image")  # of a path, or of an image that is not in memory yet
    return f"{stem}-{number:06d}"
