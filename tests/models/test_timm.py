"""timm's adapter, against a stand-in that has timm's interface, and against timm if it imports."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from tagwise.errors import UserError
from tagwise.models import create_model, load_model, save_model


class Pyramid(nn.Module):
    """A substitute for the result of timm.create_model(..., features_only=True)."""

    def __init__(self, strides):
        super().__init__()
        self.strides = strides
        self.pretrained_cfg = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
        self.feature_info = SimpleNamespace(
            reduction=lambda: list(strides), channels=lambda: [4 + s for s in strides]
        )
        self.convs = nn.ModuleList(nn.Conv2d(3, 4 + s, 3, stride=s, padding=1) for s in strides)

    def forward(self, x):
        return [conv(x) for conv in self.convs]


@pytest.fixture
def stand_in(monkeypatch):
    def create(name, pretrained, features_only):
        assert features_only
        if pretrained:
            raise RuntimeError("no\n net")
        return Pyramid([16] if name == "vit" else [2, 4, 8, 16, 32])

    timm = ModuleType("timm")
    timm.create_model, timm.list_models = create, lambda: ["tiny", "vit"]
    timm.is_model = lambda name: name in ("tiny", "vit")
    monkeypatch.setitem(sys.modules, "timm", timm)


@pytest.mark.usefixtures("stand_in")
def test_timm_backbone_runs_and_loads_from_its_file(tmp_path, pose):
    model = create_model("timm/tiny", pose, channels=8).eval()
    assert model.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    image = torch.rand(1, 3, 64, 96)
    maps = model(image)
    assert maps["tags"].shape == (1, 34, 16, 24)
    save_model(model, tmp_path / "m.safetensors", half=False)
    again = load_model(tmp_path / "m.safetensors", fuse=True)
    assert not again.turned  # its padding is different
    for name, found in again(image).items():
        torch.testing.assert_close(found, maps[name], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("name", "pretrained", "message"),
    [
        ("timm/tinny", None, "timm has no model 'tinny'; similar names: tiny"),
        ("timm/hf-hub:a/tiny", None, "timm has no model 'hf-hub:a/tiny'"),
        ("timm/vit", None, r"strides \[16\]; the pyramid needs 4, 8, 16 and 32"),
        ("timm/tiny", "imagenet", r"timm/tiny: its weights cannot be loaded \(no net\)"),
        ("timm/tiny", "coco", "'coco' is neither 'imagenet'"),
    ],
)
def test_errors_explain_what_cannot_be_built(pose, name, pretrained, message):
    with pytest.raises(UserError, match=message):
        create_model(name, pose, pretrained=pretrained)


def test_missing_timm_names_the_extra(pose, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'tagwise\[timm\]'"):
        create_model("timm/resnet18", pose)


def test_timm_without_its_torchvision_is_explained(pose, monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("import torchvision_that_is_absent")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(UserError, match="timm needs a torchvision of the same build as torch"):
        create_model("timm/resnet18", pose)


def test_real_timm_backbone_can_be_used(pose):
    try:
        import timm  # noqa: F401
    except Exception as error:
        pytest.skip(f"timm does not import: {error}")
    model = create_model("timm/resnet18", pose).eval()
    assert model(torch.rand(1, 3, 64, 64))["heatmaps"].shape == (1, 17, 16, 16)
