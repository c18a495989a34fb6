"""Startup time: import and help, in ms.

    python benchmarks/startup.py

Goals: `import tagwise` in at most 200 ms, `tagwise --help` in at most 600 ms. CPU time is that of a
child process, which does not depend on other load; elapsed time is the minimum of the repeats.
"""

import os
import statistics
import subprocess
import sys
import time

from _bench import arguments, at_size, report, verdict

CASES = (
    ("python -c pass", ["-c", "pass"], None),
    ("import tagwise", ["-c", "import tagwise"], 200),
    ("tagwise --help", ["-m", "tagwise", "--help"], 600),
    ("tagwise predict --help", ["-m", "tagwise", "predict", "--help"], 600),
    ("from tagwise import losses, grouping", ["-c", "from tagwise import losses, grouping"], None),
    ("from tagwise import Predictor", ["-c", "from tagwise import Predictor"], None),
)


def main(repeats: int = 7) -> None:
    arguments(__doc__).parse_args()
    rows = []
    for name, call, goal in at_size(CASES, CASES[:2]):
        elapsed, cpu = zip(*(once(call) for _ in range(at_size(repeats, 1))))
        rows.append(
            {
                "what": name,
                "CPU ms": statistics.median(cpu),
                "elapsed ms": min(elapsed),
                "goal ms": goal,
                "": verdict(min(elapsed), goal),
            }
        )
    report("startup", rows)


def once(arguments: list[str]) -> tuple[float, float]:
    """Elapsed and CPU milliseconds of one Python process."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after, end = os.times(), time.perf_counter()
    cpu = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return 1e3 * (end - start), 1e3 * cpu


if __name__ == "__main__":
    main()
