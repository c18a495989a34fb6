"""Cameras and videos at addresses: read in a thread, and opened again when they stop.

Of a camera or a live stream, the newest frame is taken, and frames that arrive while the network
is busy are left out. Of a video at an http address, no frame is left out.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path, PurePosixPath
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic
from typing import Any
from urllib.parse import unquote, urlsplit

from tagwise.console.interrupts import stop_requested
from tagwise.console.streams import print_note
from tagwise.errors import UserError, optional
from tagwise.files import is_address
from tagwise.prediction.video import SUFFIXES, Frame, frames_per_second, upright

_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "rtp", "srt", "tcp")  # schemes of live streams
_WAITS = (0.5, 2.0, 5.0)  # seconds before each attempt to open a source again
_TIMEOUT = 10.0  # seconds to open a source, and between two frames
_POLL = 0.2  # seconds between two looks whether the user stopped the program


def is_live(source: Any) -> bool:
    """Whether a source is a camera ("0", 0), a stream, or the address of a video file."""
    if isinstance(source, bool):
        return False
    if isinstance(source, int) or (isinstance(source, str) and source.isdecimal()):
        return True
    if not is_address(source):
        return False
    parts = urlsplit(source)
    suffix = PurePosixPath(parts.path).suffix.lower()
    return parts.scheme.lower() in _LIVE or suffix in SUFFIXES or suffix == ".m3u8"


class LiveVideo:
    """The frames of a camera, a stream, or a video at an address; can be iterated once.

    source: the number of a camera, 0 is the first, or an address. stride: yield every Nth frame.
    fps, pixel_shape: as in `Video`. frames: None, since the number is unknown. broken: 1 if the
    source stopped and could not be opened again.

    A source that stops, or sends nothing for 10 s, is opened again, up to three times in a row;
    then a line on stderr says so, and the frames end. Raises UserError if it cannot be opened at
    first, such as for a camera that another program uses.
    """

    frames, unit = None, "sources that stopped"

    def __init__(self, source: int | str, stride: int = 1) -> None:
        self.source, self.stride, self.broken = str(source), stride, 0
        self.camera = self.source.isdecimal()
        scheme = urlsplit(self.source).scheme.lower()
        self.live = self.camera or scheme in _LIVE or self.source.lower().endswith(".m3u8")
        self.path = Path(self._name())
        self._container = self._open()
        stream = self._container.streams.video[0]
        self.fps = frames_per_second(self._container, stream) if not self.live else _rate(stream)
        self.pixel_shape = Fraction(stream.sample_aspect_ratio or 1)

    def __iter__(self) -> Iterator[Frame]:
        reader = _Reader(self)
        reader.thread.start()
        turned_once = False
        try:
            for index, (time, frame) in enumerate(reader.frames()):
                if index % self.stride:
                    continue
                image, turned = upright(frame)
                if turned and not turned_once:
                    self.pixel_shape = 1 / self.pixel_shape
                turned_once = turned_once or turned
                yield Frame(index, time, image)
        finally:
            reader.stop.set()
        if reader.reason is not None:
            self.broken = 1
            print_note(
                f"{self} stopped ({reader.reason}) and could not be opened again in "
                f"{len(_WAITS)} attempts; everything until then is complete"
            )

    def __str__(self) -> str:
        return f"camera {self.source}" if self.camera else self.source

    def _name(self) -> str:
        if self.camera:
            return f"camera-{self.source}"
        parts = urlsplit(self.source)
        stem = PurePosixPath(unquote(parts.path)).stem or parts.hostname or "stream"
        return re.sub(r"[^\w.-]+", "_", stem).lstrip(".") or "stream"

    def take_container(self) -> Any:
        """The container that was opened first, once; afterwards a new one."""
        container, self._container = self._container, None
        return container or self._open()

    def _open(self) -> Any:
        """Open the source. Raises UserError that says what to do."""
        av = optional("av", "video", "video needs PyAV")
        name, kind = _device(self.source) if self.camera else (self.source, None)
        try:
            container = open_input(name, kind)
        except (av.error.FFmpegError, OSError) as error:
            raise UserError(_why_not_opened(self, error)) from error
        if not container.streams.video:
            container.close()
            raise UserError(f"{self} has no video stream; give a video")
        return container


class _Reader:
    """Reads the frames of a source in a thread, at most a few ahead.

    reason: why the source stopped for good; None while it runs, and at the end of a file.
    """

    def __init__(self, video: LiveVideo) -> None:
        self.video, self.stop, self.reason = video, Event(), None
        self._queue: Queue[tuple[float, Any] | None] = Queue(1 if video.live else 4)
        self._start: float | None = None
        self._last = -1.0  # time of the last frame of a file
        self.thread = Thread(target=self._run, name="read live", daemon=True)

    def frames(self) -> Iterator[tuple[float, Any]]:
        """Yield times in seconds and decoded frames, until the source ends or stalls for good."""
        patience = sum(_WAITS) + _TIMEOUT * (len(_WAITS) + 2)
        heard = monotonic()
        while not stop_requested():
            try:
                entry = self._queue.get(timeout=_POLL)
            except Empty:
                if monotonic() - heard > patience:
                    self.reason = f"no frame for {patience:.0f} s"
                    return
                continue
            if entry is None:
                return
            heard = monotonic()
            yield entry

    def _run(self) -> None:
        tries = 0
        while not self.stop.is_set():
            got, reason = self._read()
            tries = 0 if got else tries
            if reason is None or self.stop.is_set():
                break
            if tries == len(_WAITS):
                self.reason = reason
                break
            if self.stop.wait(_WAITS[tries]):
                break
            tries += 1
        self._put(None, keep=True)

    def _read(self) -> tuple[bool, str | None]:
        """Read until the source stops; return whether a frame came, and why it stopped.

        The reason is None at the end of a file.
        """
        got, seconds = False, 0.0
        try:
            with self.video.take_container() as container:
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                seconds = (container.duration or 0) / 1e6
                for frame in container.decode(stream):
                    if self.stop.is_set():
                        return got, None
                    if self._pass_on(frame):
                        got = True
        except UserError as error:
            return got, str(error)
        except Exception as error:  # PyAV raises errors of several kinds
            return got, str(getattr(error, "strerror", None) or error)
        if self.video.live:
            return got, "it sends no more frames"
        complete = self._last >= seconds - 1.5 / self.video.fps - 0.5
        return got, None if complete else "it was cut off"

    def _pass_on(self, frame: Any) -> bool:
        """Put a frame into the queue; False for one of a file that was put before."""
        if self.video.live:
            now = monotonic()
            self._start = now if self._start is None else self._start
            self._put((now - self._start, frame))
            return True
        time = self._last + 1 / self.video.fps if frame.time is None else frame.time
        if time <= self._last:
            return False
        self._last = time
        self._put((time, frame), keep=True)
        return True

    def _put(self, entry: tuple[float, Any] | None, keep: bool = False) -> None:
        """Put an entry in place of the one that waits, or with `keep` once there is room."""
        while not self.stop.is_set():
            if not keep:
                with suppress(Empty):
                    self._queue.get_nowait()
            with suppress(Full):
                self._queue.put(entry, timeout=_POLL)
                return


def open_input(name: str, kind: str | None) -> Any:
    """Open an input of FFmpeg; kind: the input format, None to recognise it."""
    av = optional("av", "video", "video needs PyAV")
    options = {"rtsp_transport": "tcp"} if name.lower().startswith("rtsp") else {}
    return av.open(name, format=kind, options=options, timeout=_TIMEOUT)


def _device(number: str) -> tuple[str, str]:
    """The name of a camera for FFmpeg on this system, and its input format."""
    if sys.platform == "darwin":
        return number, "avfoundation"
    if sys.platform == "win32":
        raise UserError("on Windows, cameras have no numbers for FFmpeg; give a stream (rtsp://)")
    return f"/dev/video{number}", "v4l2"


def _why_not_opened(video: LiveVideo, error: OSError) -> str:
    if not video.camera:
        return f"cannot open {video} ({error.strerror or error}); check the address"
    if error.errno == errno.EBUSY:
        return f"{video} is used by another program; close that program"
    if error.errno == errno.EACCES:
        return f"{video} must not be read by this user; on Linux, add it to the group `video`"
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no {video}; connect one, or give another number"
    return f"cannot open {video} ({error.strerror or error}); try another number"


def _rate(stream: Any) -> float:
    """Frames per second that a live stream states, if they are plausible."""
    stated = float(stream.average_rate or stream.guessed_rate or 25)
    return stated if 1 <= stated <= 240 else 25.0
