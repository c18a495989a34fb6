"""Tests against data that is too large for the repository, or belongs to others.

Without the folder, these tests are not collected, and `test_shared_data.py` is skipped. The same
behaviour is also tested on synthetic data: numbers of the published code in `parity` and
`models`, label files in `data`.
"""

import sys
from pathlib import Path

import pytest

import parity_table
from shared_folder import SHARED

collect_ignore_glob = [] if SHARED.is_dir() else ["*"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real and golden data next to the project."""
    return SHARED


@pytest.fixture(scope="session")
def golden():
    """The helper module of the golden data (numbers produced by the official code)."""
    sys.path.insert(0, str(SHARED / "golden"))
    import check

    parity_table.watch(check)
    return check


@pytest.fixture
def close():
    """A function that asserts stored values, and records the difference under a name."""

    def compare(case, found, expected, *, atol, rtol=0.0):
        parity_table.compare(case, found, expected, atol, rtol, parity_table.PUBLISHED)

    return compare
