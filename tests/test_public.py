"""The public names of the package: lazy, and the functions rather than modules of their names."""

import subprocess
import sys

import pytest

import tagwise


@pytest.mark.parametrize("name", tagwise.__all__)
def test_public_names_resolve(name):
    assert getattr(tagwise, name) is not None
    assert name in dir(tagwise)


@pytest.mark.parametrize("verb", ["predict", "train", "evaluate"])
def test_a_verb_is_a_function_even_after_its_module_was_imported(verb):
    code = (
        f"import tagwise, tagwise.commands.{verb}; assert callable(tagwise.{verb}), tagwise.{verb}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, tagwise; heavy = {'torch', 'numpy', 'cv2', 'numba', 'scipy', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'peeple'"):
        _ = tagwise.peeple
