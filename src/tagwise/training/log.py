"""The log of a training run: progress, log.jsonl and, optionally, TensorBoard."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tagwise.errors import optional
from tagwise.files import append_line, trim_lines
from tagwise.training.progress import Progress
from tagwise.training.recipe import Recipe, save_recipe


class TrainingLog:
    """Shows the progress and writes log.jsonl and, optionally, TensorBoard events.

    folder: the folder of the run; recipe.yaml is saved there too.
    start: the step at which the run starts or continues; log rows of later steps are removed.
    quiet: write nothing, as in all processes except the main one.
    images: the number of images of a step, for the speed; by default those of one process.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, start: int, quiet: bool, images: int = 0
    ) -> None:
        self.recipe, self.start, self.quiet = recipe, start, quiet
        self.images = images or recipe.optim.batch * recipe.optim.accumulate
        self._reset()
        if quiet:
            return
        save_recipe(recipe, folder / "recipe.yaml")
        self.path = folder / "log.jsonl"
        self._remove_after(start)
        self.board = _tensorboard(folder) if recipe.run.tensorboard else None
        self.progress = Progress(recipe.optim.steps, start)

    def _remove_after(self, step: int) -> None:
        """Remove the rows of steps after the checkpoint, which the resumed run writes again."""

        def is_earlier(row: dict[str, Any]) -> bool:
            return isinstance(row.get("step"), int) and row["step"] <= step

        _, damaged = trim_lines(self.path, is_earlier)
        if damaged and step:
            print(
                f"tagwise: {self.path} had {len(damaged)} damaged line(s), the first in line "
                f"{damaged[0]}; they were removed",
                file=sys.stderr,
            )

    def _reset(self) -> None:
        """Start a new interval, whose means become the next row of the log."""
        self.waited, self.since, self.sums, self.count = 0.0, time.perf_counter(), {}, 0

    def waiting(self) -> _Stopwatch:
        """A context whose duration counts as waiting for data."""
        return _Stopwatch(self)

    def step(self, step: int, terms: dict[str, Tensor], norm: Tensor, rate: float) -> None:
        """Add a step to the means, and write them every `log_every` steps.

        terms: the terms of the loss, by name. norm: of the gradient. rate: the learning rate.
        """
        if self.quiet:
            return
        for name, value in {**terms, "gradient": norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach().double()
        self.count += 1
        self.progress.step(step)
        if due(step, self.recipe.run.log_every) or step == self.recipe.optim.steps:
            # Only here: every transfer of a number makes the CPU wait for the GPU.
            means = {name: float(total) / self.count for name, total in self.sums.items()}
            elapsed = time.perf_counter() - self.since
            speed = self.count * self.images / elapsed
            self._write(
                {"step": step, **means, "lr": rate}
                | {"images_per_second": speed, "share_waiting": self.waited / elapsed}
            )
            self.progress.figures(step, means["total"], speed, self.waited / elapsed)
            self._reset()

    def validation(self, step: int, figures: dict[str, float]) -> None:
        """Write the figures of a validation, and print them in percent, as `tagwise eval` does."""
        self._write({"step": step, **{f"val_{k}": v for k, v in figures.items()}})
        text = "  ".join(f"{name} {100 * v:.1f}" for name, v in figures.items() if v >= 0)
        self.progress.line(f"step {step}: {text}")
        self._reset()

    def note(self, text: str) -> None:
        """Print a line for the user, above any progress bar."""
        self.progress.line(text)

    def _write(self, row: dict[str, float]) -> None:
        append_line(self.path, row)
        if self.board:
            for name, value in row.items():
                self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        if self.quiet:
            return
        self.progress.close()
        if self.board:
            self.board.close()


@dataclass
class _Stopwatch:
    log: TrainingLog
    started: float = 0.0

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.log.waited += time.perf_counter() - self.started


def _tensorboard(folder: Path) -> Any:
    board = optional("torch.utils.tensorboard", "train", "run.tensorboard needs an extra")
    return board.SummaryWriter(str(folder / "tensorboard"))


def due(step: int, every: int) -> bool:
    """Whether something that happens every `every` steps (0: never) happens at this step."""
    return every > 0 and step % every == 0
