"""Videos, read and written frame by frame, so that their length does not matter.

PyAV does the work; it comes with `pip install 'tagwise[video]'`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tagwise.data.images import SUFFIXES as PHOTO_SUFFIXES
from tagwise.data.images import read_image
from tagwise.errors import UserError, optional
from tagwise.files import check_regular, whole_file

SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts"))
_FPS = 25.0  # of what does not say
_CODECS = ("libx264", "libopenh264", "mpeg4")  # the first that PyAV has; it always has the last


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video: its number from 0, its time in seconds, its (H, W, 3) uint8 RGB image."""

    index: int
    time: float
    image: np.ndarray


class Video:
    """The frames of a video file, in order and upright; each `iter` starts from the first.

    path: any format that FFmpeg reads.
    fps: frames a second. frames: how many there are, as the file says; None if it does not.
    broken: packets of the last run through that could not be decoded, which were passed over.

    Raises UserError where the file is no video, or PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.broken = 0
        with self._opened() as container:
            stream = self._stream(container)
            self.fps = float(stream.average_rate or stream.guessed_rate or _FPS)
            seconds = container.duration / 1e6 if container.duration else 0
            self.frames = stream.frames or round(seconds * self.fps) or None

    def __iter__(self) -> Iterator[Frame]:
        self.broken = index = 0
        errors = _av().error.FFmpegError
        with self._opened() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    decoded = packet.decode()
                except errors:
                    self.broken += 1
                    continue
                for frame in decoded:
                    time = index / self.fps if frame.time is None else frame.time
                    yield Frame(index, time, _upright(frame))
                    index += 1
        if not index:
            raise UserError(f"{self.path} holds no frame that can be decoded; give another video")

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        av = _av()
        check_regular(self.path, "video")
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or error
            raise UserError(f"cannot read video {self.path}: {reason}; replace it") from error
        with container:
            yield container

    def _stream(self, container: Any) -> Any:
        if not container.streams.video:
            raise UserError(f"{self.path} has no pictures, only other streams; give a video")
        return container.streams.video[0]


class PhotoVideo:
    """The photos of a folder as the frames of a video, in the order of their names.

    fps: frames a second, which photos cannot say. The rest is as in `Video`.
    """

    def __init__(self, folder: str | Path, fps: float = _FPS) -> None:
        self.path, self.fps, self.broken = Path(folder), float(fps), 0
        self._photos = sorted(
            path
            for path in self.path.iterdir()
            if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".")
        )
        if not self._photos:
            raise UserError(f"no photo in the folder {folder}; give a video or a folder of frames")
        self.frames = len(self._photos)

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._photos):
            yield Frame(index, index / self.fps, read_image(path))


def open_video(path: str | Path) -> Video | PhotoVideo:
    """The frames of a video file, or of a folder of photos. Raises UserError for anything else."""
    return PhotoVideo(path) if os.path.isdir(path) else Video(path)


@contextmanager
def video_writer(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame, (H, W, 3) uint8 RGB, to a new H.264 video.

    Frames have the size of the first; an odd last row or column is left out, since 4:2:0 colour
    has none. The file takes its name when all is written, and not at all after an error. Without
    a frame there is no file.

    >>> with video_writer("clip.mp4", fps=25) as write:  # doctest: +SKIP
    ...     write(image)
    """
    path, av = Path(path), _av()
    try:
        with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
            writer = _Writer(container, fps)
            yield writer.add
            writer.finish()
            if writer.stream is None:
                raise _NoFrameError
    except _NoFrameError:
        return
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; free space or give another --out") from (
            error
        )


class _NoFrameError(Exception):
    """No frame came: leaves `whole_file` without a file."""


class _Writer:
    def __init__(self, container: Any, fps: float) -> None:
        self.container, self.fps, self.stream = container, fps, None

    def add(self, image: np.ndarray) -> None:
        height, width = (side // 2 * 2 for side in image.shape[:2])
        if self.stream is None:
            self.stream = self._new_stream(max(width, 2), max(height, 2))
        if (width, height) != (self.stream.width, self.stream.height):
            raise UserError(
                f"a frame of {width} by {height} pixels cannot follow those of "
                f"{self.stream.width} by {self.stream.height}; frames must have one size"
            )
        image = np.ascontiguousarray(image[:height, :width])
        frame = _av().VideoFrame.from_ndarray(image, format="rgb24")
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        if self.stream is not None:
            self.container.mux(self.stream.encode())

    def _new_stream(self, width: int, height: int) -> Any:
        known = _av().codecs_available
        codec = next(codec for codec in _CODECS if codec in known)
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = self.container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "23", "preset": "veryfast"}
        return stream


def _upright(frame: Any) -> np.ndarray:
    """The picture, turned as the camera was held."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # PyAV counts against the clock
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _av() -> ModuleType:
    return optional("av", "video", "video needs PyAV")
