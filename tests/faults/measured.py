"""Running something that may fail in any way, in a process of its own, and measuring it."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from typing import NamedTuple

from tagwise.errors import UserError


class Measured(NamedTuple):
    """What came of a call.

    what: "read", "refused" (a UserError), "raised" (any other exception), "crashed" (the process
    died) or "hung". text: of the error. seconds: of a processor, which other work beside does not
    change. mib: memory at its peak, above what the process held before. noise: what was printed to
    stderr.
    """

    what: str
    text: str
    seconds: float
    mib: float
    noise: str


def measured(call: Callable[[], object], seconds: int = 30) -> Measured:
    """Run a call in a fork of this process; it is killed after `seconds`."""
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as noise:
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            os.dup2(noise.fileno(), 2)
            signal.alarm(seconds)
            # What it holds at first is less than its parent does: mapped files are not counted.
            os.write(answer.fileno(), f"{_resident()}\n".encode())
            os.write(answer.fileno(), json.dumps(_answer(call)).encode())
            os._exit(0)
        _, status, usage = os.wait4(child, 0)
        taken = usage.ru_utime + usage.ru_stime
        answer.seek(0), noise.seek(0)
        before, told = float(answer.readline()), answer.read()
        if status == 0 and told:
            what, text = json.loads(told)
        else:
            died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else status
            what, text = "hung" if died == signal.SIGALRM else "crashed", f"signal {died}"
        mib = max(0.0, usage.ru_maxrss / 1024 - before)
        return Measured(what, text, taken, mib, noise.read().decode(errors="replace"))


def _answer(call: Callable[[], object]) -> tuple[str, str]:
    try:
        call()
    except UserError as error:
        return "refused", str(error)
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {error}"
    return "read", ""


def _resident() -> float:
    """MiB that this process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
