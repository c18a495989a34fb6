"""The train command: recipes and output folders."""

from dataclasses import replace

import pytest
import yaml

from small_runs import recipe_for, rows, write_scenes
from tagwise.commands.train import train
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.training.recipe import TunedConfig, load_recipe, save_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe of two steps, as an object."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, "train", 8, seed=0)
    write_scenes(folder, "val", 4, seed=1)
    return recipe_for(folder, 2)


def test_run_is_named_after_the_recipe_and_keeps_overrides(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_recipe(recipe, "figures.yaml")
    folder = train("figures.yaml", overrides=["optim.steps=1", "optim.batch=2"])
    assert folder.resolve() == tmp_path / "runs" / "figures"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "recipe.yaml",
        "log.jsonl",
        "last.pt",
        "best.safetensors",
        "last.safetensors",
    }
    kept = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert (kept["optim"]["steps"], kept["optim"]["batch"]) == (1, 2)
    assert rows(folder)[-1]["step"] == 1


def test_overrides_need_a_recipe_file(recipe, tmp_path):
    with pytest.raises(UserError, match="change the Recipe instead"):
        train(recipe, out=tmp_path / "run", overrides=["optim.steps=1"])
    assert not (tmp_path / "run").exists()


def test_run_keeps_the_tuned_section_and_uses_its_values(recipe, tmp_path):
    first = recipe.data.train[0].annotations
    tuned = TunedConfig(first, decoder={"threshold": 0.7}, info={"data": "figures"})
    folder = train(replace(recipe, decoder={}, tuned=tuned), out=tmp_path / "run")
    spec = load_model(folder / "last.safetensors").spec
    assert (spec.decoder["threshold"], spec.info["data"]) == (0.7, "figures")
    assert load_recipe(folder / "recipe.yaml").tuned == tuned


def test_settings_that_have_moved_are_named(recipe, tmp_path, capsys):
    grouping = {"method": "greedy", "match_limit": 20}
    recipe = replace(recipe, task_options={**recipe.task_options, "grouping": grouping})
    save_recipe(recipe, tmp_path / "earlier.yaml")
    train(tmp_path / "earlier.yaml", out=tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if "now called" in line]
    assert lines == [
        f"tagwise: {tmp_path / 'earlier.yaml'}: task_options.grouping.match_limit is now called "
        "task_options.grouping.published.match_limit; the value is used"
    ]


def test_existing_run_is_not_overwritten(recipe, tmp_path):
    folder = train(recipe, out=tmp_path / "run")
    before = (folder / "last.safetensors").read_bytes()
    with pytest.raises(UserError, match="add --resume"):
        train(recipe, out=tmp_path / "run")
    assert (folder / "last.safetensors").read_bytes() == before


def test_resuming_a_finished_run_adds_no_step(recipe, tmp_path):
    folder = train(recipe, out=tmp_path / "run")
    before = rows(folder)
    assert train(recipe, out=tmp_path / "run", resume=True) == folder
    assert rows(folder) == before
