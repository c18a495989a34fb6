"""Read videos frame by frame, so that memory does not depend on their length.

PyAV does the work; it comes with `pip install 'tagwise[video]'`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tagwise.console.streams import print_note
from tagwise.data.images import SUFFIXES as PHOTO_SUFFIXES
from tagwise.data.images import read_image
from tagwise.errors import UserError, optional
from tagwise.files import (
    SNIFFED,
    check_regular,
    kind_of,
    open_regular,
    refuse_address,
)
from tagwise.prediction.folders import describe, list_folder

SUFFIXES = frozenset(
    (
        *(".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gxf", ".h264"),
        *(".hevc", ".ivf", ".m2ts", ".m2v", ".m4v", ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov"),
        *(".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".rm", ".rmvb", ".ts"),
        *(".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    )
)
"""Suffixes of video files, in lower case."""

_FPS = 25.0  # frames per second if a video does not state them
_FASTEST = 240.0  # a larger number is the clock rate of the file, not its frames per second


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a video.

    index: from 0. time: in seconds. image: (H, W, 3) uint8 RGB, upright.
    file: the photo that the frame was read from; None for a frame of a video file.
    """

    index: int
    time: float
    image: np.ndarray
    file: Path | None = None


class Video:
    """The frames of a video file, in order and upright; each `iter` starts from the first.

    path: any format that FFmpeg reads. stride: `iter` yields every Nth frame.
    fps: frames per second of the file, on average. frames: number of frames of `iter` that the
        file states, or an estimate from its duration; None if unknown.
    pixel_shape: width of a pixel divided by its height, after the rotation of the file.
    broken: number of packets of the last iteration that could not be decoded, and were skipped.

    Raises UserError if the file is not a video, or if PyAV is not installed.
    """

    unit = "parts of the video that could not be read"

    def __init__(self, path: str | Path, stride: int = 1) -> None:
        self.path, self.stride = Path(path), stride
        self.broken = 0
        with self._opened() as container:
            stream = self._stream(container)
            self.fps = frames_per_second(container, stream)
            self.pixel_shape = Fraction(stream.sample_aspect_ratio or 1)
            seconds = container.duration / 1e6 if container.duration else 0
            frames = stream.frames or round(seconds * self.fps)
            self.frames = -(-frames // stride) or None

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
                    if index % self.stride:
                        index += 1
                        continue
                    time = index / self.fps if frame.time is None else frame.time
                    image, turned = upright(frame)
                    if index == 0 and turned:
                        self.pixel_shape = 1 / self.pixel_shape
                    yield Frame(index, time, image)
                    index += 1
        if not index:
            raise UserError(
                f"{self.path} contains no frame that can be decoded; give another video"
            )

    def frames_at(self, indices: Iterable[int]) -> Iterator[Frame]:
        """Yield the frames with these indices, in ascending order, without decoding all others.

        Indices count as in `iter`. A frame that does not exist or cannot be decoded is left out.
        """
        wanted = sorted(set(indices))
        with self._opened() as container:
            stream = self._stream(container)
            packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
            times = sorted(p.pts for p in packets if p.pts is not None)
            keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
            exact = len(set(times)) == len(packets) and bool(keys)
        if not exact:  # without times, frames can only be counted
            last = wanted[-1] if wanted else -1
            frames = takewhile(lambda frame: frame.index <= last, self)
            yield from (frame for frame in frames if frame.index in set(wanted))
            return
        with self._opened() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            targets = {times[index]: index for index in wanted if 0 <= index < len(times)}
            for time, frame in _decoded_at(container, stream, sorted(targets), keys):
                seconds = targets[time] / self.fps if frame.time is None else frame.time
                yield Frame(targets[time], seconds, upright(frame)[0])

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
            raise UserError(f"{self.path} has no video stream, only other streams; give a video")
        return container.streams.video[0]


class PhotoVideo:
    """The photos of a folder as the frames of a video, in natural order of their names.

    fps: frames per second, which photos do not state. broken: number of photos of the last
    iteration that could not be read, and were skipped. Other attributes are as in `Video`.
    """

    pixel_shape, unit = Fraction(1), "frames that could not be read"

    def __init__(self, folder: str | Path, fps: float = _FPS, stride: int = 1) -> None:
        self.path, self.fps, self.broken = Path(folder), float(fps), 0
        self.stride = stride
        listed = list_folder(self.path, below=False)
        if listed.others:
            print_note(f"{folder}: skipped {describe(listed.others)}")
        self._photos = listed.photos
        self.frames = -(-len(self._photos) // stride)

    def __iter__(self) -> Iterator[Frame]:
        self.broken = 0
        for index, path in enumerate(self._photos):
            if index % self.stride:
                continue
            try:
                image = read_image(path)
            except UserError as error:
                self.broken += 1
                print_note(f"{error}; the frame is left out")
                continue
            yield Frame(index, index / self.fps, image, path)
        if self.broken == self.frames:
            raise UserError(f"no photo of {self.path} could be read; give other frames")


def _decoded_at(
    container: Any, stream: Any, targets: list[int], keys: list[int]
) -> Iterator[tuple[int, Any]]:
    """Yield the decoded frames with these times, seeking to the last key frame before each.

    targets, keys: ascending, in the unit of the stream's time base.
    """
    errors = _av().error.FFmpegError
    frames, position = iter(()), None
    for target in targets:
        key = keys[max(bisect_right(keys, target) - 1, 0)]
        if position is None or position < key:
            container.seek(key, stream=stream)
            frames = container.decode(stream)
        with suppress(errors):
            for frame in frames:
                position = frame.pts
                if position is not None and position >= target:
                    if position == target:
                        yield target, frame
                    break


def is_video_file(path: Path) -> bool:
    """Return whether a file is a video, by its suffix or, if that is unknown, its first bytes."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES or suffix in PHOTO_SUFFIXES:
        return suffix in SUFFIXES
    try:
        with open_regular(path, "video") as file:
            return (kind_of(file.read(SNIFFED)) or "").endswith("video")
    except UserError:
        return False


def open_video(path: str | Path, stride: int = 1) -> Video | PhotoVideo:
    """Open a video file, or a folder of photos as one. Raises UserError for anything else."""
    refuse_address(path)
    if os.path.isdir(path):
        return PhotoVideo(path, stride=stride)
    return Video(path, stride)


def frames_per_second(container: Any, stream: Any) -> float:
    """Return the frames per second that the file states, or measure them from its packets."""
    stated = float(stream.average_rate or stream.guessed_rate or _FPS)
    if stated <= _FASTEST:
        return stated
    times = []
    for packet in container.demux(stream):
        if packet.pts is not None:
            times.append(float(packet.pts * packet.time_base))
        if len(times) == 50:
            break
    span = max(times, default=0.0) - min(times, default=0.0)
    return (len(times) - 1) / span if span > 0 else _FPS


def upright(frame: Any) -> tuple[np.ndarray, bool]:
    """Return the upright image, and whether its width and height were swapped."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # PyAV counts anticlockwise
    return (np.ascontiguousarray(np.rot90(image, turns)) if turns else image), turns % 2 == 1


def _av() -> ModuleType:
    return optional("av", "video", "video needs PyAV")
