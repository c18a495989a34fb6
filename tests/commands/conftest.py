"""Fixtures that the tests of several verbs share."""

import pytest

from small_runs import write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, "train", 1000, seed=0)
    write_scenes(folder, "val", 24, seed=1)
    return folder
