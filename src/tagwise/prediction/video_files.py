"""The files of each video of a run: `NAME.predictions.mp4` and `NAME.predictions.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.errors import UserError
from tagwise.files import read_text, whole_file
from tagwise.prediction.sources import Clip, Source
from tagwise.prediction.video_writer import video_writer
from tagwise.prediction.workers import Workers
from tagwise.results import Result
from tagwise.tasks import read_result


class VideoFiles:
    """Writes the frames of one video after another, in a thread that encodes them.

    folder: the output folder. pictures: whether to write the annotated videos.

    The files of a video appear with its last frame, when the next video begins or the run ends. If
    the run is stopped, they appear with the frames until then.
    """

    def __init__(self, folder: Path, pictures: bool) -> None:
        self.folder, self.pictures = folder, pictures
        self._worker = Workers(1, "encode")
        self._stack, self._clip = ExitStack(), None
        self._used, self._end = False, None
        self._records: tuple[Clip | None, Iterator[Any]] = (None, iter(()))

    def path(self, clip: Clip, suffix: str = "jsonl") -> Path:
        return self.folder / f"{clip.name}.predictions.{suffix}"

    def save(
        self, source: Source, result: Result, picture: Future[np.ndarray] | None
    ) -> Future[None]:
        """Write one frame soon; frames are written in the order of the calls.

        picture: the annotated frame, which may still be drawn; None without pictures.
        """
        self._used = True
        return self._worker.submit(self._save, source, result, picture)

    def _save(self, source: Source, result: Result, picture: Future[np.ndarray] | None) -> None:
        drawn = None if picture is None else picture.result()
        try:
            if source.clip is not self._clip:
                self._close()
                self._begin(source.clip)
            line = json.dumps(result.to_dict(), allow_nan=False)
            self._lines.write(f"{line}\n".encode())
            if self._add is not None and drawn is not None:
                self._add(drawn, source.time)
        except BaseException as error:  # such as a full disk: no half file appears
            stack, self._stack, self._clip = self._stack, ExitStack(), None
            stack.__exit__(type(error), error, error.__traceback__)
            raise

    def _begin(self, clip: Clip) -> None:
        self._clip, video = clip, clip.video
        self._lines = self._stack.enter_context(whole_file(self.path(clip)))
        self._add = None
        if self.pictures:
            writer = video_writer(self.path(clip, "mp4"), video.fps / video.stride, video)
            self._add = self._stack.enter_context(writer)

    def _close(self) -> None:
        stack, self._stack, self._clip = self._stack, ExitStack(), None
        stack.close()

    def finish(self) -> None:
        """Wait until all frames are written, and let the last files appear."""
        if self.release():
            self._end.result()
            self._worker.join()

    def release(self) -> bool:
        """Let the last files appear soon, without waiting; return whether there are any.

        It needs no lock, as an abandoned run requires, see `workers`.
        """
        if self._used and self._end is None:
            self._end = self._worker.submit(self._close_and_stop)
        return self._end is not None

    def _close_and_stop(self) -> None:
        try:
            self._close()
        finally:
            self._worker.stop()

    def load(self, source: Source) -> Result:
        """Read the result of a frame from the file of an earlier run, in the order of frames."""
        clip = source.clip
        path = self.path(clip)
        if self._records[0] is not clip:
            self._records = (clip, iter(read_text(path, "predictions").splitlines()))
        try:
            record = json.loads(next(self._records[1], ""))
            if record["frame"] != source.index:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} has no result of frame {source.index}; leave out --resume to start again"
            ) from None
        return read_result(record, path)
