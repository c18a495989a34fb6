"""Checkpoints restore everything; damaged ones and those of other programs are refused."""

import random

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tagwise.errors import UserError
from tagwise.training.checkpoint import Checkpoint


def checkpoint(folder, outputs=2, seed=0):
    """A small model with its optimizer, after one step."""
    torch.manual_seed(seed)
    model = nn.Linear(3, outputs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    average = AveragedModel(model)
    model(torch.randn(4, 3)).square().mean().backward()
    optimizer.step()
    average.update_parameters(model)
    return Checkpoint(folder, model, average, optimizer)


def test_checkpoint_restores_everything_that_changes(tmp_path):
    saved = checkpoint(tmp_path)
    assert saved.is_best(0.4)
    saved.save(7)
    expected_noise = torch.rand(3)
    loaded = checkpoint(tmp_path, seed=1)
    assert loaded.load() == 7
    assert torch.equal(torch.rand(3), expected_noise)
    assert not loaded.is_best(0.3)
    assert loaded.is_best(0.5)
    for part in ("model", "average"):
        before, after = (getattr(each, part).state_dict() for each in (saved, loaded))
        assert all(torch.equal(after[name], values) for name, values in before.items())
    moments = [each.optimizer.state_dict()["state"][0]["exp_avg"] for each in (saved, loaded)]
    assert torch.equal(*moments)


def test_run_without_a_checkpoint_starts_at_step_0(tmp_path):
    assert checkpoint(tmp_path).load() == 0


def test_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoint(tmp_path).save(1)
    with pytest.raises(UserError, match=r"last\.pt is damaged or does not match this recipe"):
        checkpoint(tmp_path, outputs=5).load()


@pytest.mark.parametrize("damage", [lambda data: b"rubbish", lambda data: data[:500]])
def test_damaged_checkpoint_is_refused(tmp_path, damage):
    checkpoint(tmp_path).save(1)
    path = tmp_path / "last.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"last\.pt is damaged or does not match this recipe"):
        checkpoint(tmp_path).load()


def test_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    saved = checkpoint(tmp_path)
    saved.save(1)
    before = (tmp_path / "last.pt").read_bytes()

    def full(state, file):
        file.write(b"half of it")
        raise RuntimeError("unexpected pos 1 vs 2")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"cannot write .*last\.pt .*free space"):
        saved.save(2)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("part", ["step", "best", "model", "average", "optimizer", "random"])
def test_checkpoint_without_a_part_is_refused(tmp_path, part):
    checkpoint(tmp_path).save(1)
    path = tmp_path / "last.pt"
    saved = torch.load(path, weights_only=True)
    del saved[part]
    torch.save(saved, path)
    with pytest.raises(UserError, match=rf"is damaged or does not match .*'{part}' is missing"):
        checkpoint(tmp_path).load()


@pytest.mark.parametrize("part", ["step", "best", "model", "average", "optimizer", "random"])
@pytest.mark.parametrize("value", [None, "x", [], {}, {"x": 1}, torch.zeros(3)], ids=str)
def test_checkpoint_with_an_invalid_part_is_refused(tmp_path, part, value):
    checkpoint(tmp_path).save(1)
    path = tmp_path / "last.pt"
    torch.save(torch.load(path, weights_only=True) | {part: value}, path)
    with pytest.raises(UserError, match="is damaged or does not match this recipe") as caught:
        checkpoint(tmp_path).load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], 3, None, torch.zeros(2), "text"], ids=str)
def test_checkpoint_with_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(UserError, match="is damaged or does not match this recipe"):
        checkpoint(tmp_path).load()


def test_truncated_or_overwritten_checkpoint_is_refused(tmp_path):
    checkpoint(tmp_path).save(1)
    path, rng = tmp_path / "last.pt", random.Random(0)
    content = path.read_bytes()
    reasons = []
    for _ in range(100):
        start, length = rng.randrange(len(content)), rng.choice([1, 64, 10_000])
        hole = bytes(min(length, len(content) - start))
        holed = content[:start] + hole + content[start + len(hole) :]
        path.write_bytes(rng.choice([content[:start], holed]))
        try:
            checkpoint(tmp_path).load()
        except UserError as error:
            reasons.append(str(error))
    assert len(reasons) > 50
    assert not [reason for reason in reasons if "\n" in reason]


def test_folder_named_like_the_checkpoint_is_refused(tmp_path):
    (tmp_path / "last.pt").mkdir()
    with pytest.raises(UserError, match=r"checkpoint .* is a folder"):
        checkpoint(tmp_path).load()
