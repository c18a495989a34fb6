"""The wheel and the source archive: what is in them, and that an installed tagwise works."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import tagwise
from tagwise.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
RECIPES = {str(path.relative_to(ROOT)) for path in ROOT.glob("recipes/**/*.yaml")}
BUILD = """
import sys
from setuptools import build_meta
kind, out = sys.argv[1:]
if kind == "wheel":  # stored, not compressed, which saves time
    build_meta.build_wheel(out, {"--build-option": ["--compression", "stored"]})
else:
    build_meta.build_sdist(out)
"""

METADATA = """
from setuptools import build_meta
build_meta.prepare_metadata_for_build_wheel("out")
"""

pytestmark = pytest.mark.skipif(
    not (ROOT / "setup.py").exists(), reason="needs the source tree of tagwise"
)


def run(*command, **options):
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran


def build(kind, folder):
    """Build a package from a copy of the source tree in a folder, without network.

    The files of the copy have new times.
    """
    ignore = shutil.ignore_patterns(
        "__pycache__", "*.egg-info", ".git", ".venv", "build", "dist", "out", "runs", "shared"
    )
    shutil.copytree(ROOT, folder / "tree", ignore=ignore, copy_function=shutil.copy)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-c", BUILD, kind, folder / "out"]
    run(*command, cwd=folder / "tree", env=environment)
    return next((folder / "out").iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A function that runs the installed tagwise, in a folder that has nothing of the source."""
    target, elsewhere = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run(*pip, "--no-compile", "--target", target, wheel)
    environment = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}

    def call(*arguments):
        return run(sys.executable, *arguments, cwd=elsewhere, env=environment).stdout

    call.folder, call.target = elsewhere, target
    return call


def test_wheel_holds_recipes_models_pages_and_licences(wheel):
    assert wheel.name == f"tagwise-{tagwise.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    assert len(RECIPES) >= 10
    assert {f"tagwise/{recipe}" for recipe in RECIPES} <= names
    data = ("weights/people.safetensors", "weights/people.md", "py.typed", "plot/page.css")
    data += ("published/registry.toml", "serving/static/index.html")
    data += ("commands/templates/ingredient/README.md",)
    assert {f"tagwise/{name}" for name in data} <= names
    assert {name.split("/")[0] for name in names} == {
        "tagwise",
        f"tagwise-{tagwise.__version__}.dist-info",
    }
    licences = f"tagwise-{tagwise.__version__}.dist-info/licenses"
    assert {f"{licences}/LICENSE", f"{licences}/NOTICE"} <= names
    sources = {str(p.relative_to(ROOT / "src")) for p in ROOT.glob("src/tagwise/**/*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_wheels_of_one_source_are_equal(wheel, tmp_path):
    """Built in another folder, from files with other times."""
    again = build("wheel", tmp_path)
    assert hashes(again) == hashes(wheel)


def test_the_container_file_copies_all_that_the_wheel_is_built_from(wheel, tmp_path):
    (tmp_path / "tree").mkdir()
    lines = (ROOT / "examples" / "Containerfile").read_text().partition("RUN")[0].splitlines()
    for line in (line for line in lines if line.startswith("COPY ")):
        for name in line.split()[1:-1]:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / "tree" / name)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-c", BUILD, "wheel", tmp_path / "out"]
    run(*command, cwd=tmp_path / "tree", env=environment)
    assert hashes(next((tmp_path / "out").iterdir())) == hashes(wheel)


def hashes(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_source_archive_holds_what_is_needed_to_read_test_and_build(tmp_path):
    archive = build("sdist", tmp_path)
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "setup.py", "Makefile", "constraints.txt", "README.md"} <= names
    assert {"LICENSE", "NOTICE", "CONTRIBUTING.md", *RECIPES} <= names
    for folder in ("docs", "examples", "benchmarks", "tests"):
        pattern = ("*.py", "*.md", "*.jpg")
        there = {str(p.relative_to(ROOT)) for each in pattern for p in (ROOT / folder).rglob(each)}
        assert there <= names, folder
    assert not [name for name in names if "__pycache__" in name or name.startswith("shared")]


def test_installed_recipe_is_copied_and_reads_as_one(installed):
    told = installed("-m", "tagwise", "train", "robots.yaml", "--copy")
    assert told == "robots.yaml is yours to edit; then run tagwise train robots.yaml\n"
    copy = installed.folder / "robots.yaml"
    assert copy.read_bytes() == (ROOT / "recipes" / "robots.yaml").read_bytes()
    assert load_recipe(copy).task == "pose"


def test_installed_package_is_the_wheel_and_states_its_version(installed):
    code = "import tagwise, importlib.metadata as m; print(tagwise.__file__, m.version('tagwise'))"
    place, version = installed("-c", code).split()
    assert Path(place) == installed.target / "tagwise" / "__init__.py"
    assert version == tagwise.__version__


@pytest.mark.parametrize("source", [None, "https://example.com/us/tagwise"])
def test_links_of_the_readme_are_absolute_once_the_source_has_an_address(tmp_path, source):
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / file, tmp_path / file)
    package = tmp_path / "src" / "tagwise"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "1.0"\n')
    (tmp_path / "out").mkdir()
    if source:
        project = tmp_path / "pyproject.toml"
        project.write_text(project.read_text() + f'\n[project.urls]\nSource = "{source}"\n')
    run(sys.executable, "-c", METADATA, cwd=tmp_path)
    text = next(tmp_path.glob("out/*/METADATA")).read_text()
    links = set(re.findall(r"\]\(([^)#]+)", text.partition("\n\n")[2]))
    if not source:
        assert "docs/images/figure_instances.jpg" in links
        return
    assert f"{source}/raw/main/docs/images/figure_instances.jpg" in links
    assert f"{source}/blob/main/docs/boxes.md" in links
    assert all(link.startswith("https://") for link in links)
