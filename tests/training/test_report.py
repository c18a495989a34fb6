"""report.html: it is complete, self-contained, and grows with a resumed run."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from small_runs import recipe_for, rows
from tagwise.commands.evaluate import evaluate
from tagwise.training.examples import choose_examples
from tagwise.training.loop import run_training

CHROMIUM = Path("/usr/bin/chromium")
SHOW_ALL = """Promise.all([...document.images].map(image => {
    image.loading = "eager"; return image.decode() }))"""


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """The folder of a run with three validations, of which the last came after resuming."""
    folder = tmp_path_factory.mktemp("report")
    recipe = replace(recipe_for(scenes, 60, validate_every=20), decoder={"threshold": 0.02})
    run_training(replace(recipe, optim=replace(recipe.optim, steps=40)), folder)
    run_training(recipe, folder, resume=True)
    return folder


def page(run):
    return (run / "report.html").read_text(encoding="utf-8")


def test_figure_in_the_log_is_that_of_eval(run, scenes):
    """Also where the labels state other OKS sigmas than the recipe."""
    best = max((row for row in rows(run) if "val_AP" in row), key=lambda row: row["val_AP"])
    arguments = (run / "best.safetensors", scenes / "val.json", scenes / "val")
    assert evaluate(*arguments, quiet=True)["metrics"]["AR"] == best["val_AR"]
    assert best["val_AR"] > 0


def test_figure_follows_the_sigmas_of_the_labels(run, scenes, tmp_path):
    content = json.loads((scenes / "val.json").read_text())
    content["categories"][0]["sigmas"] = [1.0] * 4
    (scenes / "lenient.json").write_text(json.dumps(content))
    recipe = recipe_for(scenes, 8)
    val = replace(recipe.data.val, annotations="lenient.json")
    run_training(replace(recipe, data=replace(recipe.data, val=val)), tmp_path)
    arguments = (tmp_path / "best.safetensors", scenes / "lenient.json", scenes / "val")
    measured = evaluate(*arguments, quiet=True)["metrics"]
    assert rows(tmp_path)[-1]["val_AR"] == measured["AR"]
    assert measured["AR"] > 0


def test_examples_are_the_same_images_at_each_validation(run):
    kept = [json.loads(line) for line in (run / "examples.jsonl").read_text().splitlines()]
    by_step = {}
    for row in kept:
        by_step.setdefault(row["step"], []).append(row["image"])
    assert sorted(by_step) == [20, 40, 60]
    assert by_step[20] == by_step[40] == by_step[60]
    assert len(by_step[20]) == 4


def test_page_has_every_term_every_example_and_needs_no_network(run):
    text = page(run)
    for term in ("heatmaps", "pull", "push", "offsets", "total", "gradient"):
        assert f"<figcaption>{term}: " in text
    assert text.count("Example ") == 4
    assert text.count("tags at the true places") == 4
    assert text.count("<img") == 4 * (2 + 2)  # labels and result, and two earlier results
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert not re.findall(r"https?://(?!www\.w3\.org)", text)


def test_example_images_have_several_instances(run, scenes):
    class Labels:
        def __init__(self, count):
            self.boxes = [None] * count

    class Val:
        image_labels = tuple(map(Labels, [0, 2, 1, 3, 0, 2, 2, 2, 1]))

    assert set(choose_examples(Val())) <= {1, 3, 5, 6, 7}
    Val.image_labels = tuple(map(Labels, [0, 2, 1]))
    assert choose_examples(Val()) == [0, 1, 2]


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium to open the page with")
@pytest.mark.parametrize("width", [390, 1200])
def test_page_fits_a_phone_and_a_desk(run, width):
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 800})
        faults = []
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: faults.append(request.url))
        tab.goto((run / "report.html").as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.evaluate(SHOW_ALL)
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert tab.locator("svg").count() == 1 + 6 + 4
        browser.close()
    assert [fault for fault in faults if not fault.startswith(("file:", "data:"))] == []


# ---------------------------------------------------------------------- early stopping


def test_training_ends_early_without_a_better_figure(scenes, tmp_path, monkeypatch, capsys):
    figures = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(
        "tagwise.training.validation.validate", lambda *_: {"AP": next(figures), "AR": 0.0}
    )
    recipe = recipe_for(scenes, 10, validate_every=1, patience=2)
    run_training(recipe, tmp_path)
    assert [row["val_AP"] for row in rows(tmp_path) if "val_AP" in row] == [0.1, 0.3, 0.2, 0.3]
    assert "AP has not risen for 2 validations; its best is 30.0" in capsys.readouterr().err
    assert (tmp_path / "last.safetensors").exists()
    run_training(recipe, tmp_path, resume=True)
    assert "raise run.patience to go on" in capsys.readouterr().err
    assert rows(tmp_path)[-1]["step"] == 4
    figures = iter([0.9] * 10)
    run_training(recipe_for(scenes, 6, validate_every=1, patience=3), tmp_path, resume=True)
    assert rows(tmp_path)[-1]["step"] == 6
