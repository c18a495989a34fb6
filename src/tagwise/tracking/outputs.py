"""The outputs of a tracking run: tracked frames, and files of MOT rows, JSON lines and a video."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from tagwise.files import make_folder, whole_file
from tagwise.prediction.live import LiveVideo
from tagwise.prediction.video import PhotoVideo, Video
from tagwise.prediction.video_writer import video_writer
from tagwise.results import Result


@dataclass(frozen=True, eq=False)
class Tracked:
    """One frame of a video, with the instances in it.

    index: the number of the frame, from 0. time: the time of the frame in seconds.
    ids: (N,) the track id of each instance, from 1; -1 for an instance without a track.
    """

    index: int
    time: float
    result: Result
    ids: np.ndarray


class TrackFiles:
    """The files of a run: `NAME.tracks.txt`, `.jsonl` and, with `pictures`, `.mp4`.

    video: the source, from which NAME and the frame rate of the new video are taken.
    folder: the output folder; it is created if it does not exist.
    fill: the longest gap in a track, in frames, that is filled in; see `fill_gaps`.
    """

    def __init__(
        self, video: Video | PhotoVideo | LiveVideo, folder: str | Path, pictures: bool, fill: int
    ) -> None:
        self.folder, self.pictures, self._fill = make_folder(folder), pictures, fill
        self._name, self._video = video.path.resolve().stem, video

    @contextmanager
    def opened(self) -> Iterator[Callable[[Tracked, np.ndarray | None], None]]:
        """Yield a function that adds one frame, given its annotated (H, W, 3) uint8 RGB image.

        The files appear when the block ends; after an error in the block, no file appears.
        """
        rows = [np.zeros((0, 7))]
        with ExitStack() as stack:
            lines = stack.enter_context(whole_file(self._path("jsonl")))
            add_picture = None
            if self.pictures:
                path, video = self._path("mp4"), self._video
                add_picture = stack.enter_context(
                    video_writer(path, video.fps / video.stride, video)
                )

            def write(tracked: Tracked, picture: np.ndarray | None) -> None:
                rows.append(mot_rows(tracked))
                lines.write(_json_line(tracked))
                if add_picture is not None and picture is not None:
                    add_picture(picture, tracked.time)

            yield write
            _write_mot(self._path("txt"), fill_gaps(np.concatenate(rows), self._fill))

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self._name}.tracks.{suffix}"


def mot_rows(tracked: Tracked) -> np.ndarray:
    """(M, 7) frame, id, x, y, width, height and score of each instance that has a track id.

    Frames, x and y count from 1, as in the MOT challenge (Milan et al. 2016, arXiv:1603.00831).
    """
    confirmed = tracked.ids >= 0
    boxes = tracked.result.boxes[confirmed].astype(np.float64) + np.array([1, 1, 0, 0])
    frame = np.full(len(boxes), tracked.index + 1.0)
    return np.column_stack([frame, tracked.ids[confirmed], boxes, tracked.result.scores[confirmed]])


def fill_gaps(rows: np.ndarray, longest: int) -> np.ndarray:
    """Fill the gaps in tracks by linear interpolation; the new rows have score 0.

    rows: (M, 7), see `mot_rows`. longest: the longest gap that is filled in, in frames.
    Returns all rows, ordered by frame, then by id.

    >>> fill_gaps(np.array([[1, 7, 0, 0, 4, 4, 0.9], [3, 7, 2, 0, 4, 4, 0.8]]), 1)[1].tolist()
    [2.0, 7.0, 1.0, 0.0, 4.0, 4.0, 0.0]
    """
    order = np.lexsort((rows[:, 0], rows[:, 1]))
    rows = rows[order]
    parts = [rows]
    for before, after in pairwise(rows):
        gap = int(after[0] - before[0])
        if before[1] == after[1] and 1 < gap <= longest + 1:
            share = np.arange(1, gap)[:, None] / gap
            between = before + share * (after - before)
            between[:, 6] = 0
            parts.append(between)
    rows = np.concatenate(parts)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def _write_mot(path: Path, rows: np.ndarray) -> None:
    with whole_file(path) as file:
        for frame, track_id, *box, score in rows.tolist():
            cells = [str(int(frame)), str(int(track_id)), *(f"{value:.2f}" for value in box)]
            file.write(",".join([*cells, f"{score:.4f}", "-1,-1,-1\n"]).encode())


def _json_line(tracked: Tracked) -> bytes:
    record = tracked.result.to_dict()
    for instance, number in zip(record["instances"], tracked.ids.tolist()):
        instance["id"] = number if number >= 0 else None
    record = {"frame": tracked.index, "time": round(tracked.time, 4), **record}
    return (json.dumps(record) + "\n").encode()
