"""A small folder of photos and a small model for tests of runs in shards; and Ray, started once."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from spots import PIN
from tagwise import Predictor
from tagwise.models import create_model, save_model
from tagwise.tasks import PoseTask


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A small real model file that detects a few keypoints in any image."""
    torch.manual_seed(0)
    model = create_model("small", PoseTask(PIN), input_size=(64, 64), width=16)
    with torch.no_grad():
        model.heads["heatmaps"].output.bias += 2.0
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(model, path)
    return str(path)


def write_photos(folder, count):
    """Photos of noise of several sizes, and one file that is no photo."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.integers(0, 256, (60 + number % 3, 80, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number:02d}.png")
    (folder / "bad.png").write_text("no photo")
    return folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_photos(tmp_path / "photos", 11)


@pytest.fixture(scope="session")
def ray():
    """Ray on this machine, with two CPUs."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    from tagwise.scale.ray_actors import connect, import_ray

    import_ray()
    connect(ray, address="local", num_cpus=2, object_store_memory=200 * 2**20)
    yield ray
    ray.shutdown()


@pytest.fixture
def plain(photos, weights):
    """What `Predictor` finds in each photo: its JSON, or the text of its error."""
    predictor, found = Predictor(weights, device="cpu", precision="fp32"), {}
    for path in sorted(photos.iterdir()):
        name = f"photos/{path.name}"
        (outcome,) = predictor.outcomes([name])
        found[name] = str(outcome.error) if outcome.error else outcome.result.to_dict()
    assert sum(len(one["instances"]) for one in found.values() if isinstance(one, dict)) > 5
    return json.loads(json.dumps(found))
