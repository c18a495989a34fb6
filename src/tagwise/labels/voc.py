"""Pascal VOC: one XML file with boxes for each image."""

from __future__ import annotations

from pathlib import Path

from tagwise.data.report import Problem
from tagwise.errors import UserError
from tagwise.labels.cvat import read_xml
from tagwise.labels.find import finder_of
from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet


def read_voc(path: Path, images: str | Path | None = None) -> LabelSet:
    """Read a file, or all files of a folder and its subfolders.

    VOC counts pixels from 1 and its boxes include their last pixel, so that x and y become smaller
    by 1. Objects marked "difficult" are read as crowd regions, which training and evaluation
    ignore.
    """
    folder = path.is_dir()
    found = LabelSet(path, "a folder of Pascal VOC labels" if folder else "a Pascal VOC file")
    finder = finder_of(path, images, "JPEGImages", "images", "../JPEGImages", "../images")
    names: dict[str, None] = {}
    for file in sorted(path.rglob("*.xml")) if folder else [path]:
        try:
            root = read_xml(file, "labels")
        except UserError as error:
            found.problems.append(Problem("file cannot be read, left out", detail=str(error)))
            continue
        name = root.findtext("filename") or f"{file.stem}.jpg"
        sides = (root.findtext("size/width") or "", root.findtext("size/height") or "")
        width, height = (int(side) if side.isdigit() and int(side) else None for side in sides)
        group = root.findtext("folder") or ""
        image = LabelledImage(name, finder.find(name), None, width, height, group)
        found.images.append(image)
        for entry in root.iter("object"):
            try:
                corners = [float(entry.findtext(f"bndbox/{c}") or "") for c in _CORNERS]
            except ValueError:
                found.problems.append(Problem("object without a box, left out", file.name))
                continue
            category = entry.findtext("name") or "instance"
            names[category] = None
            x1, y1, x2, y2 = corners
            difficult = entry.findtext("difficult") == "1"
            box = (x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1)
            image.instances.append(Instance(category, box=box, crowd=difficult))
    found.categories = [Category(name) for name in sorted(names)]
    return found


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
