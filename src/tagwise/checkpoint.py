"""Checkpoints of a training: everything that changes in a run, to go on from exactly."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tagwise.errors import UserError


@dataclass
class Checkpoint:
    """Everything that changes in a run, saved whole or not at all."""

    folder: Path
    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    best: float = -math.inf

    def is_best(self, figure: float) -> bool:
        better = figure > self.best
        self.best = max(self.best, figure)
        return better

    def save(self, step: int) -> None:
        partial = self.folder / "last.pt.partial"
        torch.save(
            {
                "step": step,
                "best": self.best,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": torch.get_rng_state(),
            },
            partial,
        )
        os.replace(partial, self.folder / "last.pt")

    def load(self) -> int:
        """Restore the last checkpoint, if there is one, and return its step."""
        path = self.folder / "last.pt"
        if not path.exists():
            return 0
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(saved["model"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} does not fit this recipe ({reason}); use another --out"
            ) from error
        torch.set_rng_state(saved["random"])
        self.best = saved["best"]
        return saved["step"]
