"""`tagwise new`: what it writes runs, passes its tests, and has no fault that a linter finds."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tagwise
from tagwise.cli import main
from tagwise.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "new_ingredient.md"


def run(*command, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment["PYTHONPATH"] = str(Path(tagwise.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    return tagwise.new("ingredient", "blobs", out=folder).folder


def test_files_have_the_name_of_the_package(made):
    files = {path.name: path.read_text() for path in made.iterdir()}
    parts = {"data.py", "network.py", "tags.py", "metric.py", "plot.py", "train.py"}
    assert set(files) == parts | {"__init__.py", "README.md", "test_blobs.py"}
    assert not [name for name, text in files.items() if "my_task" in text]
    assert "python -m blobs.train" in files["README.md"]


def test_its_own_tests_pass(made):
    assert "9 passed" in run("pytest", "blobs", "-q", "-p", "no:cacheprovider", cwd=made.parent)


def test_it_trains_as_a_program(made, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(made.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "--steps", "100", "--scenes", "1500"])
    runpy.run_module("blobs.train", run_name="__main__")
    scores = [float(share) for share in re.findall(r"pair F1 ([\d.]+)%", capsys.readouterr().out)]
    assert scores[0] < 40
    assert scores[1] > 60  # 95 after 500 steps
    assert (tmp_path / "blobs_run" / "groups.png").stat().st_size > 10_000


def test_linters_find_nothing(made):
    """With their own defaults, as in a folder without settings."""
    run("ruff", "check", "--isolated", "blobs", cwd=made.parent)
    run("ruff", "format", "--isolated", "--check", "blobs", cwd=made.parent)


def test_mypy_finds_nothing(made, pytestconfig, monkeypatch):
    pytest.importorskip("mypy", reason="needs the extra 'test'")
    monkeypatch.setenv("MYPY_CACHE_DIR", str(pytestconfig.cache.mkdir("mypy")))
    options = ("--strict", "--config-file=", "--follow-imports=silent", "--allow-untyped-calls")
    run("mypy", *options, "blobs", cwd=made.parent)


def test_page_names_every_file_of_the_template(made):
    page = PAGE.read_text()
    for path in made.iterdir():
        assert f"`{path.name.replace('blobs', 'my_task')}`" in page or path.name == "__init__.py"


def test_command_says_what_to_run_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "ingredient", "stars"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("wrote stars: README.md, __init__.py, data.py")
    assert "\n  python -m stars.train\n  python -m pytest stars\n" in told


def test_nothing_is_replaced_without_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["new", "ingredient", "stars"])
    mine = Path("stars", "data.py")
    mine.write_text("mine")
    Path("stars", "notes.txt").write_text("mine")
    assert main(["new", "ingredient", "stars"]) == 2
    assert mine.read_text() == "mine"
    assert "stars exists; add --overwrite" in capsys.readouterr().err
    assert main(["new", "ingredient", "stars", "--overwrite"]) == 0
    assert "\nreplaced README.md, __init__.py, data.py" in capsys.readouterr().out
    assert "def make_scene" in mine.read_text()
    assert Path("stars", "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-task", "'my-task' is not a name of a Python package; use letters, digits and _"),
        ("3d", "no digit first"),
        ("", "'' is not a name"),
        ("a/b", "'a/b' is not a name"),
        ("größe", "use letters"),
        ("class", "class is a word of the Python language"),
        ("random", "random is the name of a module of Python"),
        ("__main__", "__main__ is the name of a module of Python"),
        ("torch", "torch is the name of a package that is installed"),
        ("tagwise", "tagwise is the name of a package that is installed"),
    ],
)
def test_names_that_python_cannot_import_are_refused(name, message, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        tagwise.new("ingredient", name, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_templates_are_named(tmp_path):
    with pytest.raises(UserError, match="unknown template 'ingrediant'; did you mean 'ingredient'"):
        tagwise.new("ingrediant", "stars", out=tmp_path)


def test_a_failure_leaves_no_folder(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="cannot create the folder"):
        tagwise.new("ingredient", "stars", out=tmp_path / "taken")
    with pytest.raises(UserError, match="cannot create the folder"):
        tagwise.new("ingredient", "taken", out=tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
