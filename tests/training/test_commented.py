"""Recipes with comments read back as the values that they were written from."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tagwise.training.commented import commented_recipe
from tagwise.training.recipe import load_recipe

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 10**6), st.floats(-1e4, 1e4), st.text(max_size=12)
)


@given(VALUES | st.lists(VALUES, max_size=3) | st.dictionaries(st.text(max_size=5), VALUES))
def test_values_read_back(value):
    text = commented_recipe({"task": value}, {"task": "a reason"}, [])
    assert yaml.safe_load(text) == {"task": value}


@pytest.mark.parametrize("name", ["no", "1e-3", "maus: grau", "ア/ナ.json", "# 1", "~", "a, b"])
def test_names_of_files_read_back_as_text(name, tmp_path):
    tree = {"data": {"root": name, "train": [{"annotations": name, "images": name}]}}
    (tmp_path / "r.yaml").write_text(commented_recipe(tree, {"data.root": "why"}, []), "utf-8")
    recipe = load_recipe(tmp_path / "r.yaml")
    assert (recipe.data.root, recipe.data.train[0].annotations) == (name, name)


def test_odd_characters_in_comments_do_no_harm():
    text = commented_recipe({"task": "pose"}, {"task": "a\n: b\x00\x85"}, ["x\u2028y: z\x7f"])
    assert yaml.safe_load(text) == {"task": "pose"}


def test_comments_are_beside_short_lines_and_above_long_ones():
    tree = {"optim": {"steps": 9, "batch": 8}, "model": {"freeze": ["trunk"]}}
    reasons = {"optim.steps": "few", "optim.batch": "word " * 30}
    text = commented_recipe(tree, reasons, ["Title " * 30])
    assert "  steps: 9  # few\n" in text
    assert max(map(len, text.splitlines())) <= 100
    lines = text.splitlines()
    assert lines[lines.index("  batch: 8") - 1].startswith("  # word")
    assert yaml.safe_load(text) == tree
