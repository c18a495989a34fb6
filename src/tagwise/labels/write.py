"""Writing labels and predictions in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from tagwise.errors import UserError, unknown_name
from tagwise.labels.label_set import LabelSet
from tagwise.labels.write_coco import write_coco
from tagwise.labels.write_deeplabcut import write_deeplabcut
from tagwise.labels.write_labelstudio import write_labelstudio
from tagwise.labels.write_sleap import write_sleap
from tagwise.labels.write_tables import write_label_table
from tagwise.labels.write_yolo import write_yolo
from tagwise.results.tables import write_csv, write_parquet

Target = Literal["coco", "sleap", "deeplabcut", "yolo", "labelstudio", "csv", "parquet"]
"""The formats that `write_labels` writes."""

SUFFIXES = {"sleap": ".slp", "csv": ".csv", "parquet": ".parquet"}
"""The suffix of the formats that are one file; the others are a folder."""


def write_labels(
    found: LabelSet, to: Target, out: Path, copy: bool = True, progress: bool = False
) -> Path:
    """Write labels in a format, and return the file or folder.

    to: the format. out: the file, or the folder, see `SUFFIXES`. copy: also put the images into the
    folder. Raises UserError for what the format cannot hold, and for a name without its suffix.
    """
    if to not in get_args(Target):
        raise unknown_name("format to write:", to, get_args(Target))
    if to in SUFFIXES and out.suffix != SUFFIXES[to]:
        raise UserError(f"{out} needs the suffix {SUFFIXES[to]}; give --out NAME{SUFFIXES[to]}")
    if to not in SUFFIXES and out.is_file():
        raise UserError(f"{out} is a file, and {to} labels are a folder; give another --out")
    if to == "sleap":
        return write_sleap(found, out, progress)
    if to == "csv":
        return write_label_table(found, out, write_csv)
    if to == "parquet":
        return write_label_table(found, out, write_parquet)
    if to == "coco":
        return write_coco(found, out, copy, progress).annotations
    writers = {
        "deeplabcut": write_deeplabcut,
        "yolo": write_yolo,
        "labelstudio": write_labelstudio,
    }
    return writers[to](found, out, copy, progress)
