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

from tagwise.console.streams import print_note
from tagwise.data.images import ImageSource, is_image
from tagwise.errors import UserError
from tagwise.files import is_address
from tagwise.prediction.folders import describe, is_own, list_folder, natural_key, unique_prefix
from tagwise.prediction.given import (
    STDIN,
    RemoteImage,
    StandardInput,
    images_of_tensor,
    is_tensor,
)
from tagwise.prediction.live import LiveVideo, is_live
from tagwise.prediction.video import Video, is_video_file

Image = ImageSource
_LONGEST = 200  # bytes of a name; file systems allow 255, and results add their suffixes


@dataclass(frozen=True, eq=False)
class Clip:
    """A video, and the name of its results without a suffix, relative to the output folder."""

    video: Video | LiveVideo
    name: str

    @property
    def file(self) -> Path | None:
        """The file of the video; None for a camera and an address."""
        return None if isinstance(self.video, LiveVideo) else self.video.path

    def __str__(self) -> str:
        return str(self.file or self.video)


@dataclass(frozen=True, eq=False)
class Source:
    """An image, and the name of its results without a suffix, relative to the output folder.

    file, index, time, clip: for a frame of a video, the file of the video, the number of the frame,
        its time in seconds, and the video.
    """

    image: Image
    name: str
    file: Path | None = None
    index: int | None = None
    time: float | None = None
    clip: Clip | None = None

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


class Frames(Iterator[Source]):
    """Photos and frames of videos, read as they are needed.

    total: their number, or an estimate; None if unknown. live: whether one is a camera or stream.
    clips: the videos.
    """

    def __init__(self, sources: list[Source | Clip]) -> None:
        self.clips = [source for source in sources if isinstance(source, Clip)]
        counts = [clip.video.frames for clip in self.clips]
        photos = len(sources) - len(self.clips)
        self.total = None if None in counts else sum(counts) + photos
        self.live = any(isinstance(clip.video, LiveVideo) for clip in self.clips)
        self._sources = _with_frames(sources)

    def __next__(self) -> Source:
        return next(self._sources)


def find_sources(
    sources: Image | int | Iterable[Image | int], stride: int = 1
) -> list[Source] | Iterator[Source]:
    """Find the images to predict from, and give each a unique name.

    sources: one or several of: an image file, a video, a folder (with all photos below it), a
        pattern such as "photos/**/*.jpg", an http or https address of an image, "-" for an image
        on standard input, an image in memory, see `read_image`, a torch tensor of one or several
        images, see `images_of_tensor`, or a camera or stream, see `LiveVideo`. A list is read
        immediately. Images of any other iterable, and frames of videos, are read one by one as
        they are needed, and numbered.
    stride: take every Nth frame of videos.
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
    live: list[LiveVideo] = []
    number = 0
    for source in sources:
        if is_live(source) and not (isinstance(source, str) and os.path.exists(source)):
            live.append(LiveVideo(source, stride))
            continue
        if isinstance(source, (str, Path)) and not is_address(source) and source != STDIN:
            files += find_files(source)
            number += 1
            continue
        for image in _in_memory([source]):
            found.append(Source(image, _numbered(number, image)))
            number += 1
    if not files and not found and not live:
        raise UserError("no image to predict from; give a file or a folder of photos")
    named = name_files(files)
    named += _with_unique_names(found, {source.name for source in named})
    if not live and not any(_is_video(source.image) for source in named):
        return named
    return Frames(_with_clips(named, live, stride))


def count_of(sources: Iterable[Source]) -> int | None:
    """The number of sources that `find_sources` returned, or an estimate; None if unknown."""
    if isinstance(sources, Frames):
        return sources.total
    return len(sources) if isinstance(sources, list) else None


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


def _with_clips(sources: list[Source], live: list[LiveVideo], stride: int) -> list[Source | Clip]:
    """Open the videos among the sources, and add those that are no files, with unique names."""
    taken = {source.name for source in sources if not _is_video(source.image)}
    found: list[Source | Clip] = []
    for source in sources:
        if not _is_video(source.image):
            found.append(source)
            continue
        name = _free_name((source.name, source.name + source.image.suffix), taken)
        found.append(Clip(Video(source.image, stride), name))
    return found + [Clip(video, _free_name((str(video.path),), taken)) for video in live]


def _free_name(wanted: tuple[str, ...], taken: set[str]) -> str:
    """A name for a video that is free, as are the names of its frames; adds it to `taken`."""
    names = (*wanted, wanted[-1] + "_")
    free = next((name for name in names if name not in taken), names[-1])
    name = unique_prefix((free, *names), taken)
    taken |= {name, f"{name}-000000"}
    return name


def _with_frames(sources: list[Source | Clip]) -> Iterator[Source]:
    """Replace each video by its frames, which are decoded as they are needed."""
    for source in sources:
        if not isinstance(source, Clip):
            yield source
            continue
        for frame in source.video:
            name = f"{source.name}-{frame.index:06d}"
            yield Source(frame.image, name, source.file, frame.index, frame.time, source)


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
