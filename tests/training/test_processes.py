"""Training in two processes that share the photos of each step and of the validation set."""

import os
import subprocess
import sys

import pytest

from small_runs import recipe_for, rows, write_scenes
from tagwise.commands.evaluate import evaluate
from tagwise.training.recipe import save_recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run in two processes, with five photos to validate, and what it printed."""
    folder = tmp_path_factory.mktemp("processes")
    write_scenes(folder, "train", 12, seed=0)
    write_scenes(folder, "val", 5, seed=1)
    save_recipe(recipe_for(folder, 30, save_every=0), folder / "two.yaml")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    train = ["-m", "tagwise", "train", folder / "two.yaml", "--out", folder / "run"]
    command = [*map(str, [*launch, *train]), "--optim.batch", "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder, ran.stderr


def test_each_photo_of_the_validation_set_counts_once(run):
    """The figure is that of one process that measures the whole set."""
    folder, _ = run
    best = max((row for row in rows(folder / "run") if "val_AP" in row), key=lambda r: r["val_AP"])
    arguments = (folder / "run" / "best.safetensors", folder / "val.json", folder / "val")
    measured = evaluate(*arguments, quiet=True)["metrics"]
    assert measured["AR"] == best["val_AR"]
    assert measured["AP"] == best["val_AP"]
    assert measured["AR"] > 0


def test_only_the_main_process_writes(run):
    folder, told = run
    assert [row["step"] for row in rows(folder / "run") if "total" in row] == list(range(1, 31))
    assert told.count("2 processes, cpu, fp32") == 1
    assert told.count("step 30: AP") == 1
    assert "30 with 8 images each" in told
