"""Labels and predictions as a table, CSV or Parquet, with one row for each instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tagwise.labels.label_set import LabelSet
from tagwise.labels.write_coco import box_of_instance, mask_area
from tagwise.results.tables import Row, columns_of, table_row


def write_label_table(found: LabelSet, path: Path, write: Callable[..., Path]) -> Path:
    """Write a table with one row per instance. write: `write_csv` or `write_parquet`."""
    return write(columns_of(_types(found), _is_predicted(found)), rows_of(found), path)


def rows_of(found: LabelSet) -> Iterator[Row]:
    """One dict for each instance; `tagwise.results.tables.columns_of` names the keys.

    Values that are missing are None.
    """
    types, predicted = _types(found), _is_predicted(found)
    for image in found.images:
        for number, each in enumerate(image.instances):
            row = table_row(
                image.file,
                image.frame,
                number,
                each.category,
                track=None if each.track is None else str(each.track),
                score=each.score,
                box=box_of_instance(each, (image.width, image.height)),
                area=mask_area(each.mask) if each.mask else None,
            )
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


def _types(found: LabelSet) -> list[str]:
    return list(dict.fromkeys(name for each in found.categories for name in each.keypoints))


def _is_predicted(found: LabelSet) -> bool:
    return any(each.predicted for image in found.images for each in image.instances)
