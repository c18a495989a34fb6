"""The full-size networks have the published tensor names and give the stored outputs."""

import numpy as np
import pytest
import torch

from tagwise.models.cornernet import CornerNet
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE


def plain(name):
    return name


def without_prefixes(name):
    """mmpose adds prefixes for the backbone and the head."""
    return name.replace("backbone.", "").replace("keypoint_head.", "").replace("head.", "")


def of_lite(name):
    """CornerNet-Lite adds a prefix for the hourglasses, and renames three parts."""
    for lite, original in (
        ("hg.hgs", "kps"),
        ("hg.", ""),
        ("_modules", "_cnvs"),
        ("_offs", "_regrs"),
    ):
        name = name.replace(lite, original)
    return name


CASES = {
    "higherhrnet_w32_coco": (lambda: HigherHRNet(32, 17), plain),
    "higherhrnet_w48_coco": (lambda: HigherHRNet(48, 17), plain),
    "higherhrnet_w32_crowdpose": (lambda: HigherHRNet(32, 14), plain),
    "mmpose0_hrnet_w32_ae_coco": (lambda: HRNetAE(32, 17), without_prefixes),
    "mmpose0_higherhrnet_w32_coco": (lambda: HigherHRNet(32, 17), without_prefixes),
    "mmpose1_hrnet_w32_ae_coco": (lambda: HRNetAE(32, 17), without_prefixes),
    "poseae_posenet": (lambda: StackedHourglass(17), plain),
    "cornernet_hourglass104": (lambda: CornerNet(80), plain),
    "cornernetlite_cornernet": (lambda: CornerNet(80), of_lite),
    "cornernetlite_squeeze": (lambda: CornerNet(80, squeeze=True), of_lite),
}


def named(case, outputs):
    """Outputs under the names that the stored ones have."""
    if case == "poseae_posenet":
        return {"preds": torch.stack(outputs, 1)}
    if case.startswith("mmpose1"):
        return dict(zip(("heatmaps", "tags"), outputs[0].chunk(2, 1), strict=True))
    if case.startswith("cornernet"):
        return {f"stack{n}_{k}": v for n, maps in enumerate(outputs) for k, v in maps.items()}
    return {f"stage{n}": maps for n, maps in enumerate(outputs)}


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_numbers_are_the_published_ones(golden, case):
    build, rename = CASES[case]
    stored = golden.Net(case)
    network = build().eval()
    official = {rename(name): name for name in stored.meta["tensors"]}
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert shapes == {rename(n): shape for n, shape in stored.meta["tensors"].items()}
    weights = stored.weights()
    state = {name: torch.from_numpy(np.asarray(weights[official[name]])) for name in shapes}
    network.load_state_dict(state)
    image = torch.from_numpy(stored.input)
    image = image.permute(0, 3, 1, 2) if case == "poseae_posenet" else image
    with torch.no_grad():
        outputs = network(image)
    stored.check({name: maps.numpy() for name, maps in named(case, outputs).items()})
