"""A short form of bad_checkpoints.py."""

import os

import bad_checkpoints
import numpy as np
import pytest
from hostile_files import (
    hostile_checkpoints,
    hostile_graphs,
    hostile_pickles,
    hostile_safetensors,
    other_files,
    torch_old,
)

from tagwise.errors import UserError
from tagwise.models.load import load_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
ZIPPED = [pair for pair in hostile_checkpoints() if pair[0].startswith("zip")]


def id_of(value):
    return value if isinstance(value, str) else ""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    files = bad_checkpoints.sound_files(folder)
    bad_checkpoints.warm_up(folder)
    return files


@pytest.mark.parametrize(("name", "data"), ZIPPED, ids=id_of)
def test_hostile_checkpoints_are_refused(sound, tmp_path, monkeypatch, name, data):
    monkeypatch.chdir(tmp_path)
    found = bad_checkpoints.load_measured(data, tmp_path / "file.pth")
    assert bad_checkpoints.fault_of(found, may_load=False) is None
    assert not (tmp_path / "ran").exists()


def test_hostile_files_of_early_torch_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _, content in hostile_pickles():
        (tmp_path / "file.pth").write_bytes(torch_old(content))
        with pytest.raises(UserError, match=r"file\.pth"):
            load_model(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("name", "data", "word"), list(other_files()), ids=id_of)
def test_error_names_the_type_of_other_files(tmp_path, name, data, word):
    path = tmp_path / "file.pth"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        load_model(path)
    text = str(caught.value)
    assert word in text
    unpickle = name in ("a network", "Lightning")
    assert ("weights_only=False" in text) == unpickle
    for suffix in (".safetensors", ".onnx"):
        path.with_suffix(suffix).write_bytes(data)
        with pytest.raises(UserError) as caught:
            load_model(path.with_suffix(suffix))
        assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(("name", "data"), list(hostile_safetensors()), ids=id_of)
def test_hostile_safetensors_are_refused(tmp_path, name, data):
    (tmp_path / "file.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"file\.safetensors"):
        load_model(tmp_path / "file.safetensors")


def test_hostile_graphs_are_refused(sound, tmp_path):
    graphs = dict(hostile_graphs(sound.graph))
    assert len(graphs) > 12
    for name, data in graphs.items():
        outcome = bad_checkpoints.load_measured(data, tmp_path / "file.onnx")
        assert bad_checkpoints.fault_of(outcome, may_load=False) is None, (name, outcome)


def test_random_damage_is_refused_or_read(sound, tmp_path):
    rng = np.random.default_rng(3)
    loaded = 0
    for _ in range(40):
        kind, suffix, data = bad_checkpoints.damaged(sound, rng)
        found = bad_checkpoints.load_measured(data, tmp_path / f"file{suffix}")
        assert bad_checkpoints.fault_of(found, may_load=True) is None, (kind, found)
        loaded += found.outcome == "read"
    assert loaded < 40
