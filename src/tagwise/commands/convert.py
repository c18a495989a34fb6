"""`tagwise convert`: published checkpoints as model files, and labels in other formats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tagwise.console.streams import print_note
from tagwise.data.coco_labels import as_number
from tagwise.data.label_formats import recognise_labels
from tagwise.errors import UserError, unknown_name
from tagwise.files import check_regular, open_regular, read_json
from tagwise.labels import read_labels, write_labels
from tagwise.labels.write import SUFFIXES, Target
from tagwise.models.from_published import read_published
from tagwise.models.load import network_of
from tagwise.models.model_file import save_model
from tagwise.skeletons import SKELETONS, Skeleton


def convert(
    file: str | Path,
    *,
    out: str | Path | None = None,
    to: Target | None = None,
    images: str | Path | None = None,
    category: str | None = None,
    annotations: str | Path | None = None,
    predicted: bool = False,
    copy: bool = True,
    skeleton: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    drop_head: bool = False,
    progress: bool = False,
) -> Path:
    """Write labels or predictions in another format, or a published checkpoint as a model file.

    file: labels or predictions of any format that `tagwise.labels.read_labels` knows; or a
        checkpoint of a family that `tagwise.published.recognise` lists, in any wrapping. Both are
        recognised by their content.
    out: the file or folder to write; by default named after `file`, a model next to it and labels
        in the current folder.

    For labels:
    to: "coco" (the default: labels.json and a folder of images), "sleap", "deeplabcut", "yolo",
        "labelstudio", "csv" or "parquet".
    images: the folder with the images or videos, or a video; by default they are searched in the
        folder of the labels and its subfolders.
    category: the name of the category or skeleton to keep; by default all that the format holds.
    annotations: the COCO annotation file to which COCO results belong.
    predicted: also keep instances that a program predicted, beside those that people labelled. A
        file with predictions alone is converted in any case.
    copy: copy image files into the new folder. Frames of videos are always written there.
    progress: show a progress bar. What was understood and left out is printed in any case.

    For checkpoints:
    skeleton: "coco", "crowdpose", "wholebody", "aic", "mhp", or a COCO annotation file; by default
        the one that has as many keypoint types as the checkpoint.
    classes: names, or a COCO annotation file; by default COCO's 80, for a checkpoint with 80.
    size: (width, height) in pixels of the network's input; by default the published one.
    drop_head: reinitialise the output layers, for another skeleton or other classes. The result is
        a starting point for training; it cannot predict yet.
    Returns the path of what was written. Raises UserError for files of an unknown format or
    family, damaged files, files that contain code, labels without a readable image where the format
    needs images, and numbers of keypoint types or classes that differ from the given ones.

    >>> convert("labels.slp", out="my_animal")  # doctest: +SKIP
    PosixPath('my_animal/labels.json')
    >>> convert("pose_higher_hrnet_w32_512.pth")  # doctest: +SKIP
    PosixPath('pose_higher_hrnet_w32_512.safetensors')
    """
    file = Path(file)
    if _is_labels(file):
        found = read_labels(file, images, category, annotations)
        found = found if predicted else found.labelled()
        to = to or "coco"
        out = Path(out) if out is not None else Path(_named(file, to))
        written = write_labels(found, to, out, copy, progress)
        for line in found.describe():
            print_note(line)
        return written
    given = {"to": to, "images": images, "category": category, "annotations": annotations}
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        raise UserError(f"{file} is not labels, to which alone {', '.join(unused)} applies")
    check_regular(file, "checkpoint")
    spec, state = read_published(
        file,
        skeleton=_skeleton(skeleton),
        classes=_classes(classes),
        input_size=size,
        drop_head=drop_head,
    )
    path = Path(out) if out is not None else file.with_suffix(".safetensors")
    if path.suffix != ".safetensors" or path.resolve() == file.resolve():
        raise UserError(f"cannot write {path}; give another file with --out NAME.safetensors")
    # Not in half precision, to keep the published values exactly.
    save_model(network_of(spec, state, file), path, half=False)
    return path


_MODEL_SUFFIXES = {".ckpt", ".pkl", ".pt", ".pth", ".safetensors", ".tar"}
_LABEL_SUFFIXES = {".csv", ".json", ".jsonl", ".slp", ".txt", ".xml", ".yaml", ".yml"}


def _is_labels(path: Path) -> bool:
    if path.suffix.lower() in _LABEL_SUFFIXES:
        return not _is_openvino(path)
    named_as_model = path.suffix.lower() in _MODEL_SUFFIXES
    return (os.path.isdir(path) and not named_as_model) or recognise_labels(path) is not None


def _is_openvino(path: Path) -> bool:
    """Whether a file is XML that describes a network, and not labels."""
    if path.suffix.lower() != ".xml" or not path.is_file():
        return False
    with open_regular(path, "file") as file:
        return b"<net " in file.read(4096)


def _named(labels: Path, to: Target) -> str:
    stem = labels.resolve().stem.removesuffix(".predictions").removesuffix(".tracks")
    return f"{stem}{SUFFIXES[to]}" if to in SUFFIXES else f"{stem}_{to}"


def _skeleton(given: str | Path | None) -> Skeleton | None:
    if given is None or given in SKELETONS:
        return SKELETONS.get(given)
    if not Path(given).suffix:
        raise unknown_name("skeleton", str(given), [*SKELETONS, "ANNOTATIONS.json"])
    with_keypoints = [each for each in _categories(given) if each.get("keypoints")]
    if not with_keypoints:
        raise UserError(f"{given} has no category with keypoints; give another annotation file")
    try:
        return Skeleton.from_coco(with_keypoints[0])
    except UserError as error:
        raise UserError(f"{given}: {error}") from None


def _classes(given: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None or isinstance(given, (list, tuple)):
        return given and tuple(given)
    categories = _categories(given)
    ids = [as_number(category.get("id")) for category in categories]
    if None not in ids:  # else in the order of the file
        categories = [categories[n] for n in sorted(range(len(ids)), key=ids.__getitem__)]
    return tuple(str(category.get("name")) for category in categories)


def _categories(path: str | Path) -> list[dict]:
    """The categories of a COCO annotation file."""
    content = read_json(path, "annotation file")
    try:
        return [each for each in content["categories"] if isinstance(each, dict)]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} has no list of categories; give a COCO annotation file") from error
