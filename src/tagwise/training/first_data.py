"""The data of a first recipe: labels of any format, checked, split and written for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tagwise.data.label_maps import LabelMaps
from tagwise.data.photos import Photos
from tagwise.data.report import Problem
from tagwise.labels.complete import PoseFacts, complete_skeleton
from tagwise.labels.prepare import (
    CocoLabels,
    as_coco,
    copy_maps,
    keep_category,
    map_folders,
    part_of,
    task_of,
    write_json,
    write_maps,
)
from tagwise.labels.split import split_images
from tagwise.labels.survey import Survey, survey
from tagwise.skeletons.stated import FLIP_KEYS
from tagwise.tasks import task_named

Confirm = Callable[[PoseFacts], PoseFacts]


@dataclass(frozen=True)
class Source:
    """Labels to learn from.

    images: the folder to search for their images, or None. val: labels to validate on; None holds
    out a `share` of the images. category, task: to learn, or None.
    """

    labels: Path
    images: Path | None = None
    val: Path | None = None
    share: float = 0.2
    category: str | None = None
    task: str | None = None


@dataclass
class FirstData:
    """A set that is ready to be trained on.

    every: all labelled images. train: those to train on. val_images: images to validate on.
    files: the files for training and for validation, by the names that a recipe has for them.
    names: keypoint types or classes. lines: what was understood. problems: what reading left out.
    """

    task: str
    every: Photos
    train: Photos
    val_images: int
    files: dict[str, tuple[Path, Path]]
    names: tuple[str, ...]
    found: Survey
    lines: list[str]
    pose: PoseFacts | None = None
    problems: list[Problem] = field(default_factory=list)


def prepare_coco(source: Source, folder: Path, confirm: Confirm = lambda facts: facts) -> FirstData:
    """Prepare labels of poses or boxes; writes labels.json, train.json and val.json to a folder.

    Masks become label maps, see `prepare_maps`.

    confirm: shows the skeleton to the user, and returns it as corrected.
    Raises UserError for labels that cannot be used.
    """
    read = as_coco(source.labels, source.images, folder)
    task = source.task or task_of(read.content)
    if task == "pixels":
        write_maps(read, folder / "all")
        maps = prepare_maps(replace(source, labels=folder / "all", images=None), folder)
        maps.lines[:1] = [*read.lines, f"masks of {len(maps.every)} images"]
        maps.problems += read.problems
        return maps
    keep_category(read, task, source.category)
    write_json(read.content, folder / "labels.json")
    every = task_named(task).open_dataset(folder / "labels.json", read.images)
    every.check_images()
    every.require_instances()
    lines, facts = read.lines, None
    if task == "pose":
        facts = confirm(complete_skeleton(every, read.content["categories"][0]))
        read.content["categories"][0] |= _stated(facts, read.content["categories"][0])
        lines += [f"poses of {every.skeleton.name}", *facts.lines()]
        names = facts.names
    else:
        names = every.classes
        lines.append(f"boxes of {len(names)} classes: {', '.join(names)}")
    train, val, val_images, how = _split(source, folder, read, every, task)
    lines.append(how)
    task_class = task_named(task)
    files = {"train": train} | ({} if val is None else {"val": val})
    return FirstData(
        task,
        every,
        task_class.open_dataset(*train),
        val_images,
        files,
        names,
        survey(every),
        lines,
        facts,
        [*read.problems, *every.report],
    )


def _stated(facts: PoseFacts, category: dict[str, Any]) -> dict[str, Any]:
    """The entries of a COCO category that state edges and pairs."""
    flip = list(range(len(facts.names)))
    for a, b in facts.pairs:
        flip[a], flip[b] = b, a
    cleared = {key: None for key in FLIP_KEYS if key in category}
    return cleared | {"skeleton": [[a + 1, b + 1] for a, b in facts.edges], "flip_idx": flip}


def _split(
    source: Source, folder: Path, read: CocoLabels, every: Photos, task: str
) -> tuple[tuple[Path, Path], tuple[Path, Path] | None, int, str]:
    """Write the labels to train and to validate on.

    Returns the (annotations, images) of both, the number of images to validate on, and how they
    were chosen.
    """
    train, held = folder / "train.json", folder / "val.json"
    if source.val is not None:
        other = as_coco(source.val, source.images, folder / "val")
        keep_category(other, task, source.category)
        write_json(other.content, held)
        write_json(part_of(read.content, every.ids), train)
        count = len(other.content["images"])
        how = f"split as given: {len(every)} images to train on, {count} of {source.val} to "
        return (train, read.images), (held, other.images), count, f"{how}validate on"
    split = split_images(every, source.share, _videos(read.content, every))
    write_json(part_of(read.content, [every.ids[index] for index in split.train]), train)
    if not split.val:
        return (train, read.images), None, 0, f"split {split.how}"
    write_json(part_of(read.content, [every.ids[index] for index in split.val]), held)
    return (train, read.images), (held, read.images), len(split.val), f"split {split.how}"


def _videos(content: dict[str, Any], dataset: Photos) -> list[str]:
    """The video of each image, if all images are frames of videos; otherwise empty."""
    entries = {str(image["id"]): image for image in content["images"]}
    found = [entries.get(str(number), {}) for number in dataset.ids]
    if not all("video" in entry and "frame" in entry for entry in found):
        return []
    return [str(entry["video"]) for entry in found]


def prepare_maps(source: Source, folder: Path) -> FirstData:
    """Prepare label maps; copies them, and their images, to FOLDER/train and FOLDER/val.

    Raises UserError for label maps that cannot be used.
    """
    images, maps = map_folders(source.labels, source.images)
    every = LabelMaps(images, maps)
    every.check_images()
    every.require_instances()
    if source.val is None:
        split = split_images(every, source.share)
        train, held, how = split.train, split.val, f"split {split.how}"
    else:
        train, held = tuple(range(len(every))), ()
        how = f"split as given: {len(every)} images to train on, and those of {source.val}"
    copy_maps(every, train, folder / "train")
    files = {"train": (folder / "train" / "labels", folder / "train" / "images")}
    count = len(held)
    if source.val is not None:
        val_images, val_maps = map_folders(source.val, None)
        files["val"], count = (val_maps, val_images), len(LabelMaps(val_images, val_maps))
    elif held:
        copy_maps(every, held, folder / "val")
        files["val"] = (folder / "val" / "labels", folder / "val" / "images")
    found = survey(every)
    lines = [
        f"{maps} is a folder of label maps: {len(every)} images, usually "
        f"{sorted(found.counts)[len(found.counts) // 2]} instances in each",
        how,
    ]
    train_set = task_named("pixels").open_dataset(*files["train"])
    return FirstData(
        "pixels", every, train_set, count, files, (), found, lines, None, list(every.report)
    )


def with_pairs(facts: PoseFacts, pairs: list[tuple[int, int]]) -> PoseFacts:
    """The facts with these pairs of sides, as the user states them."""
    return replace(facts, pairs=tuple(pairs), pairs_from="as stated", unpaired=())
