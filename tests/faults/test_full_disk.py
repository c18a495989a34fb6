"""The short form of `full_disk.py`: a limit on the size of files simulates a full disk."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import pytest

from disks import file_limit
from faults.full_disk import CASES, ROWS, attempt, make_folder, make_inputs, same_results
from tagwise.cli import main


def run(arguments):
    error = io.StringIO()
    with redirect_stderr(error), redirect_stdout(io.StringIO()):
        code = main(arguments)
    return code, error.getvalue()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_inputs(folder, run)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_full_disk_loses_nothing(name, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(inputs)
    case, whole = CASES[name], tmp_path / "whole"
    make_folder(case, whole)
    assert attempt(case, whole, run) == (True, [])
    sizes = sorted(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    for number, limit in enumerate((sizes[0] // 2, (sizes[-2:][0] + sizes[-1]) // 2 - 1)):
        out = tmp_path / f"out{number}"
        make_folder(case, out)
        with file_limit(limit):
            assert attempt(case, out, run) == (False, [])
        again = replace(case, arguments=case.arguments + case.again)
        assert attempt(again, out, run) == (True, [])
        assert same_results(whole, out)


def test_finished_log_has_the_expected_rows(inputs):
    assert len((inputs / "finished" / "log.jsonl").read_text().splitlines()) == ROWS
