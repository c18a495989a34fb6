"""Labels and predictions as a table, CSV or Parquet, with one row for each instance."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tagwise.errors import optional
from tagwise.files import whole_file
from tagwise.labels.label_set import LabelSet
from tagwise.labels.write_coco import box_of_instance, mask_area


def write_csv(found: LabelSet, path: Path) -> Path:
    """Write a CSV file in UTF-8; see `rows_of` for its columns."""
    rows = list(rows_of(found))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
    return path


def write_parquet(found: LabelSet, path: Path) -> Path:
    """Write a Parquet file; see `rows_of` for its columns. Needs tagwise[tables]."""
    arrow = optional("pyarrow", "tables", "Parquet needs pyarrow")
    parquet = optional("pyarrow.parquet", "tables", "Parquet needs pyarrow")
    with whole_file(path) as file:
        parquet.write_table(arrow.Table.from_pylist(list(rows_of(found))), file)
    return path


def rows_of(found: LabelSet) -> Iterator[dict[str, Any]]:
    """One dict for each instance, with the same keys in all.

    image, frame, instance (its number on the image), category, track, score, box_x, box_y,
    box_width, box_height, area of the mask, and NAME.x, NAME.y and NAME.score or NAME.visibility
    of each keypoint type, in pixels. Values that are missing are None.
    """
    types = list(dict.fromkeys(name for each in found.categories for name in each.keypoints))
    predicted = any(each.predicted for image in found.images for each in image.instances)
    for image in found.images:
        for number, each in enumerate(image.instances):
            box = box_of_instance(each, (image.width, image.height))
            row = {
                "image": image.file,
                "frame": image.frame,
                "instance": number,
                "category": each.category,
                "track": None if each.track is None else str(each.track),
                "score": each.score,
                **dict(zip(("box_x", "box_y", "box_width", "box_height"), box)),
                "area": mask_area(each.mask) if each.mask else None,
            }
            index = {name: k for k, name in enumerate(found.category(each.category).keypoints)}
            for name in types:
                x = y = last = None
                if each.keypoints is not None and name in index:
                    x, y, last = each.keypoints[index[name]].tolist()
                    if predicted and each.keypoint_scores is not None:
                        last = float(each.keypoint_scores[index[name]])
                    x, y = (x, y) if each.keypoints[index[name], 2] > 0 else (None, None)
                row |= {f"{name}.x": x, f"{name}.y": y}
                row[f"{name}.{'score' if predicted else 'visibility'}"] = last
            yield row
