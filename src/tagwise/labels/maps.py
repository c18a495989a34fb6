"""Folders of label maps, whose numbers give the instance of each pixel."""

from __future__ import annotations

from pathlib import Path

from tagwise.data.label_maps import LabelMaps
from tagwise.errors import UserError
from tagwise.label_maps import encode_labels
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet
from tagwise.labels.loose import NO_CLASS


def read_label_maps(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a folder of label maps; its images are those with the same names in another folder.

    Raises UserError without that folder, because photos cannot be told from label maps.
    """
    if images is None:
        raise UserError(
            f"{path} contains images; if they are label maps, give the folder of their photos with "
            "--images FOLDER"
        )
    data = LabelMaps(images, path)
    found = LabelSet(path, "a folder of label maps", [Category(NO_CLASS)], problems=data.report)
    for index in range(len(data)):
        file = data.path(index)
        width, height = data.size(index) or (None, None)
        masks = encode_labels(data.label_map(index))
        instances = [Instance(NO_CLASS, mask=mask) for mask in masks]
        image = LabelledImage(file.name, file, None, width, height, instances=instances)
        found.images.append(image)
    return found
