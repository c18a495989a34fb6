"""Interrupt verbs with Ctrl-C and SIGTERM at random times.

They must print one line, return the right exit code, leave no partial files and lose no data.

    python tests/faults/signals.py --count 100

Each attempt starts a verb, sends a signal after a random time, checks the output and the files, and
finishes the work with `--resume`, which must give the same files as a run without a signal.
`test_signals.py` does the same a few times.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from faults.full_disk import make_inputs, run_program, same_results
from small_runs import write_scenes

_MODEL = ("--weights", "w.safetensors")
_FIND = ("many", *_MODEL, "--threshold", "0")
_LABELS = ("--annotations", "many.json", "--images", "many")
_STEPS = ("--optim.steps", "30", "--run.save_every", "7")
CASES = {
    "predict": ("predict", *_FIND, "--out", "OUT"),
    "predict --coco": ("predict", *_FIND, "--out", "OUT", "--coco", "many.json", "--no-pictures"),
    "track": ("track", *_FIND, "--out", "OUT"),
    "train": ("train", "recipe.yaml", "--out", "OUT", *_STEPS),
    "eval": ("eval", *_MODEL, *_LABELS, "--out", "OUT/figures.json", "--coco", "OUT/rows.json"),
}
RESUMABLE = ("predict", "train")
PATIENCE = 20  # seconds between a signal and the end of the process, on a busy machine


class Outcome(NamedTuple):
    """The outcome of a signal.

    what: "finished", "stopped", or "killed" before the program handled the signal.
    """

    what: str
    faults: list[str]
    seconds: float


def make_signal_inputs(folder: Path) -> None:
    """Create the inputs of `full_disk`, and more photos, which take most of the time."""
    make_inputs(folder, run_program)
    write_scenes(folder, "many", 60, 2)


def arguments(name: str, out: Path) -> list[str]:
    """The command line of a case that writes to a folder."""
    return [each.replace("OUT", str(out)) for each in CASES[name]]


def interrupt(name: str, out: Path, number: int, delay: float) -> Outcome:
    """Run a verb and send it a signal after a delay in seconds."""
    command = [sys.executable, "-m", "tagwise", *arguments(name, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=_heed_signals,
    )
    time.sleep(delay)
    sent = time.monotonic()
    process.send_signal(number)
    try:
        _, error = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return Outcome("stopped", [f"it continued for {PATIENCE} s"], PATIENCE)
    seconds = time.monotonic() - sent
    code = process.returncode
    what = {0: "finished", 128 + number: "stopped", -number: "killed"}.get(code)
    faults = [] if what else [f"exit code {code}: {error[-300:]!r}"]
    if what == "stopped" and "tagwise: interrupted" not in error:
        faults.append(f"it does not say that it was interrupted: {error[-300:]!r}")
    if "Traceback" in error or "Exception ignored" in error:
        faults.append(f"a traceback: {error[-600:]!r}")
    faults += [f"partial file {path.name}" for path in out.rglob(".*.partial")]
    return Outcome(what or "stopped", faults, seconds)


def _heed_signals() -> None:
    """Undo that a process in the background ignores signals, which its children inherit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def finish(name: str, out: Path, whole: Path) -> list[str]:
    """Finish the work, with --resume if the verb has it, and compare it with a complete run."""
    again = ["--resume"] if name.split()[0] in RESUMABLE and out.exists() else []
    code, error = run_program([*arguments(name, out), *again])
    if code != 0:
        return [f"{' '.join(again)} ended with {code}: {error[-300:]!r}"]
    return [] if same_results(whole, out) else ["its files differ from those of a complete run"]


def attempts(name: str, count: int, rng: random.Random, folder: Path) -> Iterator[Outcome]:
    """The outcomes of a case, each with a signal at a random time."""
    whole = folder / "whole"
    started = time.monotonic()
    code, error = run_program(arguments(name, whole))
    assert code == 0, error
    duration = time.monotonic() - started
    for number in range(count):
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        sent = (signal.SIGINT, signal.SIGTERM)[number % 2]
        outcome = interrupt(name, out, sent, rng.uniform(0.2, 0.95 * duration))
        outcome.faults.extend(finish(name, out, whole))
        yield outcome
    shutil.rmtree(whole)


def main() -> int:
    """Print the number of attempts per outcome, and the faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="signals per verb")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    wrong, rng = 0, random.Random(options.seed)
    with tempfile.TemporaryDirectory() as inputs:
        os.chdir(inputs)
        make_signal_inputs(Path(inputs))
        for name in options.cases:
            counts: Counter[str] = Counter()
            slowest, faults = 0.0, []
            with tempfile.TemporaryDirectory() as folder:
                for what, found, seconds in attempts(name, options.count, rng, Path(folder)):
                    counts[what] += 1
                    slowest = max(slowest, seconds)
                    faults += found
            wrong += len(faults)
            text = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
            print(f"{name:16} {text}; slowest {slowest:.1f} s; {len(faults)} faults", flush=True)
            for fault in faults:
                print(f"    {fault}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
