"""OpenVINO with caches of its own, and a network that finds something in any image."""

import os

import pytest
import torch

from small_runs import FIGURE
from tagwise.models import create_model, save_model
from tagwise.tasks.pose import PoseTask


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache that the tests share, since each conversion takes a second."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def openvino(monkeypatch, home):
    """The extra is there, and "auto" is what it is outside of tests."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "") == "SSE41":
        pytest.skip("OpenVINO fails if oneDNN alone is limited to SSE 4.1")
    monkeypatch.setenv("TAGWISE_HOME", str(home))
    for limit in ("TAGWISE_RUNTIME", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(limit, raising=False)
    return pytest.importorskip("openvino", reason="needs pip install 'tagwise[openvino]'")


@pytest.fixture
def empty_cache(openvino, monkeypatch, tmp_path):
    monkeypatch.setenv("TAGWISE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "openvino"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model file of a tiny network, which finds something in any image."""
    torch.manual_seed(0)
    task = PoseTask(FIGURE, tag_dim=2, position=16, offsets=True)
    model = create_model("small", task, input_size=(96, 96), width=8)
    heatmaps = model.heads["heatmaps"].output
    heatmaps.weight.data.mul_(40)
    heatmaps.bias.data.zero_()
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(model, path)
    return path
