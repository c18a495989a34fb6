"""Labels and predictions as a YOLO data set of Ultralytics."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tagwise.data.report import Problem
from tagwise.files import whole_file
from tagwise.labels.choose import one_category, polygons_of, with_files, with_keypoints
from tagwise.labels.frames import Size, image_names, known_sizes, write_images
from tagwise.labels.label_set import Instance, LabelSet
from tagwise.labels.write_coco import box_of_instance
from tagwise.results.yolo import box_numbers, fractions, keypoint_numbers, yolo_line


def write_yolo(found: LabelSet, folder: Path, copy: bool = True, progress: bool = False) -> Path:
    """Write data.yaml, labels/*.txt and images/*, and return the folder.

    Poses if there are keypoints, else outlines of masks, else boxes. data.yaml names the same
    images for training and validation: divide them. Scores and tracks are lost.
    copy: write the images too, not only the labels.
    """
    keypoints = any(e.keypoints is not None for i in found.images for e in i.instances)
    found = one_category(with_keypoints(found)) if keypoints else found
    usable = with_files(found)
    names = image_names(usable, flat=True)
    if copy:
        sizes = write_images(usable, names, folder / "images", found.problems, progress)
    else:
        sizes = known_sizes(usable, found.problems)
    outlines = any(each.mask for image in usable for each in image.instances)
    classes = {category.name: number for number, category in enumerate(found.categories)}
    for image in usable:
        if id(image) not in sizes:
            continue
        lines = []
        for each in image.instances:
            rows = _rows(each, sizes[id(image)], outlines and not keypoints)
            if not rows:
                kind = "instance without a mask, left out of the outlines"
                found.problems.append(Problem(kind, image.file))
            lines += [yolo_line(classes[each.category], row) for row in rows]
        stem = os.path.splitext(names[id(image)])[0]
        with whole_file(folder / "labels" / f"{stem}.txt") as file:
            file.write("".join(lines).encode())
    with whole_file(folder / "data.yaml") as file:
        text = yaml.safe_dump(_description(found, keypoints), sort_keys=False, allow_unicode=True)
        file.write(text.encode())
    return folder


def _rows(instance: Instance, size: Size, outlines: bool) -> list[list[float]]:
    """The numbers of one instance after its class, one list per line."""
    if outlines:
        return [fractions(polygon, size) for polygon in polygons_of(instance)]
    row = box_numbers(box_of_instance(instance, size), size)
    if instance.keypoints is not None:
        row += keypoint_numbers(instance.keypoints, size)
    return [row]


def _description(found: LabelSet, keypoints: bool) -> dict[str, Any]:
    names = {number: category.name for number, category in enumerate(found.categories)}
    content: dict[str, Any] = {"path": ".", "train": "images", "val": "images", "names": names}
    if keypoints:
        category = found.categories[0]
        flip = list(range(len(category.keypoints)))
        for a, b in category.pairs:
            flip[a], flip[b] = b, a
        content["kpt_shape"] = [len(flip), 3]
        content["flip_idx"] = flip
        content["kpt_names"] = {0: list(category.keypoints)}
        content["skeleton"] = [list(edge) for edge in category.edges]
    return content
