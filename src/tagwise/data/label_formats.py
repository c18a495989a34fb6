"""Recognition of the formats of labels by the content of files and folders."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagwise.data.images import SUFFIXES
from tagwise.errors import UserError
from tagwise.files import open_regular, read_json

_SNIFFED = 1 << 16  # bytes from the beginning of a file

FORMATS = {
    "coco": "a COCO file",
    "sleap": "a SLEAP file",
    "deeplabcut": "a DeepLabCut file",
    "deeplabcut project": "a DeepLabCut project",
    "labelstudio": "a Label Studio file",
    "yolo": "a folder of YOLO labels",
    "yolo file": "a file of YOLO labels",
    "yolo description": "the description of a YOLO data set",
    "cvat": "a CVAT file",
    "voc": "a Pascal VOC file",
    "voc folder": "a folder of Pascal VOC labels",
    "xml folder": "a folder of XML labels",
    "labelme": "a labelme file",
    "labelme folder": "a folder of labelme files",
    "via": "a VIA file",
    "results": "a file of COCO results",
    "prediction": "a prediction of tagwise",
    "prediction folder": "a folder of predictions of tagwise",
    "tracks": "tracks of tagwise",
    "label maps": "a folder of label maps",
}
"""The known formats, and what a user calls a file or folder of each."""

_VIA = "export the project from VIA as COCO instead"
_RESULTS = "give the annotations that the results belong to"
_PREDICTION = "give the annotations of the photos"
_CONVERT = "convert it with `tagwise convert {path} --out FOLDER`"
_ADVICE = {
    "via": _VIA,
    "results": _RESULTS,
    "prediction": _PREDICTION,
    "prediction folder": _PREDICTION,
    "tracks": _PREDICTION,
    "xml folder": "give one of its files to `tagwise convert`",
    "yolo file": "give the folder that holds its data.yaml: `tagwise convert FOLDER`",
}


def describe_other_format(path: str | Path) -> str | None:
    """Describe the format of a file or folder of labels and how to convert it; None if unknown.

    Never raises an error, whatever the file contains.
    """
    key = recognise_labels(path)
    if key in (None, "coco", "label maps"):
        return None
    return f"{path} is {FORMATS[key]}, not COCO JSON; {advice_for(key, path)}"


def advice_for(key: str, path: str | Path) -> str:
    """What to do with a file or folder of a known format where COCO JSON is needed."""
    return _ADVICE.get(key, _CONVERT).format(path=path)


def recognise_labels(path: str | Path) -> str | None:
    """Recognise the format of a file or folder by its content: a key of `FORMATS`, or None.

    Never raises an error, whatever the file contains.
    """
    path = Path(path)
    try:
        return _folder_format(path) if path.is_dir() else _file_format(path)
    except (UserError, OSError, ValueError, RecursionError):
        return None


def _folder_format(path: Path) -> str | None:
    if (path / "data.yaml").is_file() or (path / "dataset.yaml").is_file():
        return "yolo"
    if next(path.rglob("CollectedData_*"), None):
        return "deeplabcut project"
    first = next(iter(sorted(path.rglob("*.predictions.json*"))), None)
    if first:
        return "prediction folder"
    first = next(path.glob("*.txt"), None) or next((path / "labels").rglob("*.txt"), None)
    if first and _is_yolo(_head(first)):
        return "yolo"
    first = next(path.rglob("*.xml"), None)
    if first:
        return "voc folder" if _file_format(first) == "voc" else "xml folder"
    first = next(path.rglob("*.json"), None)
    if first and _file_format(first) == "labelme":
        return "labelme folder"
    return "label maps" if _has_label_maps(path) else None


def _has_label_maps(path: Path) -> bool:
    return any(file.suffix.lower() in SUFFIXES for file in path.iterdir())


def _file_format(path: Path) -> str | None:
    head = _head(path)
    if head.startswith(b"\x89HDF\r\n"):
        deeplabcut = path.name.startswith("CollectedData") or b"df_with_missing" in head
        return "deeplabcut" if deeplabcut or path.suffix == ".h5" else "sleap"
    if b"\0" in head:
        return None
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        return _xml_format(text)
    if path.suffix == ".jsonl" and re.match(r'\{"frame": ?\d', text):
        return "tracks"
    if text.startswith(("{", "[")):
        return _json_format(read_json(path))
    if _is_yolo(head):
        return "yolo file"
    rows = list(csv.reader(text.splitlines()[:4]))
    if rows and rows[0][:1] == ["scorer"]:
        return "deeplabcut"
    if re.search(r"^(names|kpt_shape|nc):", text, re.MULTILINE):
        return "yolo description"
    if "video_sets:" in text and "bodyparts:" in text:
        return "deeplabcut project"
    return None


def _xml_format(text: str) -> str | None:
    if "<annotations" in text:
        return "cvat"
    return "voc" if "<annotation" in text else None


def _json_format(content: Any) -> str | None:
    entry = content[0] if isinstance(content, list) and content else content
    if not isinstance(entry, Mapping):
        return None
    keys = entry.keys()
    if {"images", "annotations"} <= keys and isinstance(content, Mapping):
        return "coco"
    if "data" in keys and ({"annotations", "completions", "predictions"} & keys):
        return "labelstudio"
    if {"shapes", "imagePath"} <= keys:
        return "labelme"
    if "_via_img_metadata" in keys or "regions" in keys:
        return "via"
    if {"image_id", "score"} <= keys:
        return "results"
    if {"instances", "task", "model"} <= keys:
        return "prediction"
    return None


def _head(path: Path) -> bytes:
    with open_regular(path, "labels") as file:
        return file.read(_SNIFFED)


def _is_yolo(head: bytes) -> bool:
    """Whether the lines are a class number and at least four numbers, all but one from 0 to 1."""
    lines = head.decode("ascii", errors="replace").splitlines()[:20]
    rows = [line.split() for line in lines if line.strip()]
    try:
        return bool(rows) and all(
            row[0].isdigit() and len(row) >= 5 and all(0 <= float(x) <= 1 for x in row[1:5])
            for row in rows
        )
    except ValueError:
        return False
