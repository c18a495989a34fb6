"""The models of a server: loaded when they are first asked for, the last few kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from tagwise.errors import unknown_name
from tagwise.prediction.predictor import Predictor

_KEPT = 4  # models in memory


@dataclass(frozen=True)
class Loaded:
    """A model that is ready. predictor: keeps every instance. threshold: the model's own."""

    predictor: Predictor
    threshold: float


class ModelStore:
    """Models by the names that clients may use.

    weights: what the server was started with, names or files; the first is the default. A client
        names a file by its stem, and never by a path.
    names: of further models, which ship or are on this computer.
    """

    def __init__(
        self, weights: Sequence[str | Path], names: Sequence[str] = (), device: str = "auto"
    ) -> None:
        own = {Path(each).stem if Path(each).suffix else str(each): each for each in weights}
        self._files = {**{name: name for name in names}, **own}
        self.first = next(iter(own))
        self._recipe = (tuple(weights), tuple(names), device)
        self._device, self._lock = device, Lock()
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    def recipe(self) -> tuple[Any, ...]:
        """The arguments that make an equal store in another process."""
        return self._recipe

    @property
    def names(self) -> list[str]:
        """All names, those that the server was started with first."""
        own = list(self._files)
        return sorted(own, key=lambda name: name != self.first)

    def check(self, name: str | None) -> str:
        """The name of a model, by default the first. Raises UserError for an unknown one."""
        name = name or self.first
        if name not in self._files:
            raise unknown_name("weights", name, self._files)
        return name

    def load(self, name: str | None = None) -> Loaded:
        """The model of a name. Raises UserError if it is unknown or cannot be loaded."""
        name = self.check(name)
        with self._lock:
            if name not in self._loaded:
                predictor = Predictor(self._files[name], device=self._device)
                threshold, predictor.threshold = predictor.threshold, 0.0
                self._loaded[name] = Loaded(predictor, threshold)
            self._loaded.move_to_end(name)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[name]
