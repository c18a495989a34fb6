"""Files that appear whole or not at all, and what a run over many photos leaves behind."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.files import append_line, make_folder, read_json, trim_lines, whole_file
from tagwise.prediction.sources import Source
from tagwise.results import Result
from tagwise.tasks import Task, read_result

_JOURNAL = ".tagwise-predict.jsonl"


class Predictions:
    """The files of a run: `NAME.predictions.json` and `.jpg`, and a journal of those done.

    folder: where they go. pictures: whether to draw.
    settings: all that results depend on; a run is only resumed under the same.
    resume: keep what the journal says is done; else the journal starts anew.
    """

    def __init__(
        self, folder: str | Path, settings: dict[str, Any], pictures: bool, resume: bool
    ) -> None:
        self.folder, self.pictures = make_folder(folder), pictures
        self.path = self.folder / _JOURNAL
        self._done: dict[str, Any] = {}
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
                f"{self.path} is damaged: its first line does not say with which settings the "
                "results were made; leave out --resume to start again"
            )
        now = json.loads(json.dumps(settings))
        other = [
            f"{k} {brief(before.get(k), 200)} then, {brief(now[k], 200)} now"
            for k in now
            if now[k] != before.get(k)
        ]
        if other:
            raise UserError(
                f"{self.folder} was made with other settings ({'; '.join(other)}); use those, "
                "another --out, or leave out --resume to start again"
            )
        for entry in entries[1:]:
            if isinstance(entry.get("name"), str):
                self._done[entry["name"]] = entry.get("source")
        if damaged:
            print(
                f"tagwise: {self.path} had {len(damaged)} damaged line(s), number {damaged[0]} "
                "first; their photos are done again",
                file=sys.stderr,
            )

    def json_path(self, source: Source) -> Path:
        return self.folder / f"{source.name}.predictions.json"

    def is_done(self, source: Source) -> bool:
        """Whether an earlier run wrote this photo's files, and the photo is still the same."""
        seen = self._done.get(source.name)
        return seen is not None and seen == source.state() and self.json_path(source).exists()

    def load(self, source: Source) -> Result:
        """What an earlier run found in this photo."""
        path = self.json_path(source)
        return read_result(read_json(path), path)

    def save(self, source: Source, result: Result, image: np.ndarray) -> None:
        """Write the files of one photo. The journal comes last: it says that all is there."""
        path = self.json_path(source)
        if self.pictures:
            with whole_file(path.with_suffix(".jpg")) as file:
                file.write(encode_jpeg(result.plot(image)))
        with whole_file(path) as file:
            file.write(_line(result.to_dict()))
        append_line(self.path, {"name": source.name, "source": source.state()})


class CocoResults:
    """One COCO results file for a whole set, written row by row so that memory stays small.

    task: of the model; it reads the labels and makes the rows. annotations: the set's JSON; photos
        find their image id by file name.
    file: where the rows go, open for writing; `finish` ends it.
    unknown: photos that are not among the images of the set. problems: what is wrong with it.
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
        """The id of a photo, or None; folders in the names decide between photos of one name."""
        same = self._ids.get(Path(file).name, [])
        if len(same) == 1:
            return same[0][1]
        full = "/" + Path(file).as_posix()
        fits = [number for name, number in same if full.endswith("/" + name.lstrip("/"))]
        return fits[0] if len(fits) == 1 else None

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


def encode_jpeg(picture: Any, quality: int = 92) -> bytes:
    """A Pillow image as the bytes of a JPEG file."""
    import cv2

    bgr = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_picture(picture: Any, path: str | Path) -> Path:
    """Write a matplotlib figure, a Pillow image or an (H, W, 3) uint8 RGB array, whole.

    Raises UserError where the file cannot be written, or has a suffix of no picture.
    """
    from PIL import Image

    path = Path(path)
    kind = path.suffix.lower().lstrip(".") or "png"
    data = io.BytesIO()
    try:
        if hasattr(picture, "savefig"):
            picture.savefig(data, format=kind, dpi=150)
        else:
            picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            picture.save(data, format="jpeg" if kind == "jpg" else kind)
    except (KeyError, ValueError) as error:
        raise UserError(f"cannot write a {path.suffix} picture ({error}); use .png") from error
    with whole_file(path) as file:
        file.write(data.getvalue())
    return path


def _line(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
