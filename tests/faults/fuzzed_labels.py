"""Damaged labels, results, journals and recipes. `python tests/faults/fuzzed_labels.py`.

    python tests/faults/fuzzed_labels.py --count 5000 --seed 0

Valid files are damaged by chance and given to everything that reads such files, and what is read is
used: samples and targets are made, figures computed. Each must succeed or be refused with a
UserError of one line, within seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from label_readers import Reader, label_readers, make_photos
from recipe_readers import recipe_readers

from tagwise.errors import UserError

SECONDS, GIB = 5, 2


class Tried(NamedTuple):
    """A damaged file and what came of it: "read", "refused", or what is wrong."""

    reader: str
    number: int
    done: str
    what: str
    fault: str = ""


class _TooSlowError(BaseException):
    """A file took longer than it may."""


def readers() -> list[Reader]:
    """All readers of labels, results, journals and recipes."""
    return [*label_readers(), *recipe_readers()]


def seen(reader: Reader, data: bytes, folder: Path) -> tuple[str, str]:
    """What comes of a file with this content: what, and the fault or the refusal."""
    path = folder / reader.file
    path.write_bytes(data)
    try:
        with _limited(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            reader.use(path)
    except UserError as error:
        lines = str(error).count("\n") + 1
        if lines > 1 or len(str(error)) > 5000:
            return "fault", f"an error of {lines} lines and {len(str(error))} characters"
        if reader.named and path.name not in str(error):
            return "fault", f"an error that does not name the file: {str(error)[:200]}"
        return "refused", str(error)
    except _TooSlowError:
        return "fault", f"took more than {SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return "fault", f"{type(error).__name__}: {str(error)[:200]} ({where})"
    finally:
        path.unlink(missing_ok=True)
    return "read", ""


@contextmanager
def _limited() -> Iterator[None]:
    """Limits on time and memory, so that a file that asks for either is found."""

    def stop(*_: object) -> None:
        raise _TooSlowError

    before, old = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, stop)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (GIB << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, before)


def tried(reader: Reader, numbers: range, seed: int, folder: Path) -> Iterator[Tried]:
    """Damaged files of one reader by number, and what came of each."""
    for number in numbers:
        rng = np.random.default_rng([seed, *reader.name.encode(), number])
        data, done = reader.damaged(rng)
        what, text = seen(reader, data, folder)
        yield Tried(reader.name, number, done, what, text)


def main() -> int:
    """Print what was tried and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=5000, help="damaged files, of all readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", help="only the reader of this name")
    parser.add_argument("--number", type=int, help="only the damaged file of this number")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [each for each in readers() if options.reader in (None, each.name)]
    each = -(-options.count // len(chosen))
    numbers = range(each) if options.number is None else range(options.number, options.number + 1)
    faults, total = [], 0
    print(f"{'reader':24}{'tried':>7}{'read':>7}{'refused':>9}{'faults':>8}")
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        make_photos(Path(name))
        for reader in chosen:
            found = list(tried(reader, numbers, options.seed, Path(name)))
            kinds = [
                sum(one.what == what for one in found) for what in ("read", "refused", "fault")
            ]
            print(f"{reader.name:24}{len(found):7}{kinds[0]:7}{kinds[1]:9}{kinds[2]:8}", flush=True)
            faults += [one for one in found if one.what == "fault"]
            total += len(found)
    print(f"{total} damaged files, {len(faults)} faults")
    for one in faults:
        print(f"--seed {options.seed} --reader {one.reader!r} --number {one.number}: {one.fault}")
        print(f"    {one.done}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
