"""Instances as the rows of a table: CSV, Parquet, or a data frame of pandas or polars."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tagwise.errors import UserError, optional, unknown_name
from tagwise.files import whole_file

Row = dict[str, Any]
FRAMES = ("pandas", "polars")
"""The libraries whose data frames `data_frame` makes."""

_FIRST = ("image", "frame", "instance", "category", "track", "score")
_BOX = ("box_x", "box_y", "box_width", "box_height")


def columns_of(keypoints: Sequence[str], predicted: bool = True) -> list[str]:
    """The names of the columns.

    image, frame, instance (its number on the image), category, track, score, box_x, box_y,
    box_width, box_height, area of the mask, and NAME.x, NAME.y and NAME.score of each keypoint
    type, in pixels; NAME.visibility for labels, whose keypoints have no score.
    """
    last = "score" if predicted else "visibility"
    return [
        *(*_FIRST, *_BOX, "area"),
        *(f"{name}.{value}" for name in keypoints for value in ("x", "y", last)),
    ]


def table_row(
    image: str | None,
    frame: int | None,
    number: int,
    category: str,
    *,
    track: str | None = None,
    score: float | None = None,
    box: Sequence[float] = (),
    area: float | None = None,
) -> Row:
    """The columns of an instance before those of its keypoints. Missing values are None."""
    first = dict(zip(_FIRST, (image, frame, number, category, track, score)))
    return {**first, **dict(zip(_BOX, box)), "area": area}


def write_csv(columns: Sequence[str], rows: Iterable[Row], path: str | Path) -> Path:
    """Write a CSV file in UTF-8. The file appears complete or not at all."""
    text, path = io.StringIO(), Path(path)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
    return path


def write_parquet(columns: Sequence[str], rows: Iterable[Row], path: str | Path) -> Path:
    """Write a Parquet file; needs tagwise[tables]. The file appears complete or not at all."""
    arrow = optional("pyarrow", "tables", "Parquet needs pyarrow")
    parquet = optional("pyarrow.parquet", "tables", "Parquet needs pyarrow")
    path = Path(path)
    with whole_file(path) as file:
        parquet.write_table(arrow.table(_by_column(columns, rows)), file)
    return path


def data_frame(columns: Sequence[str], rows: Iterable[Row], library: str = "pandas") -> Any:
    """A data frame of pandas or polars, made by narwhals; needs tagwise[tables].

    library: "pandas" or "polars". Raises UserError for another one, or if it is not installed.
    """
    if library not in FRAMES:
        raise unknown_name("library of data frames", str(library), FRAMES)
    narwhals = optional("narwhals.stable.v1", "tables", "data frames need narwhals")
    try:
        native = __import__(library)
    except ImportError as error:
        raise UserError(f"to_df({library!r}) needs {library}: pip install {library}") from error
    content = _by_column(columns, rows)
    return narwhals.from_dict(content, native_namespace=native).to_native()


def _by_column(columns: Sequence[str], rows: Iterable[Row]) -> dict[str, list[Any]]:
    rows = list(rows)
    return {name: [row.get(name) for row in rows] for name in columns}
