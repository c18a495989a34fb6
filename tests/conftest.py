"""What every test run shares: the same random numbers, and compiled code that fits this machine."""

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

# torch would load machine code that it compiled for another instruction set, and crash.
CAPABILITY = torch.backends.cpu.get_cpu_capability().lower()
OWN = f"tagwise-tests-{os.environ.get('USER', 'nobody')}-{CAPABILITY}"
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / OWN))

# CI asks whether this commit is sound, with the same examples each time; elsewhere new ones are
# tried at every run. No example fails because the machine is slow.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


class TorchRandom:
    """torch's generator as hypothesis seeds and restores those of Python and NumPy."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


TORCH_RANDOM = TorchRandom()  # hypothesis does not keep it alive
register_random(TORCH_RANDOM)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """A test draws the same numbers whatever ran before it, in whichever process."""
    torch.manual_seed(0)
    random.seed(0)


def pytest_configure(config):
    """numba keeps a compiled loop when another loop that it calls has changed: older ones go."""
    if hasattr(config, "workerinput"):
        return  # another process has seen to it
    package = Path(tagwise.__file__).parent
    loops = [path for path in package.rglob("*.py") if "@compiled" in path.read_text("utf-8")]
    newest = max(path.stat().st_mtime for path in loops)
    for kept in package.rglob("__pycache__/*.nb[ci]"):
        if kept.stat().st_mtime < newest:
            kept.unlink()


def pytest_sessionfinish():
    parity_table.write()
