"""The output files of a prediction run over many photos, written completely or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.files import append_line, make_folder, read_json, trim_lines, whole_file
from tagwise.prediction.sources import Clip, Source
from tagwise.prediction.video_files import VideoFiles
from tagwise.results import Result
from tagwise.results.pictures import encode_jpeg
from tagwise.tasks import Task, read_result

_JOURNAL = ".tagwise-predict.jsonl"


class Predictions:
    """The output files of a run: `NAME.predictions.json` and `.jpg`, and a journal.

    A video has one `NAME.predictions.jsonl` and `.mp4`, unless `frames` asks for those of photos
    for each frame. The journal lists the photos and the videos whose files are complete.

    folder: the output folder. pictures: whether to draw the results on the photos.
    frames: whether frames of videos have files of their own.
    settings: everything that the results depend on; a run can be resumed only with equal settings.
    resume: skip the photos that the journal lists; otherwise start a new journal.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: dict[str, Any],
        pictures: bool,
        resume: bool,
        frames: bool = False,
    ) -> None:
        self.folder, self.pictures = make_folder(folder), pictures
        self.videos = None if frames else VideoFiles(self.folder, pictures)
        self.path = self.folder / _JOURNAL
        self._done: dict[str, Any] = {}
        self._video: Source | None = None  # a frame of the video that is being written
        if resume and self.path.exists():
            self._read(settings)
        else:
            with whole_file(self.path) as file:
                file.write(_line({"settings": settings}))

    def _read(self, settings: dict[str, Any]) -> None:
        entries, damaged = trim_lines(self.path)
        before = entries[0].get("settings") if entries else None
        if not isinstance(before, dict):
            raise UserError(
                f"{self.path} is damaged: its first line does not contain the settings of the "
                "run; leave out --resume to start again"
            )
        now = json.loads(json.dumps(settings))
        changes = [
            f"{k} was {brief(before.get(k), 200)}, is now {brief(now[k], 200)}"
            for k in now
            if now[k] != before.get(k)
        ]
        if changes:
            raise UserError(
                f"{self.folder} was made with other settings ({'; '.join(changes)}); use the same "
                "settings or another --out, or leave out --resume to start again"
            )
        for entry in entries[1:]:
            if isinstance(entry.get("name"), str):
                self._done[entry["name"]] = entry.get("source")
        if damaged:
            print(
                f"tagwise: {self.path} had {len(damaged)} damaged line(s), the first in line "
                f"{damaged[0]}; their photos are processed again",
                file=sys.stderr,
            )

    def json_path(self, source: Source) -> Path:
        return self.folder / f"{source.name}.predictions.json"

    def is_done(self, source: Source) -> bool:
        """Whether an earlier run wrote the files of this photo, and the photo has not changed."""
        clip = self.clip_of(source)
        name, path = source.name, self.json_path(source)
        if clip is not None:
            name, path = clip.name, self.videos.path(clip)
        state = self._done.get(name)
        return state is not None and state == self._state(source) and path.exists()

    def clip_of(self, source: Source) -> Clip | None:
        """The video whose files hold the result; None for one that has files of its own."""
        return None if self.videos is None else source.clip

    def _state(self, source: Source) -> Any:
        """What the journal says of a photo; for a frame, what it says of the video."""
        state = source.state()
        return state if state is None or self.clip_of(source) is None else state[:3]

    def load(self, source: Source) -> Result:
        """Read the result of an earlier run for this photo."""
        if self.clip_of(source) is not None:
            return self.videos.load(source)
        path = self.json_path(source)
        return read_result(read_json(path), path)

    def save(self, source: Source, result: Result, image: np.ndarray) -> None:
        """Write the files of one photo; several threads may do this at the same time."""
        path = self.json_path(source)
        if self.pictures:
            with whole_file(path.with_suffix(".jpg")) as file:
                file.write(encode_jpeg(result.draw(image)))
        with whole_file(path) as file:
            file.write(_line(result.to_dict()))

    def record(self, source: Source) -> None:
        """List a photo in the journal, once its files are complete.

        A video is listed once the first frame of the next one is given, or at the end.
        """
        clip, before = self.clip_of(source), self._video
        if clip is None:
            append_line(self.path, {"name": source.name, "source": source.state()})
            return
        self._video = source
        if before is not None and before.clip is not clip:
            self._record_video(before)

    def finish(self, complete: bool) -> None:
        """Let the files of the last video appear; complete: whether it was read to its end."""
        if self.videos is not None:
            self.videos.finish()
        if complete and self._video is not None:
            self._record_video(self._video)
        self._video = None

    def _record_video(self, frame: Source) -> None:
        append_line(self.path, {"name": frame.clip.name, "source": self._state(frame)})


class CocoResults:
    """One COCO results file for a dataset, written row by row to keep memory small.

    task: the model's task, which reads the labels and creates the rows.
    annotations: the COCO JSON of the dataset; the image id of a photo is looked up by file name.
    file: the output, open for writing bytes; call `finish` at the end.
    unknown: photos that are not in the dataset. problems: the problems of the dataset.
    """

    def __init__(self, task: Task, annotations: str | Path, file: BinaryIO) -> None:
        labels = task.read_labels(Path(annotations))
        self._to_rows = task.rows(labels)
        self._ids: dict[str, list[tuple[str, Any]]] = {}
        for image in labels.images:
            name = image.file.replace("\\", "/")
            self._ids.setdefault(Path(name).name, []).append((name, image.image_id))
        self._file, self._count = file, 0
        self.unknown: list[str] = []
        self.problems = labels.problems

    def image_id(self, file: str) -> Any:
        """The image id of a photo, or None if it is unknown or ambiguous.

        If several images have the same file name, the folders in their names decide.
        """
        candidates = self._ids.get(Path(file).name, [])
        if len(candidates) == 1:
            return candidates[0][1]
        full = "/" + Path(file).as_posix()
        matches = [number for name, number in candidates if full.endswith("/" + name.lstrip("/"))]
        return matches[0] if len(matches) == 1 else None

    def add(self, result: Result) -> None:
        image_id = self.image_id(result.file or "")
        if image_id is None:
            self.unknown.append(result.file or "an image without a name")
            return
        for row in self._to_rows(result, image_id):
            self._file.write(b",\n" if self._count else b"[")
            self._file.write(json.dumps(row, allow_nan=False).encode())
            self._count += 1

    def finish(self) -> None:
        self._file.write(b"]\n" if self._count else b"[]\n")


def _line(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
