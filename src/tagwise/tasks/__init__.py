"""Tasks by name. Adding a task adds one file and one line here.

A task defines everything that the rest of the program needs for one problem; its interface is in
`base.py`.

Imports `data`, `errors`, `evaluation`, `geometry`, `grouping`, `losses`, `plot`, `results`,
`settings` and `skeletons`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tagwise.errors import UserError, brief, unknown_name
from tagwise.results import Result
from tagwise.tasks.base import Head, Task
from tagwise.tasks.corners import CornerTask
from tagwise.tasks.pixels import PixelTask
from tagwise.tasks.pose import PoseTask

__all__ = [
    "TASKS",
    "CornerTask",
    "Head",
    "PixelTask",
    "PoseTask",
    "Task",
    "create_task",
    "read_result",
    "task_named",
]

TASKS: dict[str, type[Task]] = {"pose": PoseTask, "corners": CornerTask, "pixels": PixelTask}


def task_named(name: str) -> type[Task]:
    """Return the task class of a name. Raises UserError for an unknown name."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


def create_task(name: str, /, **options: Any) -> Task:
    """Create a task by name from plain values, such as those of its `to_dict`.

    Raises UserError for an unknown name and for options that do not fit.
    """
    return task_named(name).from_dict(options, f"the {name} task")


def read_result(record: Any, where: str | Path = "") -> Result:
    """Read the result of any task from the values of its `to_dict`.

    where: the file of the record. Error messages begin with it. Raises UserError for other values.
    """
    results = {task.result.task: task.result for task in TASKS.values()}
    name = record.get("task", "pose") if isinstance(record, dict) else None
    try:
        if not isinstance(name, str) or name not in results:
            raise UserError(
                f"this is not JSON of predictions (task {brief(name)}); give a file that "
                "`tagwise predict` wrote"
            )
        return results[name].from_dict(record)
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from error
