"""Setup of every test run: reproducible random numbers, and compiled code for this machine."""

import os
import random
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import register_random, settings

import parity_table
import tagwise

torch.set_num_threads(1)

# Otherwise torch loads machine code compiled for another instruction set, and crashes.
CAPABILITY = torch.backends.cpu.get_cpu_capability().lower()
OWN = f"tagwise-tests-{os.environ.get('USER', 'nobody')}-{CAPABILITY}"
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / OWN))

# OpenVINO rounds differently, and converting a network takes seconds. Tests of it ask for it.
os.environ.setdefault("TAGWISE_RUNTIME", "torch")

# CI uses the same examples each time; elsewhere each run tries new ones. No example fails because
# the machine is slow.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


class TorchRandom:
    """The generator of torch, which hypothesis seeds and restores like those of Python."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # hypothesis keeps only a weak reference
register_random(TORCH_RANDOM)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Seed the generators, so that a test draws the same numbers in any order and process."""
    torch.manual_seed(0)
    random.seed(0)


def pytest_configure(config):
    """Remove stale caches: numba keeps a compiled loop when a loop that it calls has changed."""
    if hasattr(config, "workerinput"):
        return  # the main process does it
    package = Path(tagwise.__file__).parent
    loops = [path for path in package.rglob("*.py") if "@compiled" in path.read_text("utf-8")]
    newest = max(path.stat().st_mtime for path in loops)
    for kept in package.rglob("__pycache__/*.nb[ci]"):
        if kept.stat().st_mtime < newest:
            kept.unlink()


def pytest_sessionfinish():
    parity_table.write()
