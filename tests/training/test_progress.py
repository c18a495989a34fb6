"""Progress without a terminal: plain lines from time to time, and one estimate of the time."""

import re
from itertools import pairwise

from tagwise.training.progress import Progress


def lines_of(capsys, steps, seconds, log_every=5, every=30.0):
    """The lines of a run whose steps take this long."""
    now = [0.0]
    progress = Progress(steps, 0, every=every, clock=lambda: now[0])
    for step in range(1, steps + 1):
        now[0] += seconds
        progress.step(step)
        if step % log_every == 0:
            progress.figures(step, 0.5, 12.0, 0.0)
    progress.close()
    text = capsys.readouterr().err
    assert "\r" not in text
    return text.splitlines()


def test_lines_come_at_most_every_so_often(capsys):
    lines = [line for line in lines_of(capsys, 400, 1.0) if line.startswith("step ")]
    steps = [int(re.match(r"step (\d+) of 400", line)[1]) for line in lines]
    assert steps[0] == 5
    assert steps[-1] == 400
    assert all(b - a >= 30 for a, b in pairwise(steps[:-1]))
    assert len(steps) >= 400 / 35


def test_time_is_estimated_once_from_the_first_steps(capsys):
    lines = [line for line in lines_of(capsys, 311, 2.0) if line.startswith("about")]
    assert lines == ["about 10 min for the other 300 steps, 2 s each"]


def test_time_that_is_left_is_in_every_line_but_the_last(capsys):
    lines = [line for line in lines_of(capsys, 100, 1.0, every=0) if line.startswith("step ")]
    assert lines[9].endswith(", 50 s left")
    assert "left" not in lines[-1]
