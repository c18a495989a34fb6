"""The full-size networks: names and shapes of all tensors, sizes, and outputs against numpy."""

import math

import pytest
import torch

from slow import networks as slow
from slow import tensors
from tagwise.models.cornernet import CornerNet
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE

FULL_SIZE = {
    "HigherHRNet-W32": (lambda: HigherHRNet(32, 17), lambda: tensors.higherhrnet(32, 17)),
    "HigherHRNet-W48": (lambda: HigherHRNet(48, 17), lambda: tensors.higherhrnet(48, 17)),
    "HigherHRNet-W32, CrowdPose": (
        lambda: HigherHRNet(32, 14),
        lambda: tensors.higherhrnet(32, 14),
    ),
    "HRNet-W32 with tags": (lambda: HRNetAE(32, 17), lambda: tensors.hrnet_ae(32, 17)),
    "pose-ae": (lambda: StackedHourglass(17), tensors.poseae),
    "CornerNet": (lambda: CornerNet(80), lambda: tensors.cornernet(80, False)),
    "CornerNet-Squeeze": (
        lambda: CornerNet(80, squeeze=True),
        lambda: tensors.cornernet(80, True),
    ),
}
# Millions as in HigherHRNet's README; the last two as CornerNet's train.py prints them.
PARAMETERS = {
    "HigherHRNet-W32": (28.6e6, 0.05e6),
    "HigherHRNet-W48": (63.8e6, 0.05e6),
    "HRNet-W32 with tags": (28.5e6, 0.05e6),
    "CornerNet": (201_035_212, 0),
    "CornerNet-Squeeze": (31_771_852, 0),
}


@pytest.fixture
def on_paper(monkeypatch):
    """Builds a network without allocating its weights."""
    for name in ("kaiming_uniform_", "normal_", "uniform_", "constant_", "ones_", "zeros_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)

    def build(network):
        with torch.device("meta"):
            return network()

    return build


@pytest.mark.parametrize("family", FULL_SIZE)
def test_names_shapes_and_sizes(agree, on_paper, family):
    build, listed = FULL_SIZE[family]
    network, expected = on_paper(build), list(listed())
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(dict(expected)) == len(expected)
    assert shapes == dict(expected)
    count = sum(p.numel() for p in network.parameters())
    learned = (shape for name, shape in expected if name.endswith(("weight", "bias")))
    agree("networks: parameters, as listed", count, sum(map(math.prod, learned)))
    if family in PARAMETERS:
        published, rounding = PARAMETERS[family]
        words = "as published, in tenths of a million" if rounding else "as published"
        agree(f"networks: parameters, {words}", count, published, atol=rounding)


# The network, its reference in numpy, an input, and the shapes of the maps of all stages.
SMALL = {
    "HigherHRNet": (
        lambda: HigherHRNet(4, 3),
        slow.higherhrnet,
        (64, 32),
        [(6, 16, 8), (3, 32, 16)],
    ),
    "HRNet with tags": (lambda: HRNetAE(4, 2), slow.hrnet_ae, (32, 64), [(4, 8, 16)]),
    "pose-ae": (
        lambda: StackedHourglass(2, 2, 8, 4),
        slow.poseae,
        (64, 128),
        [(8, 16, 32)] * 2,
    ),
    "CornerNet": (
        lambda: CornerNet(3, width=32),
        slow.cornernet,
        (127, 127),
        [(3, 32, 32), (1, 32, 32), (2, 32, 32)] * 4,
    ),
    "CornerNet, one stack": (
        lambda: CornerNet(1, tags=2, width=32, stacks=1),
        slow.cornernet,
        (127, 255),
        [(1, 32, 64), (2, 32, 64), (2, 32, 64)] * 2,
    ),
    "CornerNet-Squeeze": (
        lambda: CornerNet(2, squeeze=True, width=32),
        slow.cornernet,
        (255, 127),
        [(2, 32, 16), (1, 32, 16), (2, 32, 16)] * 4,
    ),
}


def lively(network):
    """Weights that keep signals near 1 through all layers, and norms that change them."""
    draw = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.ndim == 4:
            spread = math.sqrt(2 / value[0].numel())
            value.copy_(torch.randn(value.shape, generator=draw) * spread)
        elif value.ndim == 1:
            value.copy_(0.2 * torch.randn(value.shape, generator=draw))
            if name.endswith("running_var") or (value.ndim == 1 and ".bn" in name):
                value.abs_().add_(0.5)
    return network.double().eval()


def listed(outputs):
    """The maps of all stages as a list, whether they have names or not."""
    stages = [list(maps.values()) if isinstance(maps, dict) else [maps] for maps in outputs]
    return [maps for stage in stages for maps in stage]


@pytest.mark.parametrize("family", SMALL)
def test_complete_network_answers_match(agree, family):
    build, reference, size, shapes = SMALL[family]
    network = lively(build())
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)).double() - 0.4
    with torch.no_grad():
        found = listed(network(image))
    assert [tuple(maps[0].shape) for maps in found] == shapes
    expected = listed(reference(network.state_dict(), image[0].numpy()))
    case = f"networks: {family.split(',')[0]}, maps in units of their spread"
    for ours, theirs in zip(found, expected, strict=True):
        spread = theirs.std()
        assert spread > 1e-3  # there is something to compare
        agree(case, ours[0].numpy() / spread, theirs / spread, atol=1e-8)
