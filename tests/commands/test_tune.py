"""The tune command, with networks whose best settings are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from dots import HEIGHT, WIDTH, DotNet, make_set
from small_runs import recipe_for, write_scenes
from tagwise.commands.train import train
from tagwise.commands.tune import tune
from tagwise.data.coco import CocoKeypoints
from tagwise.errors import UserError
from tagwise.evaluation.calibration import Calibration
from tagwise.grouping import GroupingSettings
from tagwise.models import load_model
from tagwise.models.model_file import copy_with_spec
from tagwise.prediction.cached import cached_images
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.tuning import Objective, fit


class FaintNet(DotNet):
    """Keypoints have a score of .4, and the photos' grey specks one of .15.

    With the default threshold of peaks, specks become keypoints of pins.
    """

    def forward(self, images):
        maps = super().forward(images)
        return {**maps, "heatmaps": 0.4 * maps["heatmaps"]}


def speckled_set(folder, images=6):
    """Photos of pins, with specks in other columns of the photo."""
    labels, content = make_set(folder, images)
    rng = np.random.default_rng(1)
    for entry in content["images"]:
        path = folder / entry["file_name"]
        pixels = np.array(Image.open(path))
        for _ in range(25):
            x, y = 4 * rng.integers(0, WIDTH // 4), 4 * rng.integers(0, HEIGHT // 4)
            if not pixels[y : y + 4, x : x + 4].any():
                pixels[y : y + 4, x : x + 4] = 95  # .37 of white
        Image.fromarray(pixels).save(path)
    return labels


def objective_for(labels, settings, precision=None):
    """The objective of FaintNet with some settings."""
    model = FaintNet()
    model.task = model.task.__class__(model.task.skeleton, tag_dim=1, grouping=settings)
    predictor = Predictor(model, device="cpu", threshold=0.0)
    dataset = CocoKeypoints(labels, labels.parent, skeleton=model.task.skeleton)
    images, failed = cached_images(predictor, dataset, range(len(dataset)))
    assert not failed
    scoring = {"sigmas": (0.1,)}
    return Objective(predictor.task, predictor.stride, dataset, images, scoring, precision)


@pytest.mark.parametrize("precision", [None, 0.9])
def test_a_planted_threshold_is_recovered(tmp_path, precision):
    """Peaks below .15 are specks, those of .4 keypoints; the search starts far from between."""
    labels = speckled_set(tmp_path)
    greedy = GroupingSettings.preset("higherhrnet", fill=False)
    bad = GroupingSettings.from_dict({**greedy.to_dict(), "peak_threshold": 0.6})
    objective = objective_for(labels, bad, precision)
    found = fit(objective, 40, 0, lambda: None)
    assert found.fitted[0] < 0.1
    assert found.fitted[1] == pytest.approx(1, abs=0.01)
    assert 0.149 < found.best.peak_threshold < 0.4
    assert found.held_out[1] > 0.9
    assert fit(objective, 40, 0, lambda: None) == found  # the same seed, the same result


def test_objective_is_the_figure_of_eval_on_a_part(tmp_path):
    labels = speckled_set(tmp_path)
    settings = GroupingSettings.preset("higherhrnet", fill=False)
    objective = objective_for(labels, settings)
    content = json.loads(labels.read_text())
    chosen = [4, 1]
    ids = [content["images"][n]["id"] for n in chosen]
    content["images"] = [image for image in content["images"] if image["id"] in ids]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    part = tmp_path / "part.json"
    part.write_text(json.dumps(content))
    assert objective.part(chosen)(settings) == pytest.approx(
        objective_for(part, settings)(settings)
    )
    assert objective.part(chosen)(settings) != objective(settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("run")
    write_scenes(folder, "train", 8, seed=0)
    write_scenes(folder, "val", 4, seed=1)
    return train(recipe_for(folder, 15, threads=1), out=folder / "run")


def tensors(path):
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_settings_are_written_and_weights_stay_the_same(run, tmp_path):
    model, out = run / "best.safetensors", tmp_path / "tuned.safetensors"
    before = model.read_bytes()
    report = tune(model, out=out, trials=8, quiet=True, device="cpu")
    assert model.read_bytes() == before
    old, new = tensors(model), tensors(out)
    assert old.keys() == new.keys()
    for name, values in old.items():
        assert values.dtype == new[name].dtype
        assert values.tobytes() == new[name].tobytes()
    loaded, original = load_model(out), load_model(model)
    assert loaded.spec.decoder["threshold"] == report["threshold"]["value"]
    grouping = original.task.grouping.to_dict() | {
        name: after for name, (_, after) in report["settings"].items()
    }
    assert loaded.task.grouping.to_dict() == grouping
    assert report["written"] == str(out)
    assert Predictor(out, device="cpu").threshold == report["threshold"]["value"]
    assert tune(model, write=True, trials=8, quiet=True, device="cpu")["written"] == str(model)
    assert model.read_bytes() == out.read_bytes()


def test_negatives_raise_the_threshold(run, tmp_path):
    photos = tmp_path / "empty"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (96, 96, 3), np.uint8)).save(photos / f"{number}.png")
    (photos / "broken.png").write_bytes(b"no image")
    out = tmp_path / "tuned.safetensors"
    model = run / "best.safetensors"
    report = tune(model, out=out, negatives=photos, trials=2, quiet=True, device="cpu")
    assert report["negatives"] == 3
    predictor = Predictor(out, device="cpu")
    shown = sum(len(predictor(photos / f"{n}.png")) > 0 for n in range(3))
    assert shown == report["threshold"]["false_photos"]
    assert "of 3 photos without instances" in report["text"]


def test_what_cannot_work_is_refused_before_the_work(run, tmp_path):
    model = run / "best.safetensors"
    for options, message in (
        ({"metric": "f2"}, "metric 'f2'"),
        ({"precision": 90}, "precision is 90"),
        ({"trials": 0}, "trials is 0"),
        ({"negatives": tmp_path / "nowhere"}, "no such file or folder"),
        ({"out": tmp_path / "a.onnx"}, r"name it \.safetensors"),
        ({"out": tmp_path / "a.safetensors", "write": True}, "give one"),
    ):
        with pytest.raises(UserError, match=message):
            tune(model, **options)
    with pytest.raises(UserError, match="part of the package"):
        tune("robots", write=True)


def test_the_threshold_of_a_calibrated_model_refers_to_its_scores(run, tmp_path):
    plain, calibrated = run / "last.safetensors", tmp_path / "calibrated.safetensors"
    spec = load_model(plain).spec
    calibration = Calibration(1.0, 1.0, 1.5)
    decoder = {**spec.decoder, "calibration": calibration.to_dict()}
    copy_with_spec(plain, calibrated, replace(spec, decoder=decoder))
    labels = {"annotations": run.parent / "val.json", "images": run.parent / "val"}
    options = {**labels, "trials": 1, "quiet": True, "device": "cpu"}  # the settings stay
    before = tune(plain, **options)["threshold"]["value"]
    after = tune(calibrated, write=True, **options)["threshold"]["value"]
    assert after == pytest.approx(float(calibration(np.array(before))), abs=2e-5)
    written = load_model(calibrated).spec.decoder
    assert written == {**decoder, "threshold": after}
