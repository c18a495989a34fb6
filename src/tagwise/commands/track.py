"""Identity through a video: `tagwise track` and what it writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise, tee
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from tagwise.errors import UserError
from tagwise.files import whole_file
from tagwise.plot import TrackPainter
from tagwise.prediction.outputs import make_folder
from tagwise.prediction.predictor import Precision, Predictor
from tagwise.prediction.video import PhotoVideo, Video, open_video, video_writer
from tagwise.results import Result
from tagwise.runtime import keep_freed_memory
from tagwise.tracking.tracker import Tracker, TrackSettings

__all__ = ["TrackRun", "TrackSettings", "Tracked", "Tracker", "fill_gaps", "track"]


@dataclass(frozen=True, eq=False)
class Tracked:
    """One frame: its number from 0, its time in seconds, its instances, and their ids (N,).

    An id is that of the track, from 1 on, or -1 for an instance of none.
    """

    index: int
    time: float
    result: Result
    ids: np.ndarray


def track(
    source: str | Path,
    weights: str | Path | nn.Module = "people",
    *,
    out: str | Path | None = None,
    threshold: float | None = None,
    settings: TrackSettings | None = None,
    fill: int = 0,
    device: str | torch.device = "auto",
    size: int | tuple[int, int] | None = None,
    flip: bool = False,
    batch_size: int | None = None,
    precision: Precision = "auto",
    pictures: bool = True,
    progress: bool = False,
) -> TrackRun:
    """The instances of a video's frames with ids that stay, as a lazy iterator of `Tracked`.

    source: a video, or a folder of photos in the order of their names.
    weights, device, size, flip, batch_size, precision: see `Predictor`.
    out: folder for `NAME.tracks.txt` (rows of the MOT challenge: frame and id from 1, the box as x,
        y of its first pixel, which is 1, width and height, score, -1, -1, -1),
        `NAME.tracks.jsonl` (a frame a line, as `predict` writes photos, with ids) and, with
        `pictures`, `NAME.tracks.mp4`. They appear when all is done. None writes nothing.
    threshold: score from which an instance may start a track; half of it is enough to go on with
        one. By default the model's own, see `Predictor`.
    settings: how to track, in place of the defaults; its scores count only without `threshold`.
    fill: rows of a track that was unseen for up to so many frames are filled in by straight lines.
    progress: show a bar.

    Raises UserError for videos, weights, devices and folders that do not work.

    >>> for frame in track("clip.mp4"):  # doctest: +SKIP
    ...     print(frame.time, frame.ids, frame.result.boxes)
    """
    if fill < 0:
        raise UserError(f"fill is {fill} frames; use 0 or more")
    video = open_video(source)
    keep_freed_memory()
    predictor = Predictor(
        weights,
        device=device,
        size=size,
        flip=flip,
        threshold=threshold,
        batch_size=batch_size,
        precision=precision,
    )
    if settings is None or threshold is not None:
        high = predictor.threshold
        settings = replace(settings or TrackSettings(), high=high, low=high / 2)
    predictor.threshold = settings.low
    files = None if out is None else _Files(video, make_folder(out), pictures, fill)
    return TrackRun(video, predictor, Tracker(settings), files, progress)


class TrackRun(Iterator[Tracked]):
    """The iterator that `track` returns. tracks: how many there are so far; frames: likewise."""

    def __init__(
        self,
        video: Video | PhotoVideo,
        predictor: Predictor,
        tracker: Tracker,
        files: _Files | None,
        progress: bool,
    ) -> None:
        self.tracks = self.frames = 0
        self._video, self._predictor, self._tracker = video, predictor, tracker
        self._files, self._progress = files, progress
        self._results = self._run()

    def __next__(self) -> Tracked:
        return next(self._results)

    def close(self) -> None:
        """Stop here; nothing is written."""
        self._results.close()

    def finish(self) -> str:
        """Go through all that is left, and say in a line what was done."""
        for _ in self:
            pass
        text = f"{self.frames} frames, {self.tracks} tracks"
        if self._video.broken:
            text += f", {self._video.broken} parts of the video could not be decoded"
        return f"{text}; results are in {self._files.folder}" if self._files else text

    @property
    def exit_code(self) -> int:
        """For a command line: 0, or 1 if parts of the video could not be decoded."""
        return 1 if self._video.broken else 0

    def _run(self) -> Iterator[Tracked]:
        ahead, inline = tee(self._video)
        results = self._predictor.stream(frame.image for frame in ahead)
        bar = tqdm(
            inline,
            total=self._video.frames,
            unit="frame",
            disable=None if self._progress else True,
            file=sys.stderr,
        )
        with ExitStack() as stack:
            write = self._files.opened(stack) if self._files else None
            for frame in bar:
                result = replace(next(results), file=str(self._video.path))
                ids = self._tracker.update(result)
                self.frames, self.tracks = self.frames + 1, max(self.tracks, *ids, 0)
                tracked = Tracked(frame.index, frame.time, result, ids)
                if write is not None:
                    write(tracked, frame.image)
                yield tracked
            if self._files:
                self._files.finish()


class _Files:
    """What a run leaves behind: rows, JSON lines and the annotated video."""

    def __init__(self, video: Video | PhotoVideo, folder: Path, pictures: bool, fill: int) -> None:
        self.folder, self._pictures, self._fill = folder, pictures, fill
        self._name, self._fps = video.path.resolve().stem, video.fps
        self._rows: list[np.ndarray] = []

    def opened(self, stack: ExitStack) -> Callable[[Tracked, np.ndarray], None]:
        """A function that adds a frame to files that appear when the stack unwinds well."""
        lines = stack.enter_context(whole_file(self._path("jsonl")))
        show = None
        if self._pictures:
            show = stack.enter_context(video_writer(self._path("mp4"), self._fps))
            painter = TrackPainter(max(2, round(self._fps)))

        def write(tracked: Tracked, image: np.ndarray) -> None:
            self._rows.append(mot_rows(tracked))
            lines.write(_json_line(tracked))
            if show is not None:
                show(painter.draw(image, tracked.result, tracked.ids))

        return write

    def finish(self) -> None:
        rows = fill_gaps(np.concatenate(self._rows), self._fill)
        with whole_file(self._path("txt")) as file:
            for frame, track_id, *box, score in rows.tolist():
                cells = [str(int(frame)), str(int(track_id)), *(f"{v:.2f}" for v in box)]
                file.write(",".join([*cells, f"{score:.4f}", "-1,-1,-1\n"]).encode())

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self._name}.tracks.{suffix}"


def mot_rows(tracked: Tracked) -> np.ndarray:
    """(M, 7) frame, id, x, y, width, height, score of the instances that have an id.

    Frames, x and y count from 1, as the MOT challenge has it (Milan et al. 2016, arXiv:1603.00831).
    """
    shown = tracked.ids >= 0
    boxes = tracked.result.boxes[shown].astype(np.float64) + np.array([1, 1, 0, 0])
    frame = np.full(len(boxes), tracked.index + 1.0)
    return np.column_stack([frame, tracked.ids[shown], boxes, tracked.result.scores[shown]])


def fill_gaps(rows: np.ndarray, longest: int) -> np.ndarray:
    """The same rows, by frame, and those of frames between on straight lines, with score 0.

    rows: (M, 7) as `mot_rows` gives them. longest: frames unseen that are filled in.

    >>> fill_gaps(np.array([[1, 7, 0, 0, 4, 4, 0.9], [3, 7, 2, 0, 4, 4, 0.8]]), 1)[1].tolist()
    [2.0, 7.0, 1.0, 0.0, 4.0, 4.0, 0.0]
    """
    order = np.lexsort((rows[:, 0], rows[:, 1]))
    rows = rows[order]
    made = [rows]
    for before, after in pairwise(rows):
        gap = int(after[0] - before[0])
        if before[1] == after[1] and 1 < gap <= longest + 1:
            share = np.arange(1, gap)[:, None] / gap
            between = before + share * (after - before)
            between[:, 6] = 0
            made.append(between)
    rows = np.concatenate(made)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def _json_line(tracked: Tracked) -> bytes:
    record = tracked.result.to_dict()
    for instance, number in zip(record["instances"], tracked.ids.tolist()):
        instance["id"] = number if number >= 0 else None
    record = {"frame": tracked.index, "time": round(tracked.time, 4), **record}
    return (json.dumps(record) + "\n").encode()
