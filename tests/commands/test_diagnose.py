"""The diagnose command, with a network of known results and with a small trained one."""

import json
import shutil

import numpy as np
import pytest

from dots import WIDTH, DotNet, make_set
from small_runs import recipe_for, write_scenes
from tagwise.commands.diagnose import diagnose
from tagwise.commands.evaluate import evaluate
from tagwise.commands.train import train
from tagwise.errors import UserError

CHROMIUM = shutil.which("chromium")


def diagnosed(model, labels, out, **options):
    options = {"sigmas": [0.1], "device": "cpu", "quiet": True, **options}
    return diagnose(model, labels, labels.parent, out, **options)


def by_kind(report):
    return {row["kind"]: row for row in report["errors"]}


def test_a_perfect_network_has_no_errors(tmp_path):
    labels, content = make_set(tmp_path)
    report = diagnosed(DotNet(), labels, tmp_path / "out")
    assert report["metrics"]["AP@.1"] == pytest.approx(1)
    assert {row["count"] for row in report["errors"]} == {0}
    assert [row["AP"] for row in report["ablation"]] == pytest.approx([1, 1, 1, 1])
    assert report["advice"] == report["worst"] == []
    assert report["instances"] == report["detections"] == len(content["annotations"])
    assert report["scores"]["f1"] == 1


def test_figures_are_those_of_eval(tmp_path):
    labels, _ = make_set(tmp_path, images=5)
    model = DotNet(tags_separate=False)
    for options in ({}, {"size": 2 * WIDTH, "flip": True}):
        report = diagnosed(model, labels, tmp_path / "out", **options)
        options |= {"sigmas": [0.1], "device": "cpu", "quiet": True}
        for row, oracle in zip(report["ablation"], (None, "keypoints", "grouping", "both")):
            figures = evaluate(model, labels, tmp_path, oracle=oracle, **options)["metrics"]
            assert row["AP"] == pytest.approx(figures["AP@.1"], abs=1e-6)


def test_a_type_that_is_never_found_is_ranked_first(tmp_path):
    labels, content = make_set(tmp_path)
    report = diagnosed(DotNet(blind=[1]), labels, tmp_path / "out")
    count = len(content["annotations"])
    assert by_kind(report)["misplaced"]["count"] == count
    assert by_kind(report)["misplaced"]["AP"] == pytest.approx(1)
    assert report["types"][0]["name"] == "middle"
    assert report["types"][0]["misplaced"] == count
    assert report["advice"][0]["what"].startswith("Label more of middle")
    assert report["advice"][0]["gain"] == pytest.approx(1 - report["metrics"]["AP@.1"])


def test_tags_that_never_agree_are_told_from_missing_keypoints(tmp_path):
    """Every keypoint becomes an instance: one describes the pin, the others are split from it."""
    labels, content = make_set(tmp_path)
    report = diagnosed(DotNet(tags_separate=False), labels, tmp_path / "out")
    count = len(content["annotations"])
    kinds = by_kind(report)
    assert kinds["split"]["count_all"] == 2 * count
    assert kinds["misplaced"]["count_all"] == 2 * count
    assert (kinds["missed"]["count_all"], kinds["false"]["count_all"]) == (0, 0)
    assert report["tags"]["same"]["wrong"] == 1
    assert report["tags"]["spread"] > 80
    assert "grouping" in report["advice"][0]["what"]


def test_a_broken_image_is_named(tmp_path):
    labels, _ = make_set(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    report = diagnosed(DotNet(), labels, tmp_path / "out")
    assert "1.png" in report["failed"][0]
    assert report["metrics"]["AR@.1"] < 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of a few steps, whose model finds little."""
    folder = tmp_path_factory.mktemp("run")
    write_scenes(folder, "train", 8, seed=0)
    write_scenes(folder, "val", 4, seed=1)
    return train(recipe_for(folder, 30, threads=1), out=folder / "run")


def test_the_validation_set_of_the_run_is_found(run):
    report = diagnose(run / "best.safetensors", quiet=True, device="cpu")
    root = run.parent
    told = evaluate(
        run / "best.safetensors", root / "val.json", root / "val", quiet=True, device="cpu"
    )
    assert report["images"] == 4
    assert report["settings"]["sigmas"]["own"] == [0.25] * 4
    kept = json.loads((run / "diagnosis" / "diagnosis.json").read_text())
    assert kept["metrics"] == report["metrics"]
    assert report["metrics"]["AP"] == pytest.approx(told["metrics"]["AP"], abs=0.02)


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(UserError, match="without --images"):
        diagnose(run / "best.safetensors", run.parent / "val.json")
    lone = tmp_path / "lone.safetensors"
    shutil.copy(run / "best.safetensors", lone)
    with pytest.raises(UserError, match=r"no recipe\.yaml beside it.*--annotations"):
        diagnose(lone)
    with pytest.raises(UserError, match="a model in memory has no recipe"):
        diagnose(DotNet())
    shutil.copy(run / "recipe.yaml", tmp_path)
    text = (tmp_path / "recipe.yaml").read_text().replace("val.json", "gone.json")
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(UserError, match=r"validation set of .*recipe\.yaml: .*gone\.json"):
        diagnose(lone)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_opens_in_a_browser_and_fits_a_phone(run):
    sync_api = pytest.importorskip("playwright.sync_api")
    report = diagnose(run / "best.safetensors", quiet=True, device="cpu", conf=0.0)
    with sync_api.sync_playwright() as play:
        arguments = ["--no-sandbox", "--headless"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        problems, requests = [], []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{report['page']}")
        width = page.evaluate("document.documentElement.scrollWidth")
        text = page.inner_text("body")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function("[...document.images].every(image => image.naturalWidth > 0)")
        browser.close()
    assert problems == []
    assert [url for url in requests if not url.startswith("data:")] == [f"file://{report['page']}"]
    assert width <= 390
    assert max(map(int, dark[4:-1].split(", "))) < 60
    for one in report["advice"]:
        assert one["what"] in text
    for row in report["errors"]:
        assert row["meaning"] in text
    assert np.isfinite(report["metrics"]["AP"])
