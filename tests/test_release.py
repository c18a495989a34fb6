"""What a release rests on: one version everywhere, and licences that are known and acceptable."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tagwise

ROOT = Path(__file__).parents[1]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_version, licences = tool("check_version"), tool("licences")


def test_one_version_is_stated_everywhere():
    assert check_version.differences() == (tagwise.__version__, [])


@pytest.fixture
def tree(tmp_path):
    """A small repository with the files that state the version."""
    for file in ("src/tagwise/__init__.py", "CHANGELOG.md", "CITATION.cff"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]

    def git(*arguments):
        subprocess.run(["git", *names, "-C", tmp_path, *arguments], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    return tmp_path, git


def test_tag_of_another_version_is_named(tree):
    folder, git = tree
    git("tag", f"v{tagwise.__version__}")
    assert check_version.differences(folder)[1] == []
    git("tag", "v99.0")
    assert check_version.differences(folder)[1] == ["the tag v99.0 says 99.0"]


def test_version_without_a_section_in_the_changelog_is_named(tree):
    folder, _ = tree
    page = folder / "CHANGELOG.md"
    page.write_text(re.sub(r"^## .*", "## 0.0.9", page.read_text(), flags=re.MULTILINE))
    assert check_version.differences(folder)[1] == ["CHANGELOG.md says 0.0.9"]


def test_citation_names_the_method_and_is_complete():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(cited)
    papers = {entry["identifiers"][0]["value"] for entry in cited["references"]}
    assert {"arXiv:1611.05424", "arXiv:1908.10357", "arXiv:1808.01244"} <= papers


def test_core_packages_have_acceptable_licences():
    names = licences.core_packages()
    assert {"torch", "numpy", "tyro", "certifi"} <= names
    for name in names:
        assert licences.is_acceptable(licences.licence_of(licences.metadata.metadata(name))), name
        assert not licences.gpl_files(name), name


@pytest.mark.parametrize(
    ("licence", "acceptable"),
    [
        ("Apache-2.0", True),
        ("MPL-2.0 AND MIT", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("MIT OR GPL-2.0-or-later", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0", False),
        ("MIT AND GPL-2.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False),
        ("GNU Affero General Public License v3", False),
        ("", False),
    ],
)
def test_licences_are_told_apart(licence, acceptable):
    assert licences.is_acceptable(licence) is acceptable


def test_gpl_packages_fail_the_script(monkeypatch, capsys):
    monkeypatch.setattr(licences, "licence_of", lambda about: "GPL-3.0-only")
    monkeypatch.setattr(licences, "pinned_packages", lambda: {"numpy", "no-such-package"})
    monkeypatch.setattr(sys, "argv", ["licences.py"])
    assert licences.main() == 1
    told = capsys.readouterr()
    assert "refused: numpy: GPL-3.0-only" in told.err
    assert "not checked: no-such-package" in told.out
