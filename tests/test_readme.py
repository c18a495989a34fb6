"""The Python code, commands and links of the README and docs work as written."""

import importlib
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import tagwise
from tagwise import cli
from tagwise.commands.label import PseudoLabels
from tagwise.training.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
CARDS = sorted(ROOT.glob("src/tagwise/weights/*.md"))
RECIPES = sorted(ROOT.glob("recipes/**/*.yaml"))
PHOTOS = ROOT / "examples" / "photos"


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def commands_of(path):
    """The arguments of each whole `tagwise` command of a page or of a recipe's comments."""
    text = path.read_text()
    fenced = [block for block in text.split("```")[1::2] if block.startswith("\n")]
    lines = (text if path in RECIPES else "\n".join(fenced)).replace("\\\n", " ")
    pattern = r"^(?:# +)?(?:accelerate launch -m )?tagwise ([a-z].*)$"
    found = [re.sub(r" > \S+", "", line) for line in re.findall(pattern, lines, re.MULTILINE)]
    return [shlex.split(line, comments=True) for line in found]


def mentions_of(page):
    """(verb, flags) of each `tagwise` command inside a sentence, which may leave out arguments."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for verb, rest in re.findall(
        r"`(?:tagwise|accelerate launch -m tagwise) ([a-z]+)([^`]*)`", text
    ):
        yield verb, re.findall(r"--[a-z.-]+", rest)


BLOCKS = [(page.name, code) for page in PAGES for code in blocks_of(page)]
COMMANDS = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in [*PAGES, *RECIPES]
    for words in commands_of(path)
]
MENTIONS = sorted(
    {
        (verb, flag)
        for page in [*PAGES, *CARDS]
        for verb, flags in mentions_of(page)
        for flag in flags
    }
)


@pytest.mark.parametrize(("page", "code"), BLOCKS)
def test_python_code_runs(page, code, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    make_files_for(code)
    exec(compile(code, page, "exec"), {})


def make_files_for(code):
    """Create the files that a block names in the current folder. A folder replaces a video."""
    for photo in ("photo.jpg", "smear.jpg"):
        if photo in code:
            shutil.copy(PHOTOS / "messi5.jpg", photo)
    for folder in ("frames", "clip.mp4"):
        if folder in code:
            Path(folder).mkdir()
            shutil.copy(PHOTOS / "pedestrians.jpg", f"{folder}/1.jpg")
    if "labels.slp" in code:
        pytest.importorskip("sleap_io", reason="needs the extra 'labels'")
        tagwise.predict(PHOTOS / "pedestrians.jpg", out="found", pictures=False).finish()
        tagwise.convert("found", to="sleap", out="labels.slp", images=PHOTOS)
    if "labels.slp" in code:
        pytest.importorskip("sleap_io", reason="needs the extra 'labels'")
        files = importlib.import_module("lab_files")
        video = files.write_video(Path("mouse.mp4").absolute())
        files.save_sleap(files.sleap_labels(video), Path("labels.slp"))
    if "people.onnx" in code:
        pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
        tagwise.export("people")


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_parse(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some verbs write files
    run = SimpleNamespace(finish=lambda: "", exit_code=0, suffix="")
    for verb in ("predict", "init", "track", "convert", "export", "serve"):
        monkeypatch.setattr(tagwise, verb, lambda *_, **__: run)
    monkeypatch.setattr(tagwise, "evaluate", lambda **_: {"failed": []})
    page = {"advice": [], "page": "", "failed": []}
    monkeypatch.setattr(tagwise, "diagnose", lambda **_: page)
    ece, threshold = {"ece": 0.0}, {"before": 0.0, "after": 0.0}
    fitted = {"before": ece, "cross_validated": ece, "threshold": threshold}
    fitted |= {"model": "", "failed": []}
    monkeypatch.setattr(tagwise, "calibrate", lambda **_: fitted)
    monkeypatch.setattr(tagwise, "tune", lambda **_: {"text": "", "failed": []})
    monkeypatch.setattr(tagwise, "train", read_recipe)
    monkeypatch.setattr(tagwise, "suggest", lambda **_: [{"file": ""}])
    written = PseudoLabels(Path("pseudo.json"), Path("photos"), 0, 0, 0, 0)
    monkeypatch.setattr(tagwise, "label", lambda **_: written)
    monkeypatch.setattr("tagwise.commands.plot.plot", lambda **_: run)
    try:
        code = cli.main(words)
    except SystemExit as end:  # as after help and scripts for shells
        code = end.code or 0
    assert code == 0


def read_recipe(recipe, overrides, **_):
    """Reads a recipe with its overrides, as `train` does first."""
    own = ROOT / recipe
    load_recipe(own if own.exists() else ROOT / "recipes" / "robots.yaml", overrides)


@pytest.mark.parametrize(("verb", "flag"), MENTIONS)
def test_flags_in_sentences_exist(verb, flag, capsys):
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    assert re.search(rf"{flag}\b", capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_speed_figures_of_the_readme_are_those_of_the_page():
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/speed.md"))
    section = readme.split("\n## Speed\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(rows) >= 8
    assert not [row for row in rows if row not in page.splitlines()]


def test_pages_have_python_commands_and_flags():
    assert len(BLOCKS) >= 8
    assert len(COMMANDS) >= 20
    assert len(MENTIONS) >= 3
