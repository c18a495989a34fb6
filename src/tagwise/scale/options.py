"""Check the options of a run in shards before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagwise.errors import UserError, optional, unknown_name

_ENGINES = ("local", "ray")
_OTHERS = {"stride": 1, "frames": False, "show": False, "coco": None}
"""Options of `predict` that runs in shards do not have, and their defaults."""


def check_shards(given: Mapping[str, Any]) -> None:
    """Raise UserError for arguments of `predict` that a run in shards cannot have."""
    if given["engine"] not in _ENGINES:
        raise unknown_name("engine", str(given["engine"]), _ENGINES)
    for name in ("workers", "shard_size"):
        value = given[name]
        if value is not None and not (type(value) is int and value >= 1):
            raise UserError(f"{name} is {value!r}; use a whole number, 1 or more")
    if given["engine"] == "local" and given["workers"] is None:
        raise UserError("shard_size needs workers, or the engine ray; give workers")
    if given["out"] is None:
        raise UserError("workers and the engine ray write their results; give out, a folder")
    for name, default in _OTHERS.items():
        if given[name] != default:
            raise UserError(f"{name} does not work with workers or the engine ray; leave it out")
    optional("pyarrow", "scale", "results in shards need pyarrow")
    optional("pyarrow.parquet", "scale", "results in shards need pyarrow")
