"""Every benchmark tells what it measures, and one without its scenes says what it lacks."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("[!_]*.py"))


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(monkeypatch, capsys, name):
    assert run(monkeypatch, name, "--help") == 0
    title = (FOLDER / name).read_text().splitlines()[0].strip('"')
    assert " ".join(title.split()) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["corners.py", "decode.py"])
def test_no_scenes(monkeypatch, capsys, tmp_path, name):
    assert run(monkeypatch, name, str(tmp_path)) == 0
    assert f"skipped: {tmp_path} has no " in capsys.readouterr().err
