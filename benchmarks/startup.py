"""Startup time: import, help, and the first prediction, in ms.

    python benchmarks/startup.py

Goals: `import tagwise` in at most 200 ms, `tagwise --help` in at most 600 ms, elapsed; and in CPU
time on one core, `Predictor` at most 300 ms above torch, and a first `tagwise predict` of one photo
with an empty cache, which compiles the loops, below 8 s. CPU time is that of a child process, which
depends less on other load; elapsed time is the minimum of the repeats. Modules are compiled to
bytecode before, as pip does when it installs them.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _bench import arguments, at_size, report, verdict

CASES = (
    ("python -c pass", ["-c", "pass"], None),
    ("import tagwise", ["-c", "import tagwise"], 200),
    ("tagwise --help", ["-m", "tagwise", "--help"], 600),
    ("tagwise predict --help", ["-m", "tagwise", "predict", "--help"], 600),
    ("from tagwise import losses, grouping", ["-c", "from tagwise import losses, grouping"], None),
)
ABOVE_TORCH, FIRST_RUN = 300, 8000
PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "basketball1.jpg"
MODELS = ("people", "robots", "blood", "nuclei")


def main(repeats: int = 7) -> None:
    arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        once(["-m", "tagwise", "predict", str(PHOTO), "--out", f"{folder}/found"])
        report("startup", measured(repeats))


def measured(repeats: int) -> list[dict]:
    """A row for each start."""
    rows = []
    repeats = at_size(repeats, 1)
    for name, call, goal in at_size(CASES, CASES[:2]):
        elapsed, cpu = zip(*(once(call) for _ in range(repeats)))
        rows.append(row(name, statistics.median(cpu), min(elapsed), goal, min(elapsed)))
    if hasattr(os, "sched_setaffinity"):  # one core from here on
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    calls = (["-c", "import torch"], ["-c", "import torch; from tagwise import Predictor"])
    torch, both = (min(once(call)[1] for _ in range(repeats)) for call in calls)
    above = both - torch
    rows.append(row("from tagwise import Predictor, above torch", above, None, ABOVE_TORCH, above))
    for model in at_size(MODELS, ()):
        rows += first_runs(model)
    return rows


def first_runs(model: str) -> list[dict]:
    """A first `tagwise predict` with an empty cache of compiled loops, and a second one."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"NUMBA_CACHE_DIR": f"{folder}/cache", "OMP_NUM_THREADS": "1"}
        call = ["-m", "tagwise", "predict", str(PHOTO), "--weights", model, "--out", folder]
        elapsed, cpu = once(call, environment)
        first = row(f"tagwise predict, {model}, first run", cpu, elapsed, FIRST_RUN, cpu)
        elapsed, cpu = once(call, environment)
        return [first, row(f"tagwise predict, {model}, second run", cpu, elapsed, None, cpu)]


def row(name: str, cpu: float, elapsed: float | None, goal: float | None, figure: float) -> dict:
    columns = {"CPU ms": cpu, "elapsed ms": elapsed, "goal ms": goal}
    return {"what": name, **columns, "": verdict(figure, goal)}


def once(arguments: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Elapsed and CPU milliseconds of one Python process."""
    settings = {**os.environ, **(environment or {})}
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=settings,
    )
    after, end = os.times(), time.perf_counter()
    cpu = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return 1e3 * (end - start), 1e3 * cpu


if __name__ == "__main__":
    main()
