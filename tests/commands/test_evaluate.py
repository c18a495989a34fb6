"""The eval command, with a network of known results."""

import json

import pytest
import torch
from PIL import Image

from dots import WIDTH, DotNet, make_set
from tagwise.commands.evaluate import evaluate, format_table
from tagwise.errors import UserError


def figures(model, annotations, **options):
    options = {"sigmas": [0.1], "quiet": True, "device": "cpu", **options}
    return evaluate(model, annotations, annotations.parent, **options)["metrics"]


def test_perfect_network_scores_1(tmp_path):
    labels, _ = make_set(tmp_path)
    found = figures(DotNet(), labels)
    assert found["AP@.1"] == pytest.approx(1)
    assert found["AR@.1"] == pytest.approx(1)


def test_each_sigma_gives_a_set_of_figures(tmp_path):
    labels, _ = make_set(tmp_path)
    found = figures(DotNet(blind=[2]), labels, sigmas=[0.4, 0.1])
    assert {"AP@.4", "AP50@.1", "ARL@.4"} <= set(found)
    assert "AP" not in found
    assert "AP" in figures(DotNet(), labels, sigmas=())


def test_keypoint_types_are_found_by_name(tmp_path):
    labels, _ = make_set(tmp_path, types=("bottom", "top"))
    assert figures(DotNet(), labels)["AP@.1"] == pytest.approx(1)
    labels, _ = make_set(tmp_path)
    with pytest.raises(UserError, match="labels middle, which the model does not predict"):
        figures(DotNet(types=("bottom", "top")), labels)


def test_oracles_show_which_half_fails(tmp_path):
    """True grouping corrects tags that never agree, true keypoints an empty heatmap."""
    labels, _ = make_set(tmp_path)
    tagless, blind = DotNet(tags_separate=False), DotNet(blind=[0, 1])
    assert figures(tagless, labels)["AP@.1"] < 0.7
    assert figures(tagless, labels, oracle="grouping")["AP@.1"] == pytest.approx(1)
    assert figures(tagless, labels, oracle="keypoints")["AP@.1"] < 0.7
    assert figures(blind, labels)["AP@.1"] < 0.7
    assert figures(blind, labels, oracle="grouping")["AP@.1"] < 0.7
    assert figures(blind, labels, oracle="keypoints")["AP@.1"] == pytest.approx(1)


def test_oracles_work_at_another_scale(tmp_path):
    labels, _ = make_set(tmp_path)
    for oracle in ("grouping", "keypoints"):
        options = {"oracle": oracle, "size": 2 * WIDTH, "flip": True}
        assert figures(DotNet(tags_separate=oracle != "grouping"), labels, **options)["AP@.1"] > 0.9


def test_broken_image_is_named_and_counts_as_empty(tmp_path, capsys):
    labels, content = make_set(tmp_path)
    (tmp_path / "1.png").write_bytes(b"no image")
    report = evaluate(DotNet(), labels, tmp_path, sigmas=[0.1], device="cpu")
    lost = sum(a["image_id"] == content["images"][1]["id"] for a in content["annotations"])
    recall = 1 - lost / len(content["annotations"])
    assert report["metrics"]["AR@.1"] == pytest.approx(recall)
    assert len(report["failed"]) == 1
    assert "1.png" in report["failed"][0]
    assert "1 images could not be read" in capsys.readouterr().out


def test_resized_image_is_named(tmp_path):
    labels, _ = make_set(tmp_path)
    Image.new("RGB", (10, 20)).save(tmp_path / "0.png")
    report = evaluate(DotNet(), labels, tmp_path, quiet=True, device="cpu")
    assert "10×20 pixels, but the annotations say 192×128" in report["failed"][0]


def test_labels_of_the_image_as_stored(tmp_path):
    """Some sets label the pixels as stored in the file, before its EXIF rotation."""
    labels, _ = make_set(tmp_path)
    for file in tmp_path.glob("*.png"):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(file).save(file, exif=exif)
    assert figures(DotNet(), labels)["AP@.1"] == pytest.approx(1)


def test_missing_images_are_refused(tmp_path):
    labels, _ = make_set(tmp_path)
    with pytest.raises(UserError, match="none of the 3 images"):
        evaluate(DotNet(), labels, tmp_path / "elsewhere", quiet=True, device="cpu")


def test_subset_of_images_can_be_evaluated(tmp_path):
    labels, content = make_set(tmp_path, images=5)
    options = {"first": 1, "every": 2, "limit": 1, "quiet": True, "device": "cpu"}
    report = evaluate(DotNet(), labels, tmp_path, **options)
    chosen = content["images"][1]["id"]
    assert report["images"] == 1
    assert report["instances"] == sum(a["image_id"] == chosen for a in content["annotations"])
    assert report["metrics"]["AR"] == pytest.approx(1)
    for wrong in ({"limit": 0}, {"every": 0}, {"first": -1}, {"first": 5}):
        with pytest.raises(UserError, match="first"):
            evaluate(DotNet(), labels, tmp_path, **{**options, **wrong})


def test_files_contain_the_returned_values(tmp_path, capsys):
    labels, _ = make_set(tmp_path)
    out, coco = tmp_path / "new" / "metrics.json", tmp_path / "results.json"
    report = evaluate(DotNet(), labels, tmp_path, out, coco=coco, device="cpu", sigmas=[0.25])
    assert json.loads(out.read_text()) == json.loads(json.dumps(report))
    assert report["settings"]["weights"] == "dots"
    assert report["settings"]["sigmas"] == {"@.25": 0.25}
    assert report["versions"]["torch"] == torch.__version__
    assert {row["category_id"] for row in json.loads(coco.read_text())} == {4}
    assert format_table(report) in capsys.readouterr().out


def test_table_has_a_row_for_each_sigma_and_a_dash_for_no_figure():
    settings = {"weights": "w", "annotations": "a.json", "oracle": None}
    metrics = {"AP@.4": 0.5, "APM@.4": -1.0, "AP@.1": 0.25, "APM@.1": 0.125}
    report = {"metrics": metrics, "settings": settings, "images": 3, "failed": []}
    rows = [line.split() for line in format_table(report).splitlines()[1:]]
    assert rows == [["AP", "APM"], ["@.4", "50.0", "–"], ["@.1", "25.0", "12.5"]]


def test_unknown_oracle_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'grouping'"):
        evaluate(DotNet(), "x.json", tmp_path, oracle="group")
