"""Runs killed at random moments and continued. `python tests/faults/kills.py --count 50`.

A training and predictions of a folder are killed with SIGKILL, which no program can handle, again
and again, then continued with --resume to their end. All files must then be those of a run that was
never killed, byte by byte, and no partial file may be left. Needs Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from full_disk import CASES, make_inputs, run_program

VERBS = ("train", "predict", "predict --coco")
TIMES = ("images_per_second", "share_waiting")  # what a log tells of the machine

Start = Callable[[list[str]], "Process"]


class Process:
    """A run in a process of its own."""

    def __init__(self, pid: int) -> None:
        self.pid, self.code = pid, None

    def ended(self, wait: bool = False) -> bool:
        """Whether it has ended; wait: until it has."""
        if self.code is None:
            found, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code is not None

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
        self.ended(wait=True)


def spawned(arguments: list[str]) -> Process:
    """Start the command line as a user does."""
    command = [sys.executable, "-m", "tagwise", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
    process.returncode = 0  # this module waits for it
    return Process(process.pid)


@dataclass
class Killed:
    """What came of a verb: kills, runs that were continued to their end, and faults."""

    verb: str
    kills: int
    runs: int
    faults: list[str]


def arguments_of(verb: str, out: Path, again: bool) -> list[str]:
    """The command line of a verb; again: with --resume."""
    case = CASES[verb]
    given = [*case.arguments, *(case.again if again else ())]
    given += ["--resume"] if again and "--resume" not in given else []
    return [each.replace("OUT", str(out)) for each in given]


def whole_run(verb: str, out: Path, start: Start) -> float:
    """A run to its end; returns the seconds from its first file to its last."""
    begun, process = None, start(arguments_of(verb, out, again=False))
    while not process.ended():
        begun = begun or (time.monotonic() if out.exists() else None)
        time.sleep(0.002)
    assert process.code == 0, f"{verb} ended with {process.code}"
    return time.monotonic() - (begun or time.monotonic())


def kill_one(verb: str, out: Path, start: Start, seconds: float, wait: bool) -> bool:
    """Start or continue a run, and kill it; returns whether it was killed before its end.

    seconds: after its first file changes if `wait`, else after its start.
    """
    before = _state(out)
    process = start(arguments_of(verb, out, again=True))
    while wait and _state(out) == before and not process.ended():
        time.sleep(0.002)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not process.ended():
        time.sleep(0.001)
    if process.ended():
        return False
    process.kill()
    return True


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """The files of a folder that a run has changed, if it exists."""
    found = []
    for entry in os.scandir(folder) if folder.exists() else ():
        try:
            status = entry.stat()
        except FileNotFoundError:  # a partial file that has just got its name
            continue
        found.append((entry.name, status.st_size, status.st_mtime_ns))
    return sorted(found)


# One advice is about the share of time that training waits for images.
_ADVICE = re.compile(rb'<ol class="advice">.*?</ol>|Nothing unusual so far: [^<]*', re.DOTALL)


def differences(whole: Path, out: Path) -> list[str]:
    """What is different in a run that was killed and continued."""
    names = [{str(p.relative_to(each)) for p in each.rglob("*")} for each in (whole, out)]
    faults = [f"{name} is only in one of both" for name in sorted(names[0] ^ names[1])]
    faults += [f"{name} is left" for name in names[1] if name.endswith(".partial")]
    for name in sorted(names[0] & names[1]):
        if (whole / name).is_file() and _content(whole / name) != _content(out / name):
            faults.append(f"{name} differs")
    return faults


def _content(path: Path) -> object:
    """The bytes of a file, without times in logs and the layout of torch's archives."""
    if path.name == "report.html":  # its title is the name of the folder
        page = path.read_bytes().replace(f"Training of {path.parent.name}".encode(), b"")
        return _ADVICE.sub(b"", page)
    if path.name == "log.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: row[key] for key in row if key not in TIMES} for row in rows]
    if path.suffix == ".pt":
        return repr(torch.load(path, weights_only=True))
    return path.read_bytes()


def killed(verb: str, count: int, seed: int, start: Start, folder: Path) -> Killed:
    """Kill runs of a verb `count` times, one to four times each, and continue them to their end."""
    rng = np.random.default_rng([seed, *verb.encode()])
    whole = folder / f"{verb} whole"
    seconds, kills, runs, faults = whole_run(verb, whole, start), 0, 0, []
    while kills < count:
        out = folder / f"{verb} {runs}"
        for _ in range(min(int(rng.integers(1, 5)), count - kills)):
            wait = bool(rng.integers(4))
            moment = rng.uniform(0, seconds if wait else 2 * seconds)
            kills += kill_one(verb, out, start, moment, wait)
        process = start(arguments_of(verb, out, again=True))
        process.ended(wait=True)
        runs += 1
        found = [f"exit code {process.code}"] if process.code else differences(whole, out)
        faults += [f"{verb}, run {runs}: {fault}" for fault in found]
    return Killed(verb, kills, runs, faults)


def prepare(folder: Path) -> None:
    """Photos, labels, a recipe and a model, in the current folder."""
    make_inputs(folder, run_program)


def main() -> int:
    """Print how often each verb was killed and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50, help="kills, of all verbs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=list(VERBS), choices=list(VERBS))
    options = parser.parse_args()
    wrong = 0
    print(f"{'verb':16}{'kills':>7}{'runs':>6}{'faults':>8}")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        prepare(Path(name))
        for verb in options.verbs:
            count = (options.count + VERBS.index(verb)) // len(VERBS)
            found = killed(verb, count, options.seed, spawned, Path(name))
            print(f"{verb:16}{found.kills:7}{found.runs:6}{len(found.faults):8}", flush=True)
            print("".join(f"    {fault}\n" for fault in found.faults), end="")
            wrong += len(found.faults)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
