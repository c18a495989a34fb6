"""A tracking run: the frames of a video one by one, with ids that persist from frame to frame."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import tee
from pathlib import Path

from tqdm import tqdm

from tagwise.console.interrupts import Interrupted, stoppable
from tagwise.plot import TrackPainter
from tagwise.plot.window import Window
from tagwise.prediction.live import LiveVideo
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.video import Frame, PhotoVideo, Video
from tagwise.tracking.outputs import Tracked, TrackFiles
from tagwise.tracking.tracker import Tracker


class TrackRun(Iterator[Tracked]):
    """An iterator over the tracked frames of a video, which also writes their files if asked to.

    frames, tracks: number of frames and of tracks so far.
    """

    def __init__(
        self,
        video: Video | PhotoVideo | LiveVideo,
        predictor: Predictor,
        tracker: Tracker,
        files: TrackFiles | None,
        progress: bool,
        window: Window | None = None,
    ) -> None:
        self.tracks = self.frames = 0
        self._video, self._predictor, self._tracker = video, predictor, tracker
        self._files, self._progress, self._window = files, progress, window
        self._draws = window is not None or (files is not None and files.pictures)
        self._stopped: Interrupted | None = None
        self._results = self._run()

    def __next__(self) -> Tracked:
        return next(self._results)

    def close(self) -> None:
        """Stop the run; nothing is written."""
        self._results.close()

    def finish(self) -> str:
        """Track all remaining frames, and return a summary in one line."""
        for _ in self:
            pass
        text = f"{self.frames} frames, {self.tracks} tracks"
        if self._video.broken:
            text += f", {self._video.unit}: {self._video.broken}"
        return f"{text}; results are in {self._files.folder}" if self._files else text

    @property
    def exit_code(self) -> int:
        """The exit code of a command: 0, or 1 if parts of the video could not be decoded."""
        return 1 if self._video.broken else 0

    def _run(self) -> Generator[Tracked, None, None]:
        ahead, inline = tee(self._video)
        results = self._predictor.stream(frame.image for frame in ahead)
        bar = tqdm(
            inline,
            total=self._video.frames,
            unit="frame",
            disable=None if self._progress else True,
            file=sys.stderr,
        )
        painter = TrackPainter(max(2, round(self._video.fps / self._video.stride)))
        with self._files.opened() if self._files else nullcontext() as write:
            for frame in self._until_stopped(bar):
                result = replace(
                    next(results),
                    file=str(frame.file or self._name),
                    frame=frame.index,
                    time=frame.time,
                )
                ids = self._tracker.update(result)
                self.frames, self.tracks = self.frames + 1, max(self.tracks, *ids.tolist(), 0)
                tracked = Tracked(frame.index, frame.time, result, ids)
                picture = painter.draw(frame.image, result, ids) if self._draws else None
                if write is not None:
                    write(tracked, picture)
                if self._window is not None:
                    self._window.show(picture)
                yield tracked
                if self._window is not None and self._window.closed:
                    break
        if self._stopped is not None:
            raise self._stopped

    @property
    def _name(self) -> Path | str:
        """What results call the video."""
        return str(self._video) if isinstance(self._video, LiveVideo) else self._video.path

    def _until_stopped(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames; for a camera or stream, Ctrl-C ends them, so that the files are completed."""
        try:
            yield from stoppable(frames)
        except Interrupted as error:
            if not isinstance(self._video, LiveVideo):
                raise
            self._stopped = error
