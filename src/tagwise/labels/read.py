"""Reading labels of any known format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tagwise.data.label_formats import FORMATS, advice_for, recognise_labels
from tagwise.errors import UserError
from tagwise.files import SNIFFED, kind_of, open_regular, read_json
from tagwise.labels.coco import read_coco_labels
from tagwise.labels.cvat import read_cvat
from tagwise.labels.deeplabcut import read_deeplabcut, read_deeplabcut_project
from tagwise.labels.label_set import LabelSet
from tagwise.labels.labelme import read_labelme
from tagwise.labels.labelstudio import read_labelstudio
from tagwise.labels.maps import read_label_maps
from tagwise.labels.predictions import read_predictions, read_results, read_tracks
from tagwise.labels.sleap import quiet, read_sleap
from tagwise.labels.voc import read_voc
from tagwise.labels.yolo import read_yolo

READERS: dict[str, Callable[..., LabelSet]] = {
    "coco": read_coco_labels,
    "sleap": read_sleap,
    "deeplabcut": read_deeplabcut,
    "deeplabcut project": read_deeplabcut_project,
    "labelstudio": read_labelstudio,
    "yolo": read_yolo,
    "yolo description": read_yolo,
    "cvat": read_cvat,
    "labelme": read_labelme,
    "labelme folder": read_labelme,
    "voc": read_voc,
    "voc folder": read_voc,
    "label maps": read_label_maps,
    "prediction": read_predictions,
    "prediction folder": read_predictions,
    "tracks": read_tracks,
}
"""The reader of each format of `label_formats.FORMATS`: (path, images) to a LabelSet."""


def read_labels(
    path: str | Path,
    images: str | Path | None = None,
    category: str | None = None,
    annotations: str | Path | None = None,
) -> LabelSet:
    """Read labels of any known format, recognised by their content.

    path: a file or folder. images: a folder in which the images and videos are searched first; by
        default they are searched by name in the folder of the labels and its subfolders.
    category: the name of the category, or skeleton, to keep; None keeps all.
    annotations: for COCO results, the annotation file of the images.
    Images whose file is missing stay in the result, without a path, and are listed as a problem.
    Raises UserError for unknown, damaged and empty labels.

    >>> read_labels("labels.slp").categories[0].keypoints  # doctest: +SKIP
    ('head', 'tail')
    """
    path = Path(path)
    key = recognise_labels(path)
    if key == "results":
        if annotations is None:
            raise UserError(f"{path} is {FORMATS[key]}; give their file with --annotations")
        found = read_results(path, annotations, images)
    elif key in READERS:
        with quiet(path, FORMATS[key].split(maxsplit=1)[1]):
            found = READERS[key](path, images)
    else:
        raise _unknown(path, key)
    if category is not None:
        found = found.only(category)
    found.list_missing()
    if not any(image.instances for image in found.images):
        reasons = "; ".join(found.problem_lines()) or "label some images first"
        raise UserError(f"{path} has no labelled instance that can be read: {reasons}")
    return found


def _unknown(path: Path, key: str | None) -> UserError:
    if key is not None:
        return UserError(f"{path} is {FORMATS[key]}; {advice_for(key, path)}")
    known = "SLEAP, DeepLabCut, Label Studio, CVAT, labelme, YOLO, Pascal VOC or COCO"
    if path.is_dir():
        return UserError(f"the folder {path} contains no labels of {known}")
    with open_regular(path, "labels") as file:
        kind = kind_of(file.read(SNIFFED))
    if kind == "a JSON file":
        read_json(path, "labels")  # which says what is wrong with it
    kind = f" but {kind}" if kind else ""
    return UserError(f"{path} is not a file of labels of {known}{kind}")
