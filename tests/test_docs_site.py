"""The site is built without warnings, its links lead somewhere, and its pages match the source."""

import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tagwise.commands.plot import FIGURES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = runpy.run_path(str(DOCS / "make_reference.py"))


class Page(HTMLParser):
    """The links and pictures of an HTML page, and the ids that links can lead to."""

    def __init__(self, path):
        super().__init__()
        self.targets, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        wanted = {"a": "href", "img": "src", "link": "href", "script": "src"}.get(tag)
        if values.get(wanted) and values.get("rel") != "canonical":
            self.targets.append((tag, values[wanted]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("zensical", reason="needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "zensical.toml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No issues found" in run.stdout + run.stderr
    return folder / "out" / "site"


def test_every_link_and_picture_of_the_site_exists(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) >= 20
    for path, page in pages.items():
        for _, target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), (path.relative_to(site), target)
            if parts.fragment and file in pages:
                wanted = unquote(parts.fragment)
                assert wanted in pages[file].ids or wanted.startswith("only-"), (path, target)


def test_the_site_loads_nothing_from_other_servers(site):
    for path in site.rglob("*.html"):
        for tag, target in Page(path).targets:
            assert tag == "a" or not urlsplit(target).netloc, (path.relative_to(site), target)


def test_navigation_lists_every_page_once():
    config = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = re.findall(r"'([\w/]+\.md)'", str(config["nav"]))
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("name", REFERENCE["PAGES"])
def test_reference_pages_match_the_source(name):
    made = REFERENCE["PAGES"][name]()
    assert (DOCS / name).read_text(encoding="utf-8") == made, "run `make docs`"


def test_picture_of_the_house_matches_the_imports():
    made = runpy.run_path(str(DOCS / "make_house.py"))
    assert (DOCS / "images" / "house.svg").read_text() == made["picture"](), "run `make docs`"
    rows = made["levels"](made["imports"]())
    assert all(rows[one] > rows[other] for one, other in made["reduced"](made["imports"]()))


@pytest.mark.parametrize("kind", REFERENCE["recipe_parts"](), ids=lambda kind: kind.__name__)
def test_every_key_of_a_recipe_is_explained(kind):
    fields = {field.name for field in REFERENCE["dataclasses"].fields(kind)}
    assert fields == {name for name, text in REFERENCE["key_meanings"](kind).items() if text}


@pytest.mark.parametrize("name", ["Poses", "Boxes", "Masks"])
def test_every_field_of_a_result_is_in_the_reference(name):
    text = (DOCS / "python.md").read_text()
    section = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    for field in REFERENCE["dataclasses"].fields(getattr(REFERENCE["tagwise"], name)):
        assert re.search(rf"^- .*`{field.name}`.*: ", section, re.MULTILINE), field.name


def test_every_figure_of_plot_is_on_the_page_of_figures():
    text = (DOCS / "figures.md").read_text()
    for what in FIGURES:
        assert f"tagwise plot {what}" in text
        assert re.search(rf"!\[.+\]\(images/figure_{what}\.\w+", text), what


def test_every_verb_and_option_is_in_the_list_of_commands():
    text = (DOCS / "cli.md").read_text()
    for verb, function in REFERENCE["cli"].VERBS.items():
        section = text.partition(f"\n## {verb}\n")[2].partition("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) == len(REFERENCE["inspect"].signature(function).parameters)
        for row in rows:
            assert row.replace("\\|", "").split("|")[3].strip(), row


def test_notebook_runs_from_top_to_bottom(monkeypatch):
    notebook = json.loads((DOCS / "first_poses.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
    monkeypatch.chdir(DOCS)
    names = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), "first_poses.ipynb", "exec"), names)
    assert len(names["poses"]) == 5
    assert 0 < len(names["sure"]) < 5
