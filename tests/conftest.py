"""Fixtures that several test files share."""

import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

import parity_table
import tagwise

torch.set_num_threads(1)

# CI asks whether this commit is sound, with the same examples each time; elsewhere new ones are
# tried at every run.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


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


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real and golden data beside the project; the test skips where it is absent."""
    default = Path(__file__).parents[1].parent / "shared"
    folder = Path(os.environ.get("TAGWISE_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of shared data at {folder}; set TAGWISE_SHARED to one")
    return folder


@pytest.fixture(scope="session")
def golden(shared: Path):
    """The helper module of the golden data (numbers produced by the official code)."""
    sys.path.insert(0, str(shared / "golden"))
    import check

    parity_table.watch(check)
    return check


def pytest_sessionfinish():
    parity_table.write()
