"""The training log: rows are kept, damaged lines are removed, and a full disk loses nothing."""

import json

import pytest
import torch

from disks import file_limit
from tagwise.errors import UserError
from tagwise.training.log import TrainingLog
from tagwise.training.recipe import DataConfig, Recipe, RunConfig, SetConfig


@pytest.fixture
def recipe():
    sets = (SetConfig("a.json", "photos"),)
    return Recipe(data=DataConfig(train=sets), run=RunConfig(log_every=1))


def make_rows(log, steps):
    for step in steps:
        log.step(step, {"total": torch.tensor(1.5)}, torch.tensor(2.0), 0.1)


def steps_in(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_rows_after_the_checkpoint_are_written_again(recipe, tmp_path):
    make_rows(TrainingLog(tmp_path, recipe, 0, quiet=False), range(1, 8))
    log = TrainingLog(tmp_path, recipe, 5, quiet=False)
    assert steps_in(tmp_path) == [1, 2, 3, 4, 5]
    make_rows(log, range(6, 9))
    assert steps_in(tmp_path) == list(range(1, 9))


def test_new_run_starts_a_new_log(recipe, tmp_path):
    make_rows(TrainingLog(tmp_path, recipe, 0, quiet=False), range(1, 4))
    TrainingLog(tmp_path, recipe, 0, quiet=False)
    assert steps_in(tmp_path) == []


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff", b"\0" * 4096, b"[" * 50_000])
def test_damaged_line_is_removed_and_reported(recipe, tmp_path, line, capsys):
    make_rows(TrainingLog(tmp_path, recipe, 0, quiet=False), range(1, 4))
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(line + b'\n{"step": 4}\n')
    capsys.readouterr()
    TrainingLog(tmp_path, recipe, 4, quiet=False)
    assert steps_in(tmp_path) == [1, 2, 3, 4]
    messages = [line for line in capsys.readouterr().err.splitlines() if "log.jsonl" in line]
    assert len(messages) == 1
    assert "1 damaged line(s), the first in line 4" in messages[0]


@pytest.mark.parametrize("row", [b"{}", b'{"step": "two"}', b'{"step": null}'])
def test_row_without_a_step_is_removed(recipe, tmp_path, row):
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n' + row + b"\n")
    TrainingLog(tmp_path, recipe, 4, quiet=False)
    assert steps_in(tmp_path) == [1]


def test_full_disk_keeps_every_row(recipe, tmp_path):
    """All 2,000 rows are kept by failed attempts to restart the log and to add a row."""
    path = tmp_path / "log.jsonl"
    TrainingLog(tmp_path, recipe, 0, quiet=False)
    path.write_text("".join(f'{{"step": {step}}}\n' for step in range(1, 2001)))
    before = path.read_bytes()
    with file_limit(4096), pytest.raises(UserError, match=r"cannot write .*log\.jsonl"):
        TrainingLog(tmp_path, recipe, 1999, quiet=False)
    assert path.read_bytes() == before
    log = TrainingLog(tmp_path, recipe, 2000, quiet=False)
    with file_limit(len(before) + 20), pytest.raises(UserError, match=r"cannot write .*log\.jsonl"):
        make_rows(log, [2001])
    assert path.read_bytes() == before


def test_full_disk_keeps_the_old_recipe(recipe, tmp_path):
    (tmp_path / "recipe.yaml").write_text("before")
    with file_limit(100), pytest.raises(UserError, match=r"cannot write .*recipe\.yaml"):
        TrainingLog(tmp_path, recipe, 0, quiet=False)
    assert (tmp_path / "recipe.yaml").read_text() == "before"
