"""The train command: recipes and output folders."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from small_runs import recipe_for, rows, write_scenes
from tagwise.commands.train import train
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.training.data import open_datasets
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
        "examples.jsonl",
        "report.html",
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


def test_resuming_before_the_first_checkpoint_starts_at_the_beginning(recipe, tmp_path, capsys):
    folder = train(recipe, out=tmp_path / "run", resume=True)
    told = [line for line in capsys.readouterr().err.splitlines() if "no checkpoint" in line]
    assert told == [f"tagwise: {folder} has no checkpoint yet; training starts at the beginning"]
    assert [row["step"] for row in rows(folder) if "total" in row] == [1, 2]


def test_start_of_a_run_says_what_it_is_about(recipe, tmp_path, capsys):
    folder = train(recipe, out=tmp_path / "run")
    text = capsys.readouterr().err
    labels = json.loads((Path(recipe.data.root) / "train.json").read_text())
    for told in (
        f"8 photos to train on with {len(labels['annotations'])} instances, 4 to validate",
        "4 keypoint types, 1 left/right pair",
        "cpu, fp32",
        f"{folder}; report.html in it",
        "step 2 of 2: loss",
    ):
        assert told in text
    assert "\r" not in text  # nor does a log file get a progress bar


# ---------------------------------------------------------------------- cross-validation


@pytest.fixture(scope="module")
def folds(recipe, tmp_path_factory):
    """The folder of a cross-validation in two folds."""
    return train(recipe, out=tmp_path_factory.mktemp("folds") / "run", folds=2)


def test_each_fold_is_measured_on_images_that_it_does_not_train_on(recipe, folds):
    summary = json.loads((folds / "summary.json").read_text())
    assert [row["folder"] for row in summary["folds"]] == ["fold-1", "fold-2"]
    held_out = []
    for number in (1, 2):
        again = load_recipe(folds / f"fold-{number}" / "recipe.yaml")
        sets, val, _ = open_datasets(again)
        names = {val.info(index).file for index in range(len(val))}
        trained = {sets[0].info(index).file for index in range(len(sets[0]))}
        assert not names & trained
        assert len(names | trained) == 8
        held_out += sorted(names)
    assert sorted(held_out) == sorted(
        path.name for path in Path(recipe.data.root, "train").iterdir()
    )


def test_summary_has_the_mean_and_the_deviation_of_the_figures(folds):
    summary = json.loads((folds / "summary.json").read_text())
    for name in ("AP50", "AR"):
        values = [row["figures"][name] for row in summary["folds"]]
        assert summary["mean"][name] == pytest.approx(statistics.mean(values))
        assert summary["standard_deviation"][name] == pytest.approx(statistics.stdev(values))
    for row in summary["folds"]:
        best = rows(folds / row["folder"])[-1]
        assert row["figures"]["AR"] == best["val_AR"]


def test_finished_folds_are_kept(recipe, folds):
    before = {path: path.stat().st_mtime_ns for path in folds.rglob("*.safetensors")}
    (folds / "fold-2" / "last.safetensors").unlink()
    with pytest.raises(UserError, match=r"fold-1 holds a run already; add --resume"):
        train(recipe, out=folds, folds=2)
    train(recipe, out=folds, folds=2, resume=True)
    after = {path: path.stat().st_mtime_ns for path in folds.rglob("*.safetensors")}
    changed = {path.parent.name for path in after if after[path] != before[path]}
    assert changed <= {"fold-2"}
    assert (folds / "fold-2" / "last.safetensors").exists()
    with pytest.raises(UserError, match="trained with other values"):
        train(recipe, out=folds, folds=3, resume=True)


@pytest.mark.parametrize(("folds", "says"), [(1, "use at least 2"), (9, "8 images, too few")])
def test_impossible_folds_are_refused(recipe, tmp_path, folds, says):
    with pytest.raises(UserError, match=says):
        train(recipe, out=tmp_path / "run", folds=folds)
