import types

import pytest
import torch
from torch import nn

from tagwise.errors import UserError
from tagwise.models.efficientnet import EfficientNetLite
from tagwise.models.pyramid import PyramidTrunk, pyramid_network
from tagwise.models.small import SmallBackbone, small
from tagwise.tasks import Head

HEADS = {"foreground": Head(1, "heatmap"), "tags": Head(2, "tag", position=8.0)}


class Plain(nn.Module):
    """A backbone without a feature at stride 2."""

    channels = types.MappingProxyType({"c4": 3, "c8": 3, "c16": 3, "c32": 3})

    def forward(self, x):
        return {f"c{s}": nn.functional.avg_pool2d(x, s) for s in (4, 8, 16, 32)}


@pytest.mark.parametrize("backbone", [SmallBackbone(8), EfficientNetLite(0)])
def test_backbones_have_a_feature_at_stride_2(backbone):
    c2 = backbone.eval()(torch.rand(1, 3, 64, 96))["c2"]
    assert c2.shape == (1, backbone.channels["c2"], 32, 48)


@pytest.mark.parametrize("stride", [2, 4])
def test_maps_have_the_requested_stride(stride):
    network = small(HEADS, width=8, channels=8, stride=stride).eval()
    outputs = network(torch.rand(1, 3, 64, 96))
    assert network.stride == stride
    for name, head in HEADS.items():
        assert outputs[name].shape == (1, head.channels, 64 // stride, 96 // stride)


def test_tags_start_at_the_middle_of_their_cells_at_any_stride():
    torch.manual_seed(0)
    network = small(HEADS, width=8, channels=8, stride=2).eval()
    nn.init.zeros_(network.heads["tags"].output.weight)
    tags = network(torch.rand(1, 3, 64, 64))["tags"]
    assert tags[0, :, 3, 5].tolist() == [10.5 / 8, 6.5 / 8]


def test_default_tag_features_are_the_three_finest():
    for stride, names in ((4, ["p4", "p8", "p16"]), (2, ["p2", "p4", "p8"])):
        network = pyramid_network(
            SmallBackbone(8), HEADS, mean=[0] * 3, std=[1] * 3, channels=8, stride=stride
        )
        assert list(network.heads["tags"].entries) == names


def test_level_uses_its_own_feature_and_coarser_ones():
    trunk = PyramidTrunk(Plain(), 4, separable=False).eval()
    assert set(trunk(torch.rand(1, 3, 64, 64))) == {*Plain.channels, "p4", "p8", "p16", "p32"}
    with pytest.raises(UserError, match="c4, c8"):
        PyramidTrunk(Plain(), 4, separable=False, stride=2)
    with pytest.raises(UserError, match="stride is 8"):
        small(HEADS, stride=8)
