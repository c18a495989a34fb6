"""`tagwise convert`: published checkpoints as model files of tagwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tagwise.data.coco_labels import as_number
from tagwise.errors import UserError, unknown_name
from tagwise.files import check_regular, read_json
from tagwise.models.from_published import read_published
from tagwise.models.load import network_of
from tagwise.models.model_file import save_model
from tagwise.skeletons import SKELETONS, Skeleton


def convert(
    file: str | Path,
    *,
    out: str | Path | None = None,
    skeleton: str | Path | None = None,
    classes: str | Path | Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    drop_head: bool = False,
) -> Path:
    """Write a published checkpoint as a model file, and return its path.

    file: a checkpoint of a family that `tagwise.published.recognise` lists, in any
        wrapping; it is recognised by the names and shapes of its tensors.
    out: the file to write; by default the same name with .safetensors.
    skeleton: "coco", "crowdpose", "wholebody", "aic", "mhp", or a COCO annotation file; by default
        the one that has as many keypoint types as the checkpoint.
    classes: names, or a COCO annotation file; by default COCO's 80, for a checkpoint with 80.
    size: (width, height) in pixels of the network's input; by default the published one.
    drop_head: reinitialise the output layers, for another skeleton or other classes. The result is
        a starting point for training; it cannot predict yet.
    Raises UserError for files of an unknown family, damaged files, files that contain code, and
    numbers of keypoint types or classes that differ from the skeleton or the given classes.

    >>> convert("pose_higher_hrnet_w32_512.pth")  # doctest: +SKIP
    PosixPath('pose_higher_hrnet_w32_512.safetensors')
    """
    file = Path(file)
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
