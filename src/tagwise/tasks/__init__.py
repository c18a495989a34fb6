"""Tasks by name. Adding a task adds one file and one line here."""

from __future__ import annotations

from typing import Any

from tagwise.errors import unknown_name
from tagwise.tasks.base import Head, Task
from tagwise.tasks.pose import PoseTask

__all__ = ["TASKS", "Head", "PoseTask", "Task", "create_task"]

TASKS: dict[str, type] = {"pose": PoseTask}


def create_task(name: str, **options: Any) -> Task:
    """The task of that name, from the plain values that its `options()` gave.

    Raises UserError for an unknown name.
    """
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name].from_options(**options)
