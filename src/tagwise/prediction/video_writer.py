"""Write a video frame by frame, with the sound of the video that its frames come from.

PyAV does the work; it comes with `pip install 'tagwise[video]'`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from tagwise.console.streams import print_note
from tagwise.data.transforms import fit_affine
from tagwise.errors import UserError, optional
from tagwise.files import whole_file

_CODECS = ("libx264", "libopenh264", "mpeg4")  # in order of preference; PyAV always has the last
_COPIED = {"aac", "mp3", "ac3", "eac3", "alac", "opus"}  # sound that .mp4 holds as it is
_CLOCK = 90_000  # ticks per second of written videos, as in MPEG


class VideoLike(Protocol):
    """What a written video takes over from the one that its frames come from.

    pixel_shape: width of a pixel divided by its height. path: the file, for its sound.
    """

    pixel_shape: Fraction
    path: Path


@contextmanager
def video_writer(
    path: str | Path, fps: float, like: VideoLike | None = None
) -> Iterator[Callable[..., None]]:
    """Write an H.264 video: the context is a function that appends a frame.

    The function takes a frame (H, W, 3) uint8 RGB and, optionally, its time in seconds; by default
    frames follow each other at `fps`. Frames of another size are fitted into that of the first. An
    odd last row or column is left out, since 4:2:0 colour needs even sides. like: the video from
    which the shape of pixels and, if it is a file, the sound are taken. The file appears when the
    block ends. It does not appear after an error or if no frame was written.

    >>> with video_writer("clip.mp4", fps=25) as write:  # doctest: +SKIP
    ...     write(image)
    """
    path, av = Path(path), _av()
    writer = None
    try:
        with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
            writer = _Writer(container, fps, like)
            yield writer.add
            writer.finish()
            if writer.stream is None:
                raise _NoFrameError
    except _NoFrameError:
        return
    except av.error.FFmpegError as error:
        reason = error.strerror or error
        message = f"cannot write {path}: {reason}; free space or give another --out"
        raise UserError(message) from error
    finally:
        if writer is not None and writer.sound is not None:
            writer.sound.close()


class _NoFrameError(Exception):
    """Raised if no frame was written, so that `whole_file` leaves no file."""


class _Writer:
    def __init__(self, container: Any, fps: float, like: VideoLike | None) -> None:
        self.container, self.fps, self.stream, self.like = container, fps, None, like
        self.sound: _Sound | None = None
        self.tick = round(_CLOCK / fps)
        self.last = -self.tick  # so that the first frame is at 0

    def add(self, image: np.ndarray, time: float | None = None) -> None:
        height, width = (side // 2 * 2 for side in image.shape[:2])
        if self.stream is None:
            self.stream = self._new_stream(max(width, 2), max(height, 2))
        size = (self.stream.width, self.stream.height)
        if (width, height) != size:
            affine, _ = fit_affine(image.shape[1::-1], size)
            image = affine.image(image, size, fill=0)
        image = np.ascontiguousarray(image[: size[1], : size[0]])
        frame = _av().VideoFrame.from_ndarray(image, format="rgb24")
        ticks = self.last + self.tick if time is None else round(time * _CLOCK)
        self.last = frame.pts = max(ticks, self.last + 1, 0)
        frame.time_base = Fraction(1, _CLOCK)
        self._add_sound(self.last)
        self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        if self.stream is not None:
            self._add_sound(self.last + self.tick)
            self.container.mux(self.stream.encode())
            if self.sound is not None:
                self.sound.finish()

    def _add_sound(self, ticks: int) -> None:
        if self.sound is not None:
            self.sound.copy_until(ticks / _CLOCK)

    def _new_stream(self, width: int, height: int) -> Any:
        known = _av().codecs_available
        codec = next(codec for codec in _CODECS if codec in known)
        rate = Fraction(self.fps).limit_denominator(1001)
        stream = self.container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _CLOCK)
        if self.like is not None:  # known once the first frame has been read
            if self.like.pixel_shape != 1:
                shape = Fraction(self.like.pixel_shape).limit_denominator(255)
                stream.codec_context.sample_aspect_ratio = shape
            self.sound = _sound_of(self.like.path, self.container)
        if codec == "libx264":
            stream.options = {"crf": "23", "preset": "veryfast"}
        return stream


def _sound_of(path: Path, container: Any) -> _Sound | None:
    """The sound of a video file, to be written into a container; None without sound."""
    if not path.is_file():
        return None
    try:
        source = _av().open(str(path))
    except (_av().error.FFmpegError, OSError):  # an image, such as the first photo of a folder
        return None
    if not source.streams.audio:
        source.close()
        return None
    return _Sound(source, container)


class _Sound:
    """Copies the first audio stream of an open video; a codec that .mp4 lacks becomes AAC."""

    def __init__(self, source: Any, container: Any) -> None:
        self.source, self.container = source, container
        stream = source.streams.audio[0]
        self.copied = stream.codec_context.name in _COPIED
        if self.copied:
            copy = getattr(container, "add_stream_from_template", None)
            self.stream = copy(stream) if copy else container.add_stream(template=stream)
        else:
            self.stream = container.add_stream("aac", rate=stream.rate)
        self.packets, self.next = source.demux(stream), None
        self.ended = False

    def copy_until(self, seconds: float) -> None:
        """Copy what is heard before a time."""
        try:
            while not self.ended:
                packet = next(self.packets, None) if self.next is None else self.next
                self.next = packet
                if packet is None or packet.dts is None:
                    self.ended = True
                elif float(packet.dts * packet.time_base) >= seconds:
                    return
                else:
                    self.next = None
                    self._copy(packet)
        except _av().error.InvalidDataError as error:
            self.ended = True
            print_note(
                f"the sound of {self.source.name} is damaged ({error}); its rest is left out"
            )

    def _copy(self, packet: Any) -> None:
        if self.copied:
            packet.stream = self.stream
            self.container.mux(packet)
            return
        for frame in packet.decode():
            self.container.mux(self.stream.encode(frame))

    def finish(self) -> None:
        if not self.copied:
            self.container.mux(self.stream.encode())

    def close(self) -> None:
        self.source.close()


def _av() -> ModuleType:
    return optional("av", "video", "video needs PyAV")
