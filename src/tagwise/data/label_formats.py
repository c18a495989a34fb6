"""Recognition of labels of other programs that are given instead of COCO JSON."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagwise.errors import UserError
from tagwise.files import open_regular, read_json

_SNIFFED = 1 << 16  # bytes from the beginning of a file
_SIO = "convert it with `pip install sleap-io`, then `sio convert {path} -o labels.json --to coco`"
_EXPORT = "export the project from {program} as COCO instead"
_YOLO = "a folder of YOLO labels"


def describe_other_format(path: str | Path) -> str | None:
    """Describe the format of a file or folder of labels and how to convert it; None if unknown.

    Never raises an error, whatever the file contains.
    """
    path = Path(path)
    try:
        found = _folder_format(path) if path.is_dir() else _file_format(path)
    except (UserError, OSError, ValueError, RecursionError):
        return None
    if found is None:
        return None
    what, advice = found
    return f"{path} is {what}, not COCO JSON; {advice.format(path=path)}"


def _folder_format(path: Path) -> tuple[str, str] | None:
    if (path / "data.yaml").is_file() or (path / "dataset.yaml").is_file():
        return _YOLO, _SIO
    if next(path.rglob("CollectedData_*"), None):
        return "a DeepLabCut project", _SIO
    first = next(path.glob("*.txt"), None)
    if first and _is_yolo(_head(first)):
        return _YOLO, "give the folder that holds their data.yaml and " + _SIO
    if next(path.glob("*.xml"), None):
        return "a folder of XML labels", _EXPORT.format(program="the program that wrote them")
    return None


def _file_format(path: Path) -> tuple[str, str] | None:
    head = _head(path)
    if head.startswith(b"\x89HDF\r\n"):
        deeplabcut = path.name.startswith("CollectedData") or b"df_with_missing" in head
        return ("a DeepLabCut file" if deeplabcut or path.suffix == ".h5" else "a SLEAP file"), _SIO
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        return _xml_format(text)
    if text.startswith(("{", "[")):
        return _json_format(read_json(path))
    if _is_yolo(head):
        return "a file of YOLO labels", "give the folder that holds their data.yaml and " + _SIO
    rows = list(csv.reader(text.splitlines()[:4]))
    if rows and rows[0][:1] == ["scorer"]:
        return "a DeepLabCut file", _SIO
    if re.search(r"^(names|kpt_shape|nc):", text, re.MULTILINE):
        return "the description of a YOLO data set", _SIO
    return None


def _xml_format(text: str) -> tuple[str, str] | None:
    if "<annotations" in text:
        return "a CVAT file", _EXPORT.format(program="CVAT") + " (COCO Keypoints 1.0)"
    if "<annotation" in text:
        return "a Pascal VOC file", _EXPORT.format(program="the program that wrote it")
    return None


def _json_format(content: Any) -> tuple[str, str] | None:
    entry = content[0] if isinstance(content, list) and content else content
    if not isinstance(entry, Mapping):
        return None
    if {"data", "annotations"} <= entry.keys() and "images" not in entry:
        return "a Label Studio file", _SIO
    if {"shapes", "imagePath"} <= entry.keys():
        return "a labelme file", "convert it to COCO with labelme's own labelme2coco.py"
    if "_via_img_metadata" in entry or "regions" in entry:
        return "a VIA file", _EXPORT.format(program="VIA")
    if {"image_id", "score"} <= entry.keys():
        return "a file of COCO results", "give the annotations that the results belong to"
    if {"instances", "task", "model"} <= entry.keys():
        return "a prediction of tagwise", "give the annotations of the photos"
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
