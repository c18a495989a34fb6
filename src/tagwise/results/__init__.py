"""What a prediction is: the instances of one image, as poses, boxes or masks."""

from __future__ import annotations

from typing import Any

from tagwise.errors import UserError
from tagwise.results.base import Result
from tagwise.results.boxes import Boxes
from tagwise.results.masks import Masks
from tagwise.results.poses import Poses

__all__ = ["RESULTS", "Boxes", "Masks", "Poses", "Result", "result_from_dict"]

RESULTS: dict[str, type[Result]] = {"pose": Poses, "corners": Boxes, "pixels": Masks}


def result_from_dict(record: dict[str, Any]) -> Result:
    """The result of any task from what its `to_dict` gave. Raises UserError for other JSON."""
    task = record.get("task", "pose") if isinstance(record, dict) else None
    if task not in RESULTS:
        raise UserError(
            f"this is no JSON of predictions (task {task!r}); give a file that `tagwise predict` "
            "wrote"
        )
    return RESULTS[task].from_dict(record)
