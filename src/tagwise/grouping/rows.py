"""The base of results whose arrays all have one row per instance."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Self

import numpy as np


class Rows:
    """A dataclass of arrays with one row per instance."""

    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: np.ndarray) -> Self:
        """Select instances by an index array or a mask, in its order."""
        return type(self)(*(getattr(self, name)[index] for name in _names(type(self))))


@cache
def _names(kind: type[Rows]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
