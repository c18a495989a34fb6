"""Adding a task takes one file and one line: every verb then works for it."""

import json
import shutil

import pytest
from PIL import Image
from spots_task import SpotTask

from small_runs import write_scenes
from tagwise import evaluate, predict, tasks, train
from tagwise.cli import main
from tagwise.data.augment import Augment
from tagwise.training.recipe import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    SetConfig,
)


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "spots", SpotTask)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, "train", 40, seed=0)
    write_scenes(folder, "val", 6, seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    """A run of the new task, killed after its first steps and resumed."""
    folder = tmp_path_factory.mktemp("runs") / "spots"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "spots", SpotTask)
        train(recipe(scenes, steps=6), out=folder)
        train(recipe(scenes, steps=12), out=folder, resume=True)
    return folder


def recipe(scenes, steps):
    return Recipe(
        task="spots",
        data=DataConfig(
            train=(SetConfig("train.json", "train"),),
            val=SetConfig("val.json", "val"),
            root=str(scenes),
            input_size=(96, 96),
            augment=Augment.none(),
            workers=0,
        ),
        model=ModelConfig("small", pretrained=None, options={"width": 8}),
        optim=OptimConfig(steps=steps, batch=4),
        run=RunConfig(validate_every=0, save_every=3, log_every=1, device="cpu"),
        decoder={"threshold": 0.0},
    )


def test_training_resumes(trained):
    rows = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "push" in row] == [*range(1, 13)]
    assert any("val_AP" in row for row in rows)


def test_evaluate_gives_figures(trained, scenes):
    weights = trained / "last.safetensors"
    report = evaluate(weights, scenes / "val.json", scenes / "val", device="cpu", quiet=True)
    logged = (trained / "log.jsonl").read_text().splitlines()[-1]
    # Training validated the same weights on the same labels by the same scorer.
    assert report["metrics"]["AP"] == pytest.approx(json.loads(logged)["val_AP"], abs=1e-3)


def test_predict_resumes_and_writes_coco_results(trained, scenes, tmp_path, capsys):
    command = ["predict", str(scenes / "val"), "--weights", str(trained / "last.safetensors")]
    command += ["--coco", str(scenes / "val.json"), "--out", str(tmp_path / "found")]
    assert main(command) == 0
    rows = json.loads((tmp_path / "found/val.results.json").read_text())
    assert {"image_id", "category_id", "keypoints", "score"} <= set(rows[0])
    (tmp_path / "found/0003.predictions.json").unlink()
    assert main([*command, "--resume"]) == 0
    assert "5 of the photos from an earlier run" in capsys.readouterr().out
    assert json.loads((tmp_path / "found/val.results.json").read_text()) == rows


@pytest.mark.parametrize("what", ["tags", "instances", "maps"])
def test_plot_draws_a_result(trained, scenes, tmp_path, what):
    photo, out = str(scenes / "val/0000.png"), tmp_path / f"{what}.png"
    weights = str(trained / "last.safetensors")
    assert main(["plot", photo, "--what", what, "--weights", weights, "--out", str(out)]) == 0
    assert Image.open(out).size > (90, 90)


def test_track_follows_instances(trained, scenes, tmp_path):
    frames = tmp_path / "frames"
    shutil.copytree(scenes / "val", frames)
    weights = str(trained / "last.safetensors")
    command = ["track", str(frames), "--weights", weights, "--no-pictures", "--out"]
    assert main([*command, str(tmp_path / "tracks")]) == 0
    assert len((tmp_path / "tracks/frames.tracks.jsonl").read_text().splitlines()) == 6


def test_results_are_read_by_their_task(trained, scenes):
    result = next(predict(scenes / "val/0000.png", trained / "last.safetensors"))
    again = tasks.read_result(json.loads(json.dumps(result.to_dict())))
    assert type(again) is SpotTask.result
    assert len(again) == len(result)
