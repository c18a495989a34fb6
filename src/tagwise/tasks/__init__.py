"""Tasks by name. Adding a task adds one file and one line here."""

from __future__ import annotations

from typing import Any

from tagwise.errors import unknown_name
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
    "task_named",
]

TASKS: dict[str, type] = {"pose": PoseTask, "corners": CornerTask, "pixels": PixelTask}


def task_named(name: str) -> type[Task]:
    """The task of that name. Raises UserError for an unknown one."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]


def create_task(name: str, **options: Any) -> Task:
    """The task of that name, from the plain values that its `options()` gave.

    Raises UserError for an unknown name.
    """
    return task_named(name).from_options(**options)
