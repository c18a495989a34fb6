"""The short form of `signals.py`."""

import random
import signal

import pytest

from faults.signals import attempts, interrupt, make_signal_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_signal_inputs(folder)
    return folder


@pytest.mark.parametrize("name", ["predict --coco", "train"])
def test_signals_lose_nothing(name, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(inputs)
    outcomes = list(attempts(name, 1, random.Random(0), tmp_path))
    assert [fault for outcome in outcomes for fault in outcome.faults] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_the_start_stops_the_program(number, inputs, tmp_path, monkeypatch):
    """While the program imports torch."""
    monkeypatch.chdir(inputs)
    outcome = interrupt("eval", tmp_path / "out", number, 0.3)
    assert outcome.what in ("killed", "stopped")
    assert outcome.faults == []
