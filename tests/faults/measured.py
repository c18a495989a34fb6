"""Run a call that may fail in any way in a separate process, and measure it."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tagwise.errors import UserError


class Measured(NamedTuple):
    """The outcome of a call.

    outcome: "read", "refused" (a UserError), "raised" (any other exception), "crashed" (the process
    died) or "hung". text: the error message. seconds: processor time, which does not depend on
    other processes. mib: the increase of the peak memory in MiB. output: the text on stderr.
    """

    outcome: str
    text: str
    seconds: float
    mib: float
    output: str


def measured(call: Callable[[], object], seconds: int = 30) -> Measured:
    """Run a call in a fork of this process, which is killed after `seconds`."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            os.dup2(output.fileno(), 2)
            signal.alarm(seconds)
            # The memory at the start is less than that of the parent, without mapped files.
            os.write(answer.fileno(), f"{_resident()}\n".encode())
            os.write(answer.fileno(), json.dumps(_answer(call)).encode())
            os._exit(0)
        _, status, usage = os.wait4(child, 0)
        taken = usage.ru_utime + usage.ru_stime
        answer.seek(0), output.seek(0)
        before, result = float(answer.readline()), answer.read()
        if status == 0 and result:
            outcome, text = json.loads(result)
        else:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else status
            outcome = "hung" if number == signal.SIGALRM else "crashed"
            text = f"signal {number}"
        mib = max(0.0, usage.ru_maxrss / 1024 - before)
        return Measured(outcome, text, taken, mib, output.read().decode(errors="replace"))


def _answer(call: Callable[[], object]) -> tuple[str, str]:
    try:
        call()
    except UserError as error:
        return "refused", str(error)
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {error}"
    return "read", ""


def _resident() -> float:
    """The resident memory of this process in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def print_outcomes(outcomes: Iterable[tuple[str, Measured, str | None]]) -> int:
    """Print the number of files per group and outcome, then the faults; returns the exit code.

    outcomes: the description of a file, which begins with its group and a colon, what came of it,
    and the fault if that is one.
    """
    counts: Counter[str] = Counter()
    slowest = largest = 0.0
    faults = []
    for name, found, fault in outcomes:
        counts[f"{name.partition(':')[0]}: {found.outcome}"] += 1
        slowest, largest = max(slowest, found.seconds), max(largest, found.mib)
        if fault:
            faults.append(f"{name}: {fault}")
    for what, number in sorted(counts.items()):
        print(f"{number:6d} {what}")
    print(f"slowest {slowest:.2f} s, largest {largest:.0f} MiB, {len(faults)} faults")
    print("\n".join(faults))
    return 1 if faults else 0
