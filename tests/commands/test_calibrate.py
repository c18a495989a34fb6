"""Tests of `tagwise calibrate`."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spots import PIN, SpotNetwork, draw_pins
from spots import SIZE as SPOTS_SIZE
from tagwise import Predictor, calibrate, evaluate
from tagwise.cli import main
from tagwise.commands.calibrate import ScoredPoses, score_of_rank
from tagwise.data.coco import CocoKeypoints
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.models.model_file import copy_with_spec, read_model_file
from tagwise.models.shipped import shipped_file

SIZE = 200


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Photos of bright discs, some of which are labelled as nuclei, and some of which are not."""
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(6):
        image, labels = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE), np.uint16)
        for n, (cx, cy) in enumerate(
            (a, b) for a in range(25, SIZE, 50) for b in range(25, SIZE, 50)
        ):
            disc = (x - cx) ** 2 + (y - cy) ** 2 < rng.integers(8, 14) ** 2
            image[disc] = rng.integers(60, 250)
            labels[disc] = (n + 1) * (image[cy, cx] > 120)
        Image.fromarray(image.astype(np.uint8)).convert("RGB").save(folder / f"images/{number}.png")
        Image.fromarray(labels).save(folder / f"labels/{number}.png")
    return folder / "labels", folder / "images"


