"""Shared parts of the benchmarks: command line, median CPU times, an aligned table, a JSON file."""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

OUT = Path(os.environ.get("TAGWISE_BENCHMARKS", "out/benchmarks"))
Size = TypeVar("Size")


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser whose --help shows the script's docstring."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=layout)
    text = "run at the smallest size, which tests the script; its figures mean nothing"
    parser.add_argument("--quick", action="store_true", help=text)
    return parser


def at_size(full: Size, smallest: Size) -> Size:
    """The size of a benchmark: the smallest one if the command line has --quick."""
    return smallest if "--quick" in sys.argv else full


def verdict(value: float, goal: float | None, at_least: bool = False) -> str | None:
    """Whether a value meets its goal: at most the goal, or at least. None without a goal."""
    if goal is None:
        return None
    return "met" if (value >= goal if at_least else value <= goal) else "missed"


def scene_maker(description: str, module: str) -> ModuleType:
    """The generator of scenes, imported from the folder that the command line names.

    If the folder does not have it, print a line and end the script with status 0, so that
    `make bench` continues with the other benchmarks.
    """
    parser = arguments(description)
    default = Path(__file__).parents[2] / "shared" / "bench"
    parser.add_argument("folder", nargs="?", type=Path, default=default, metavar="FOLDER")
    folder = parser.parse_args().folder
    if not (folder / f"{module}.py").is_file():
        print(f"skipped: {folder} has no {module}.py; name the folder that does", file=sys.stderr)
        raise SystemExit(0)
    sys.path.insert(0, str(folder))
    return importlib.import_module(module)


def timed(fn: Callable[[], object], repeats: int = 20, warmup: int = 2) -> float:
    """Median CPU milliseconds of `fn()`: all threads, without other load on the machine."""
    repeats, warmup = at_size((repeats, warmup), (1, 0))
    for _ in range(warmup):
        fn()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        fn()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1e3


def report(name: str, rows: list[dict]) -> None:
    """Print `rows` as a table (None: an empty cell); write them to out/benchmarks/NAME.json."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths))
        )
        print("  ".join([first, *rest]).rstrip())
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print(f"\nwritten: {path}")


def machine() -> dict:
    """The machine that the figures were measured on."""
    info = {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    try:
        import torch
    except ImportError:
        return info
    return info | {"torch": torch.__version__, "threads": torch.get_num_threads()}


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
