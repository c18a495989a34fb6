"""Training checkpoints, which save everything that a run needs to continue exactly."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tagwise.errors import UserError
from tagwise.files import check_regular, whole_file

# The errors that torch.load raises for damaged files, and those for files with other content.
_BROKEN = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, OSError, EOFError)
_BROKEN += (UnpicklingError,)


@dataclass
class Checkpoint:
    """Everything that changes in a run; it is saved completely or not at all."""

    folder: Path
    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    best: float = -math.inf
    stale: int = 0
    """The number of validations since the best one."""
    images: int | None = None
    """The number of images of a step, of all processes together; None if unknown."""
    loaded_images: int | None = None
    """`images` of the checkpoint that `load` read."""

    def is_best(self, figure: float) -> bool:
        """Whether a validation figure is higher than all earlier ones; updates `best`, `stale`."""
        better = figure > self.best
        self.best = max(self.best, figure)
        self.stale = 0 if better else self.stale + 1
        return better

    def is_stale(self, patience: int) -> bool:
        """Whether training should end: `patience` validations (0: any number) were not better."""
        return 0 < patience <= self.stale

    def save(self, step: int) -> None:
        """Write last.pt. Raises UserError, and keeps the old file, if that fails."""
        state = {
            "step": step,
            "best": self.best,
            "stale": self.stale,
            "images": self.images,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self._on_gpu():
            state["random_on_gpu"] = torch.cuda.get_rng_state()
        path = self.folder / "last.pt"
        try:
            with whole_file(path) as file:
                torch.save(state, file)
        except RuntimeError as error:  # torch raises this if the disk is full
            raise UserError(
                f"cannot write {path} ({_first_line(error)}); if the disk is full, free space, "
                "then continue with --resume"
            ) from error

    def _on_gpu(self) -> bool:
        return next(self.average.parameters()).is_cuda

    def load(self) -> int:
        """Restore the last checkpoint, if there is one, and return its step."""
        path = self.folder / "last.pt"
        if not path.exists():
            return 0
        check_regular(path, "checkpoint")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(saved, dict):
                raise TypeError("it is not a training checkpoint")
            step, best = operator.index(saved["step"]), float(saved["best"])
            stale = operator.index(saved.get("stale", 0))  # earlier checkpoints lack it
            images = saved.get("images")  # earlier checkpoints lack it
            images = None if images is None else operator.index(images)
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            torch.set_rng_state(saved["random"])
            if self._on_gpu() and "random_on_gpu" in saved:
                torch.cuda.set_rng_state(saved["random_on_gpu"])
        except _BROKEN as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else _first_line(error)
            raise UserError(
                f"{path} is damaged or does not match this recipe ({reason}); use another --out"
            ) from error
        self.best, self.stale, self.loaded_images = best, stale, images
        return step


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
