"""The training loop: learning, exact resuming, and helpful errors."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from small_runs import FIGURE, losses, recipe_for, rows
from tagwise.data.augment import Augment
from tagwise.data.synthetic.shapes import SyntheticShapes
from tagwise.errors import UserError
from tagwise.models import load_model
from tagwise.training.data import open_datasets
from tagwise.training.loop import run_training
from tagwise.training.recipe import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    Recipe,
    RunConfig,
    SetConfig,
)
from tagwise.training.validation import validate


def trained(recipe, folder, resume=False):
    """Run the training in a folder, which is created if needed; return the folder."""
    folder.mkdir(exist_ok=True)
    run_training(recipe, folder, resume)
    return folder


@pytest.fixture(scope="module")
def learned(scenes, tmp_path_factory):
    """The folder of a run in which a small network learns the scenes."""
    folder = tmp_path_factory.mktemp("learned") / "run"
    return trained(recipe_for(scenes, 1200, log_every=50, save_every=0), folder)


def test_small_network_learns_synthetic_scenes(learned):
    last = rows(learned)[-1]
    assert last["val_AP"] > 0.6
    assert 0 <= rows(learned)[0]["share_waiting"] <= 1
    model = load_model(learned / "best.safetensors")
    assert model.task.skeleton.keypoints == FIGURE.keypoints
    assert (learned / "recipe.yaml").exists()


def test_small_network_learns_to_pair_corners(tmp_path):
    for name, length, seed in (("train", 600, 0), ("val", 40, 1)):
        shapes = SyntheticShapes(
            ("disc", "star"), length, seed, size=(96, 96), count=(1, 5), radius=(8, 20)
        )
        shapes.save(tmp_path / name)
    recipe = Recipe(
        task="corners",
        data=DataConfig(
            train=(SetConfig("train/annotations.json", "train/images"),),
            val=SetConfig("val/annotations.json", "val/images"),
            root=str(tmp_path),
            input_size=(96, 96),
            augment=Augment.none(),
            workers=0,
        ),
        task_options={"tag_dim": 2, "position": 16, "reach": 1},
        model=ModelConfig("small", pretrained=None, options={"width": 16}),
        optim=OptimConfig(steps=400, batch=8, lr=4e-3, backbone_scale=1.0, ema=0.98),
        run=RunConfig(validate_every=0, save_every=0, log_every=50, device="cpu"),
    )
    folder = trained(recipe, tmp_path / "run")
    figures = rows(folder)[-1]
    assert figures["val_AP50"] > 0.75
    assert figures["val_AP50/disc"] > 0.6
    assert figures["val_AP50/star"] > 0.6
    assert load_model(folder / "last.safetensors").task.classes == ("disc", "star")


def test_killed_run_resumes_with_the_losses_of_an_uninterrupted_run(scenes, tmp_path):
    recipe = recipe_for(scenes, 12)
    undisturbed = losses(trained(recipe, tmp_path / "whole"))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "from tagwise.training.loop import run_training\n"
        "run_training(pickle.load(open(sys.argv[1], 'rb')), Path(sys.argv[2]))"
    )
    (tmp_path / "recipe.pkl").write_bytes(pickle.dumps(recipe))
    folder = tmp_path / "killed"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "recipe.pkl", folder],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    while not (folder / "last.pt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "last.safetensors").exists(), "the run ended before it was killed"
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 1')  # as after a kill in the middle of a line
    resumed = losses(trained(recipe, folder, resume=True))
    assert resumed.keys() == undisturbed.keys()
    for step, loss in undisturbed.items():
        assert resumed[step] == pytest.approx(loss, rel=1e-6), f"step {step}"


def test_loss_that_is_not_finite_stops_training_with_advice(scenes, tmp_path, monkeypatch):
    from tagwise.tasks import PoseTask

    def broken(self, outputs, targets):
        return {"total": outputs["heatmaps"].sum() * float("nan")}

    monkeypatch.setattr(PoseTask, "loss", broken)
    with pytest.raises(UserError, match=r"the loss is nan at step 0; lower optim\.lr"):
        trained(recipe_for(scenes, 2), tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_missing_gpu_is_named(scenes, tmp_path):
    with pytest.raises(UserError, match="no usable GPU"):
        trained(recipe_for(scenes, 2, device="cuda"), tmp_path / "run")


def test_unknown_precision_is_named(scenes, tmp_path):
    with pytest.raises(UserError, match=r"unknown precision 'fp17'.*bf16, fp32, no"):
        trained(recipe_for(scenes, 2, precision="fp17"), tmp_path / "run")


def test_broken_photos_do_not_stop_an_epoch(scenes, tmp_path):
    broken = tmp_path / "data"
    shutil.copytree(scenes, broken)
    for index in range(0, 1000, 4):
        (broken / "train" / f"{index:04d}.png").write_bytes(b"not a picture")
    with pytest.warns(UserWarning, match="png"):
        folder = trained(recipe_for(broken, 4), tmp_path / "run")
    assert len(losses(folder)) == 4


def test_broken_validation_photo_is_reported_and_left_out(scenes, tmp_path, capsys):
    broken = tmp_path / "data"
    shutil.copytree(scenes, broken)
    (broken / "val" / "0003.png").write_bytes(b"not a picture")
    folder = trained(recipe_for(broken, 2), tmp_path / "run")
    assert "val_AP" in rows(folder)[-1]
    assert "0003.png" in capsys.readouterr().err


def test_tensorboard_events_are_written_on_request(scenes, tmp_path):
    folder = trained(recipe_for(scenes, 2, tensorboard=True), tmp_path / "run")
    assert list((folder / "tensorboard").glob("events*"))


def test_validation_finds_keypoint_types_by_name(scenes, learned):
    """A validation set that lists them in another order gives the same figures."""
    content = json.loads((scenes / "val.json").read_text())
    order = [2, 0, 3, 1]
    category = content["categories"][0]
    category["keypoints"] = [category["keypoints"][k] for k in order]
    category["skeleton"] = []
    category.pop("sigmas", None)
    for annotation in content["annotations"]:
        keypoints = np.reshape(annotation["keypoints"], (-1, 3))
        annotation["keypoints"] = keypoints[order].ravel().tolist()
    (scenes / "permuted.json").write_text(json.dumps(content))
    recipe = recipe_for(scenes, 1)
    model = load_model(learned / "last.safetensors")
    figures = []
    for name in ("val.json", "permuted.json"):
        val = replace(recipe.data.val, annotations=name)
        _, dataset, _ = open_datasets(replace(recipe, data=replace(recipe.data, val=val)))
        figures.append(validate(model, dataset, recipe))
    assert figures[0] == figures[1]
    assert figures[0]["AP"] > 0.6


def test_validation_set_with_an_unknown_keypoint_type_is_refused(scenes, tmp_path):
    content = json.loads((scenes / "val.json").read_text())
    content["categories"][0]["keypoints"][0] = "haed"
    (scenes / "misspelt.json").write_text(json.dumps(content))
    recipe = recipe_for(scenes, 2)
    data = replace(recipe.data, val=replace(recipe.data.val, annotations="misspelt.json"))
    with pytest.raises(UserError, match="labels haed, which the model does not predict"):
        run_training(replace(recipe, data=data), tmp_path)


def test_unknown_figure_for_best_is_refused_at_the_start(scenes, tmp_path):
    with pytest.raises(UserError, match="Known: AP, AP50, AP75"):
        run_training(recipe_for(scenes, 2, best="AP5O"), tmp_path)
    assert not (tmp_path / "log.jsonl").exists()


def test_dataset_without_instances_is_refused_at_the_start(scenes, tmp_path):
    content = json.loads((scenes / "train.json").read_text())
    for annotation in content["annotations"]:
        annotation["image_id"] += 10**6
    (scenes / "lost.json").write_text(json.dumps(content))
    recipe = recipe_for(scenes, 2)
    train = (replace(recipe.data.train[0], annotations="lost.json"),)
    recipe = replace(recipe, data=replace(recipe.data, train=train))
    with pytest.raises(UserError, match="has no labelled instance that can be used"):
        run_training(recipe, tmp_path)


def test_sizes_that_the_network_does_not_take_are_refused_at_the_start(scenes, tmp_path):
    recipe = recipe_for(scenes, 1)
    recipe = replace(recipe, data=replace(recipe.data, input_size=(96, 100)))
    with pytest.raises(UserError, match=r"data\.input_size is 96 × 100, but .* multiples of 32"):
        trained(recipe, tmp_path / "run")


def test_a_validation_size_may_be_any(scenes, tmp_path):
    recipe = recipe_for(scenes, 1)
    recipe = replace(recipe, data=replace(recipe.data, val_size=(90, 70)))
    trained(recipe, tmp_path / "run")
    assert load_model(tmp_path / "run" / "last.safetensors").spec.input_size == (90, 70)


@pytest.mark.parametrize(
    ("decoder", "says"),
    [({"threshold": 2}, "decoder.threshold is 2"), ({"treshold": 0.2}, "did you mean 'threshold'")],
)
def test_settings_of_the_decoder_are_checked_at_the_start(scenes, tmp_path, decoder, says):
    with pytest.raises(UserError, match=says):
        trained(replace(recipe_for(scenes, 1), decoder=decoder), tmp_path / "run")


@pytest.mark.parametrize("name", ["name", "task", "input_size", "wdth"])
def test_options_that_no_network_has_are_refused(scenes, tmp_path, name):
    recipe = recipe_for(scenes, 1)
    model = replace(recipe.model, options={"width": 16, name: 3})
    with pytest.raises(UserError, match=name):
        trained(replace(recipe, model=model), tmp_path / "run")
