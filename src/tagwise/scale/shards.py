"""The files of a shard: results as Parquet and as COCO JSON, then a record with their checksums.

The record is written last. A shard is whole if its record is there and its files match it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tagwise.files import Store
from tagwise.labels.from_results import categories_of, instances_of
from tagwise.labels.label_set import LabelledImage, LabelSet
from tagwise.labels.write_coco import coco_content
from tagwise.prediction.outcome import Outcome
from tagwise.scale.plan import Shard
from tagwise.scale.table import to_parquet
from tagwise.tasks import Task

_FAILURES = 3  # messages of images that could not be read, of each shard
_ANNOTATIONS = 1_000_000  # ids of annotations of an image; COCO wants each id once


@dataclass(frozen=True)
class Summary:
    """What came of a shard.

    failed: images that could not be read. failures: the first few messages. earlier: whether an
    earlier attempt had written its files. problem: why the run cannot go on, and exit_code: of the
    command in this case.
    """

    shard: int
    images: int = 0
    instances: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    earlier: bool = False
    problem: str | None = None
    exit_code: int = 2

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Read the line of `to_json`."""
        return cls(**json.loads(text))


def file_names(number: int) -> tuple[str, str, str]:
    """The names of the Parquet file, the COCO JSON and the record of a shard."""
    name = f"shard-{number:06d}"
    return f"parquet/{name}.parquet", f"coco/{name}.json", f"done/{name}.json"


def find_whole(out: Store, shard: Shard) -> Summary | None:
    """The summary of a shard whose files are there and undamaged; None for any other."""
    *files, record_name = file_names(shard.number)
    record = out.read(record_name)
    if record is None:
        return None
    try:
        values = json.loads(record)
        sums = [values["sha256"][name] for name in files]
        summary = Summary(**values["summary"])
        if values != _record(values["sha256"], summary):
            return None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if summary.shard != shard.number or summary.images != len(shard.images):
        return None
    for name, expected in zip(files, sums):
        content = out.read(name)
        if content is None or _sha256(content) != expected:
            return None
    return replace(summary, earlier=True)


def write_shard(out: Store, shard: Shard, outcomes: Sequence[Outcome], task: Task) -> Summary:
    """Write the files of a shard. Raises UserError if they cannot be written."""
    parquet, coco, record = file_names(shard.number)
    contents = {
        parquet: to_parquet(shard.first, shard.images, outcomes, task.name),
        coco: json.dumps(_coco(shard, outcomes, task), ensure_ascii=False).encode(),
    }
    for name, content in contents.items():
        out.write(name, content)
    errors = [str(one.error) for one in outcomes if one.error is not None]
    summary = Summary(
        shard.number,
        len(shard.images),
        sum(len(one.result) for one in outcomes if one.error is None),
        len(errors),
        errors[:_FAILURES],
    )
    sums = {name: _sha256(content) for name, content in contents.items()}
    out.write(record, json.dumps(_record(sums, summary)).encode() + b"\n")
    return summary


def _record(sums: dict[str, str], summary: Summary) -> dict[str, Any]:
    """The record of a shard, with a checksum of its own."""
    values = {"sha256": sums, "summary": asdict(summary)}
    return {**values, "record_sha256": _sha256(json.dumps(values).encode())}


def _coco(shard: Shard, outcomes: Sequence[Outcome], task: Task) -> dict[str, Any]:
    """COCO JSON of the images that could be read; ids are those of the whole list, from 1."""
    categories = categories_of(task)
    found = LabelSet(shard.images[0], "results", categories)
    read = [n for n, one in enumerate(outcomes) if one.error is None]
    entries = []
    for n in read:
        result, name = outcomes[n].result, shard.images[n]
        image = LabelledImage(name, instances=instances_of(result, categories[0].name))
        entries.append((image, name, (result.width, result.height)))
    content = coco_content(found, entries)
    ids = [shard.first + n + 1 for n in read]
    for image in content["images"]:
        image["id"] = ids[image["id"] - 1]
    counts = dict.fromkeys(ids, 0)
    for annotation in content["annotations"]:
        number = annotation["image_id"] = ids[annotation["image_id"] - 1]
        annotation["id"] = number * _ANNOTATIONS + counts[number]
        counts[number] += 1
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
