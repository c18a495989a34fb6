"""Fixtures shared by the tests of training."""

import pytest

from small_runs import write_scenes


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Photos of stick figures on disk: 1000 to train on, 24 to validate on."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, "train", 1000, seed=0)
    write_scenes(folder, "val", 24, seed=1)
    return folder
