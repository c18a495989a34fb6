"""Every example in a docstring runs and gives the written output."""

import doctest
import importlib
import pkgutil

import pytest

import tagwise

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(tagwise.__path__, "tagwise.")
    if not info.name.endswith(("__main__", "_triton"))  # triton comes with torch's CUDA builds
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
