"""Checkpoints are read without the objects that trainers store next to the weights."""

import argparse
import collections
import datetime
import pathlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from tagwise.errors import UserError
from tagwise.published.checkpoints import read_tensors

ALIVE = []


class Lively:
    """Like an object of a trainer: it stores methods, and loading it runs code."""

    def __init__(self):
        self.history, self.mean = np.zeros(3), self.method

    def method(self):
        """Stored by the object itself, which needs getattr in its pickle."""

    def __setstate__(self, state):
        ALIVE.append(self)


class LivelyDict(dict):
    def __init__(self, *arguments):
        ALIVE.append(self)
        super().__init__(*arguments)

    def __setstate__(self, state):
        ALIVE.append(self)


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a checkpoint with `extra` next to its weights; returns the names that are read."""

    def written_and_read(extra):
        path = tmp_path / "checkpoint.pth"
        state = {"module.weight": torch.zeros(2)}
        torch.save({"meta": extra, "state_dict": state, "perf": extra}, path)
        ALIVE.clear()
        found = list(read_tensors(path))
        assert not ALIVE
        return found

    return written_and_read


@pytest.fixture
def program(monkeypatch):
    """Gives a class the name that it has in another program, for one test."""

    def renamed(path, kind):
        module, name = path.rsplit(".", 1)
        for n in range(module.count(".") + 1):
            part = module.rsplit(".", n)[0]
            monkeypatch.setitem(sys.modules, part, ModuleType(part))
        found = type(name, (kind,), {"__module__": module})
        setattr(sys.modules[module], name, found)
        return found

    return renamed


@pytest.mark.parametrize(
    "extra",
    [
        np.float64(0.5),
        np.arange(3.0),
        np.array(["nose", "left_eye"]),
        np.array([{"any": 1}], object),
        datetime.datetime(2020, 1, 1),
        pathlib.Path("runs"),
        argparse.Namespace(lr=0.1),
        collections.defaultdict(list, {"loss": [1.0]}),
        {"slice": slice(1, 2)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_checkpoint_with_arrays_dates_and_settings_is_read(checkpoint, extra):
    assert checkpoint(extra) == ["weight"]


def test_arrays_of_older_numpy_are_read(checkpoint, monkeypatch):
    """Before 2.0, the functions that create arrays were in another module."""
    monkeypatch.setattr(np._core.multiarray._reconstruct, "__module__", "numpy.core.multiarray")
    assert checkpoint(np.arange(3.0)) == ["weight"]


def test_loss_history_of_mmengine(checkpoint, program):
    history = program("mmengine.logging.history_buffer.HistoryBuffer", Lively)
    assert checkpoint({"train/loss": history()}) == ["weight"]


@pytest.mark.parametrize(
    "path",
    [
        "easydict.EasyDict",
        "mmcv.utils.config.ConfigDict",
        "mmengine.config.config.ConfigDict",
        "yacs.config.CfgNode",
    ],
)
def test_settings_of_training_programs_are_read(checkpoint, program, path):
    settings = program(path, LivelyDict)
    assert checkpoint(settings({"lr": 0.1, "model": settings({"width": 32})})) == ["weight"]


def test_unknown_names_are_refused(checkpoint, program):
    other = program("some_trainer.State", Lively)
    with pytest.raises(UserError, match=r"some_trainer\.State.*nothing was read"):
        checkpoint(other())
    assert not ALIVE
