"""Runs in processes of this machine: rows, resumption, kills and bad input."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

import tagwise
from shard_outputs import assert_same, rows_of
from tagwise.cli import main
from tagwise.errors import UserError
from tagwise.scale import processes

OPTIONS = {"device": "cpu", "precision": "fp32"}


def workers():
    """The processes that work for this one."""
    children = psutil.Process().children()
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def run(weights, **options):
    return tagwise.predict("photos", weights, out="out", **{**OPTIONS, **options})


def test_two_processes_give_the_rows_of_a_plain_run(photos, weights, plain, capsys):
    found = run(weights, workers=2, shard_size=3)
    names = [result.file for result in found]
    assert names == [name for name in plain if name != "photos/bad.png"]
    assert_same(rows_of(photos.parent / "out"), plain)
    assert found.exit_code == 1
    assert found.finish().startswith("12 photos, ")
    assert "1 photo could not be read; results are in out" in found.finish()
    again = run(weights, workers=1, resume=True)
    assert "12 of the photos from an earlier run" in again.finish()
    assert capsys.readouterr().out == ""


def test_a_killed_process_loses_and_repeats_nothing(photos, weights, plain, capsys):
    def kill():
        while not (found := workers()):
            time.sleep(0.05)
        time.sleep(0.5)
        found[0].kill()

    threading.Thread(target=kill).start()
    text = run(weights, workers=1, shard_size=2).finish()
    assert text.startswith("12 photos")
    assert_same(rows_of(photos.parent / "out"), plain)
    assert "a worker process ended; starting others" in capsys.readouterr().err


class Crash:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_shard_that_crashes_its_process_ends_the_run(photos, weights, monkeypatch):
    monkeypatch.setattr(processes, "_ATTEMPTS", 1)
    monkeypatch.setattr(processes, "_predict", Crash())
    with pytest.raises(UserError, match=r"ended 1 times .* image from photos/00.png"):
        run(weights, workers=1).finish()


def test_a_killed_run_is_continued(photos, weights, plain):
    """Its processes end with it, and --resume gives the same rows."""
    command = [sys.executable, "-m", "tagwise", "predict", "photos", "--weights", weights]
    command += ["--workers", "1", "--out", "out", "--device", "cpu", "--precision", "fp32"]
    command += ["--shard-size", "1"]
    process = subprocess.Popen(command)
    while not list((photos.parent / "out").glob("done/*")) and process.poll() is None:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=20)
    assert not [each for each in children if each.is_running() and each.status() != "zombie"]
    ended = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "of the photos from an earlier run" in ended.stdout
    assert_same(rows_of(photos.parent / "out"), plain)
    assert not list((photos.parent / "out").rglob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "workers is 0; use a whole number, 1 or more"),
        (["--shard-size", "3"], "shard_size needs workers"),
        (["--workers", "2", "--show"], "show does not work with workers"),
        (["--workers", "2", "--coco", "a.json"], "coco does not work with workers"),
        (["--workers", "2", "--weights", "peeple"], "unknown weights 'peeple'"),
        (["--workers", "2", "--conf", "2"], "conf is 2.0; use a score from 0 to 1"),
        (["--workers", "2", "--device", "cuda:77"], "use --device cpu"),
        (["--workers", "2", "--out", "photos"], "photos is not empty (it has 00.png)"),
        (["--workers", "2", "--resume", "--out", "photos"], "photos is no output of a run"),
        (["--workers", "2", "--out", "x4://a/b"], "cannot open x4://a/b"),
    ],
)
def test_bad_input_is_refused_in_one_line(photos, weights, arguments, message, capsys):
    assert main(["predict", "photos", "--weights", weights, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (photos.parent / "predictions").exists()


def test_arguments_of_python_are_checked(photos, weights):
    with pytest.raises(UserError, match="give out, a folder"):
        tagwise.predict("photos", weights, workers=2)
    with pytest.raises(UserError, match="unknown engine 'spark'"):
        run(weights, engine="spark")
    with pytest.raises(UserError, match="save it with save_model"):
        run(tagwise.load_model(weights), workers=2)


def test_a_missing_package_is_named(photos, weights, monkeypatch):
    for name, options in (("ray", {"engine": "ray"}), ("pyarrow", {"workers": 2})):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(UserError, match=r"pip install 'tagwise\[scale\]'"):
                run(weights, **options)