@pytest.fixture(scope="module")
def calibrated(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "cells.safetensors"
    return calibrate("nuclei", *cells, path, quiet=True), path


def test_ap_and_the_shown_instances_stay_and_scores_change(calibrated, cells):
    _, path = calibrated
    photo = cells[1] / "0.png"
    old, new = Predictor("nuclei"), Predictor(path)
    assert len(old(photo)) == len(new(photo)) > 4
    assert not np.allclose(old(photo).scores, new(photo).scores)
    raw = Predictor("nuclei", threshold=0)
    raw.calibration = None  # the shipped model is calibrated, for its own photos
    every = raw(photo).scores
    np.testing.assert_allclose(
        Predictor(path, threshold=0)(photo).scores, new.calibration(every), rtol=1e-6
    )
    figures = [evaluate(w, *cells, quiet=True)["metrics"] for w in ("nuclei", path)]
    assert figures[0] == pytest.approx(figures[1], abs=1e-6)
    assert 0 < figures[0]["AP"] < 1


def test_the_report_says_how_reliable_scores_were_and_are(calibrated):
    report, path = calibrated
    assert report["after"]["ece"] < report["before"]["ece"]
    assert report["detections"] == sum(row["count"] for row in report["before"]["bins"])
    assert 0 < report["right"] < report["detections"]
    assert report["model"] == str(path)


def test_the_file_has_the_same_weights_and_a_calibration(calibrated):
    report, path = calibrated
    spec, state = read_model_file(path)
    old_spec, old_state = read_model_file(shipped_file("nuclei"))
    decoder = {"calibration": report["calibration"], "threshold": report["threshold"]["after"]}
    assert spec == replace(old_spec, decoder={**old_spec.decoder, **decoder})
    assert state.keys() == old_state.keys()
    assert all((state[name] == old_state[name]).all() for name in state)
    assert path.stat().st_size < shipped_file("nuclei").stat().st_size + 1000


def test_a_calibration_is_replaced_and_not_applied_twice(calibrated, cells, tmp_path):
    report, path = calibrated
    again = calibrate(path, *cells, tmp_path / "again.safetensors", quiet=True)
    assert again["calibration"] == report["calibration"]
    assert again["threshold"]["after"] == pytest.approx(report["threshold"]["after"], abs=2e-5)


def test_the_command_line_writes_the_file(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["calibrate", "--weights", "nuclei", "--annotations", str(cells[0])]
    assert main([*command, "--images", str(cells[1])]) == 0
    assert "cross-validation" in capsys.readouterr().out
    assert load_model(tmp_path / "nuclei.calibrated.safetensors").spec.decoder["calibration"]


def test_errors_come_before_the_work(cells, tmp_path):
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        calibrate("nuclei", *cells, tmp_path / "model.onnx", quiet=True)
    shutil.copy(shipped_file("nuclei"), tmp_path / "a.safetensors")
    spec, _ = read_model_file(tmp_path / "a.safetensors")
    broken = replace(spec, decoder={"calibration": {"a": -1, "b": 1, "c": 0}})
    copy_with_spec(tmp_path / "a.safetensors", tmp_path / "b.safetensors", broken)
    with pytest.raises(UserError, match=r"b\.safetensors has a damaged tagwise header: decoder"):
        Predictor(tmp_path / "b.safetensors")


def test_the_calibration_reaches_json(calibrated, cells, tmp_path):
    _, path = calibrated
    command = ["predict", str(cells[1] / "0.png"), "--weights", str(path), "--out", str(tmp_path)]
    assert main([*command, "--no-pictures"]) == 0
    record = json.loads((tmp_path / "0.predictions.json").read_text())
    expected = Predictor(path)(cells[1] / "0.png").scores
    np.testing.assert_allclose([i["score"] for i in record["instances"]], expected, atol=1e-6)


# ---------------------------------------------------------------------- scores of poses


@pytest.fixture(scope="module")
def pins(tmp_path_factory):
    """Photos with an upright pin, which is labelled, and one upside down, which is not."""
    folder = tmp_path_factory.mktemp("pins")
    rng = np.random.default_rng(0)
    names = {"name": "pin", "keypoints": ["top", "foot"], "skeleton": [[1, 2]]}
    content = {"images": [], "annotations": [], "categories": [{"id": 1, **names}]}
    for number in range(60):
        left, right = rng.uniform(25, 45), rng.uniform(80, 105)
        high, low = rng.uniform(20, 40), rng.uniform(80, 105)
        upright, falling = ((left, high), (left, low), 0.0), ((right, low), (right, high), 1.0)
        Image.fromarray(draw_pins([upright, falling])).save(folder / f"{number}.png")
        size = {"width": SPOTS_SIZE, "height": SPOTS_SIZE}
        content["images"].append({"id": number, "file_name": f"{number}.png", **size})
        label = {"id": number, "image_id": number, "category_id": 1, "num_keypoints": 2}
        label |= {"keypoints": [left, high, 2, left, low, 2], "area": 3000, "iscrowd": 0}
        content["annotations"].append({**label, "bbox": [left - 10, high, 20, low - high]})
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def test_a_score_of_poses_is_learned_from_the_poses_of_a_set(pins):
    """The mean keypoint score of both pins is the same; only one of them is a true one."""
    predictor = Predictor(SpotNetwork(), device="cpu", conf=0)
    dataset = CocoKeypoints(pins / "labels.json", pins, skeleton=PIN)
    scorer = predictor.task.make_scorer(dataset, sigmas=(0.1,))
    poses = ScoredPoses.of(predictor, dataset, scorer, quiet=True)
    assert (poses.similarity > 0.5).sum() == (poses.similarity < 0.1).sum() == 60
    predictor.task = replace(predictor.task, score=poses.fit())
    for number in range(3):
        result = predictor(pins / f"{number}.png")
        top, foot = result.keypoints[0, :, 1]
        assert top < foot
        assert result.scores[0] > 0.8
        assert result.scores[1] < 0.2


def test_the_score_of_a_rank():
    scores = np.array([0.2, 0.9, 0.5])
    assert [score_of_rank(scores, rank) for rank in (0, 1, 2, 3, 9)] == [1, 0.9, 0.5, 0.2, 0.2]


def test_only_poses_have_a_learned_score(cells, tmp_path):
    with pytest.raises(UserError, match="pose_score needs a model of poses, not nuclei"):
        calibrate("nuclei", *cells, tmp_path / "a.safetensors", pose_score=True, quiet=True)
