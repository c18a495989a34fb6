"""The progress of a training run: a bar in a terminal, and plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

_FIRST = 10
"""Steps after the first one that are timed for the estimate."""


class Progress:
    """Shows how far a run is: a bar in a terminal, and elsewhere, as in a log file, plain lines.

    total: steps of the run. start: the step at which it starts or continues.
    every: the least time between two plain lines, in seconds.
    clock: a function that returns the time in seconds.

    After the first steps, one line says how long the run will take.
    """

    def __init__(
        self,
        total: int,
        start: int,
        every: float = 30.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.total, self.start, self.every, self.clock = total, start, every, clock
        self._bar = tqdm(total=total, initial=start, desc="training", unit="step", disable=None)
        self._began: float | None = None
        self._printed: float | None = None

    def step(self, step: int) -> None:
        """Count a step; step: the number of steps that are done."""
        self._bar.update()
        done = step - self.start
        if done == 1:  # the first step also fills caches and compiles code
            self._began = self.clock()
        elif done == _FIRST + 1 and self.total - step > _FIRST:
            each = self._seconds_per_step(step)
            left = format_time((self.total - step) * each)
            self.line(f"about {left} for the other {self.total - step:,} steps, {each:.2g} s each")

    def figures(self, step: int, loss: float, speed: float, waiting: float) -> None:
        """Show figures of the last steps.

        loss: the mean. speed: images per second. waiting: the share of time without data.
        """
        if not self._bar.disable:
            self._bar.set_postfix(loss=f"{loss:.4f}", wait=f"{waiting:.0%}")
            return
        now = self.clock()
        if self._printed is not None and now - self._printed < self.every and step < self.total:
            return
        self._printed = now
        line = f"step {step} of {self.total}: loss {loss:.4f}, {speed:.3g} images/s"
        if waiting > 0.1:
            line += f", {waiting:.0%} of the time waiting for data"
        if self._began is not None and self.total > step > self.start + 1:
            left = format_time((self.total - step) * self._seconds_per_step(step))
            line += f", {left} left"
        self.line(line)

    def line(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._bar.write(text, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        self._bar.close()

    def _seconds_per_step(self, step: int) -> float:
        """The mean time of a step so far, with the validations in between."""
        return (self.clock() - self._began) / max(1, step - self.start - 1)


def format_time(seconds: float) -> str:
    """Format a duration with one or two units.

    >>> [format_time(s) for s in (4.2, 61, 3599, 8000, 200_000)]
    ['4 s', '1 min', '60 min', '2 h 13 min', '2 days 7 h']
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} {'day' if days == 1 else 'days'} {hours} h"
