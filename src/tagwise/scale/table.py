"""The Parquet file of a shard: one row per image, with its instances nested in it.

docs/scale.md describes the columns.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tagwise.errors import optional
from tagwise.prediction.outcome import Outcome
from tagwise.results import Result
from tagwise.tasks import read_result

_HEADER = b"tagwise"  # the key of the metadata that all rows share


def to_parquet(first: int, images: Sequence[str], outcomes: Sequence[Outcome], task: str) -> bytes:
    """The content of the Parquet file of a shard.

    first: the index of its first image in the list of the run. task: name of the task.
    """
    arrow, parquet = _arrow(), optional("pyarrow.parquet", "scale", "shards need pyarrow")
    records = [None if one.error else one.result.to_dict() for one in outcomes]
    fields = {
        "index": arrow.array(range(first, first + len(images)), arrow.int64()),
        "image": arrow.array(images, arrow.string()),
        **result_columns(records, outcomes, task),
    }
    shared = next((_shared(record) for record in records if record is not None), {"task": task})
    table = arrow.table(fields).replace_schema_metadata({_HEADER: json.dumps(shared).encode()})
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def result_columns(
    records: Sequence[dict[str, Any] | None], outcomes: Sequence[Outcome], task: str
) -> dict[str, Any]:
    """The columns width, height, error and instances, as arrays of arrow.

    records: of `Result.to_dict`, None for an image that could not be read; it has the error of its
        outcome, and null in the other columns.
    """
    arrow = _arrow()
    sizes = [{} if record is None else record["image"] for record in records]
    found = [None if record is None else record["instances"] for record in records]
    errors = [str(one.error) if one.error else None for one in outcomes]
    return {
        "width": arrow.array([size.get("width") for size in sizes], arrow.int32()),
        "height": arrow.array([size.get("height") for size in sizes], arrow.int32()),
        "error": arrow.array(errors, arrow.string()),
        "instances": arrow.array(found, arrow.list_(_instance(task))),
    }


def _shared(record: dict[str, Any]) -> dict[str, Any]:
    """What all results of a model have in common, such as the names of the keypoint types."""
    return {key: value for key, value in record.items() if key not in ("image", "instances")}


def _instance(task: str) -> Any:
    """The type of an instance; its fields are those of a `.predictions.json` file."""
    arrow = _arrow()
    number = arrow.float32()
    numbers = arrow.list_(number)
    fields = {"score": number, "box": numbers}
    if task == "pose":
        fields |= {"keypoints": arrow.list_(numbers), "tags": arrow.list_(numbers)}
    elif task == "corners":
        fields |= {"class": arrow.string(), "class_id": arrow.int32()}
        fields |= {"corner_scores": numbers, "tags": arrow.list_(numbers)}
    else:
        mask = arrow.struct({"size": arrow.list_(arrow.int32()), "counts": arrow.string()})
        fields |= {"area": number, "mask": mask, "tags": numbers}
    return arrow.struct(fields)


def read_results(content: bytes) -> Iterator[Result]:
    """The results in the Parquet file of a shard, without the images that could not be read."""
    parquet = optional("pyarrow.parquet", "scale", "shards need pyarrow")
    table = parquet.read_table(io.BytesIO(content))
    shared = json.loads(table.schema.metadata[_HEADER])
    for row in table.to_pylist():
        if row["error"] is None:
            image = {"file": row["image"], "width": row["width"], "height": row["height"]}
            yield read_result({**shared, "image": image, "instances": row["instances"]})


def _arrow() -> Any:
    return optional("pyarrow", "scale", "shards need pyarrow")
