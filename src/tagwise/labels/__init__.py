"""Labels of other programs: read into one form, and written in theirs.

`read_labels` recognises a format by its content. One file reads, and writes, each format.

Imports `data`, `errors`, `files`, `geometry`, `label_maps`, `prediction`,
`results`, `skeletons` and `tasks`.
"""

from tagwise.labels.label_set import Category, Instance, LabelledImage, LabelSet
from tagwise.labels.read import read_labels
from tagwise.labels.write import write_labels
from tagwise.labels.write_coco import CocoFiles, write_coco

__all__ = [
    "Category",
    "CocoFiles",
    "Instance",
    "LabelSet",
    "LabelledImage",
    "read_labels",
    "write_coco",
    "write_labels",
]
