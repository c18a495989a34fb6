"""Published files go through `tagwise predict` as a user runs it, and give the published answer.

The answer comes from the bare network, the arithmetic of the families' own test programs, and the
decoders that other tests hold against stored numbers.
"""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tagwise.cli import main
from tagwise.grouping import GroupingSettings, decode_keypoints
from tagwise.models.cornernet import CornerNet
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE
from tagwise.skeletons import COCO17, CROWDPOSE14

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """(90, 121, 3) RGB, in photo.png of the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    rough = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(rough, (121, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


def published(network, prefix, layers, seed=0):
    """The network with lively weights, written as a checkpoint with training state beside.

    layers: of each stage, the last before its maps, which shall spread by a half.
    """
    torch.manual_seed(seed)
    network.eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                module.weight.normal_(0, 0.7 * (2 / module.weight[0].numel()) ** 0.5)
        for stage, layer in enumerate(layers):
            spread = network(torch.rand(1, 3, 64, 64))[stage].std()
            layer.weight /= 2 * spread
            layer.bias /= 2 * spread
    state = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, "weights.pth")
    return network


def predicted(*arguments):
    assert main(["predict", "photo.png", "--weights", "weights.pth", *arguments]) == 0
    with open("predictions/photo.predictions.json") as file:
        return json.load(file)


def matches(record, groups, to_photo, least=0.9):
    """The share of groups that a record has; half a cell on, they count from the map's edge.

    Where maps are enlarged, border cells repeat, so rounding decides some of the noise's places.
    Tags are those of two looks: along one line, sums of distances are equal, and the last digit
    decides who is grouped with whom.
    """
    keypoints = groups.keypoints.astype(np.float64)
    keypoints[..., :2] = to_photo(keypoints[..., :2] + 0.5)
    keypoints[..., 2] = keypoints[..., 2].clip(0, 1)
    found = np.array([each["keypoints"] for each in record["instances"]], np.float64)
    assert len(groups) > 1
    assert len(found) == pytest.approx(len(groups), rel=0.02)
    same = np.isclose(found[None], keypoints[:, None], atol=0.02, equal_nan=True)
    share = same.all((2, 3)).any(1).mean()
    assert share >= least
    scores = sorted((each["score"] for each in record["instances"]), reverse=True)
    assert scores[0] == pytest.approx(min(groups.scores[0], 1), abs=1e-3)
    return True


def as_higherhrnet_sees(image, short):
    """The network's input (1, 3, H, W) and the way back from points on maps of its size."""
    height, width = image.shape[:2]
    wide = int((short / height * width + 63) // 64 * 64)
    factor, centre = short / height, np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)])
    middle = np.array([wide / 2, short / 2])
    matrix = np.column_stack([np.eye(2) * factor, middle - factor * centre])
    warped = cv2.warpAffine(image, matrix, (wide, short)) / 255
    inputs = torch.from_numpy(((warped - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    return inputs, lambda points: (points - middle) / factor + centre


def higherhrnet_maps(network, inputs, mirrored, flip):
    """Heatmaps and tags of one look, at the size of the input, as aggregate_results reads them."""
    with torch.no_grad():
        stages = network(inputs.flip(3) if mirrored else inputs)
    size, types = stages[-1].shape[2:], len(flip)
    larger = [interpolate(s, size=size, mode="bilinear") for s in stages[:-1]] + [stages[-1]]
    heatmaps = torch.stack([stage[:, :types] for stage in larger]).mean(0)
    tags = larger[0][:, types:]
    full = [interpolate(m, size=inputs.shape[2:], mode="bilinear") for m in (heatmaps, tags)]
    return [m.flip(3)[:, list(flip)] for m in full] if mirrored else full


def both_looks(network, inputs, flip):
    """Heatmaps and tags of a photo and its mirror image."""
    looks = [higherhrnet_maps(network, inputs, way, flip) for way in (False, True)]
    heatmaps = torch.stack([heatmaps for heatmaps, _ in looks]).mean(0)
    return heatmaps, torch.stack([tags for _, tags in looks], 2).flatten(1, 2)


def test_higherhrnet(photo):
    network = HigherHRNet(16, 17)
    network = published(network, "1.", network.final_layers)
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = both_looks(network, inputs, COCO17.flip)
    assert heatmaps.max() > 1  # so that cutting them would show
    settings = GroupingSettings.preset("higherhrnet")
    (groups,) = decode_keypoints(heatmaps, tags, settings, COCO17.order)
    record = predicted("--size", "64", "--threshold", "0", "--flip")
    assert matches(record, groups, to_photo)
    assert record["keypoints"] == list(COCO17.keypoints)


def test_hrnet_of_crowdpose_as_a_user_runs_it(photo, tmp_path):
    network = HRNetAE(16, 14)
    network = published(network, "module.", [network.final_layer])
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = both_looks(network, inputs, CROWDPOSE14.flip)
    order = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13)
    settings = GroupingSettings.preset("higherhrnet")
    (groups,) = decode_keypoints(heatmaps, tags, settings, order)
    command = "-m tagwise predict photo.png --weights weights.pth --size 64 --threshold 0 --flip"
    ran = subprocess.run(
        [sys.executable, *command.split()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = ran.stderr.splitlines()
    assert lines[0] == "tagwise: reading the published checkpoint weights.pth"
    assert lines[1].startswith("tagwise: this is HRNet with tags-W16; photos run on cpu in fp32")
    assert ran.stdout.startswith("1 photo, ")
    record = json.loads((tmp_path / "predictions" / "photo.predictions.json").read_text())
    assert matches(record, groups, to_photo)


def test_stacked_hourglass(photo):
    network = StackedHourglass(17, 2, 32, 16)
    network = published(network, "model.module.", [out.conv for out in network.outs])
    factor, middle = 128 / 121, np.array([121 / 2, 90 / 2])
    matrix = np.column_stack([np.eye(2) * factor, 64 - factor * middle])
    inputs = torch.from_numpy((cv2.warpAffine(photo, matrix, (128, 128)) / 255).astype(np.float32))
    with torch.no_grad():
        last = network(inputs.permute(2, 0, 1)[None])[-1]
    settings = GroupingSettings.preset("poseae")
    heatmaps, tags = last[:, :17].clamp(max=1), last[:, 17:34]
    (groups,) = decode_keypoints(heatmaps, tags, settings, COCO17.order)
    record = predicted("--size", "128", "--threshold", "0")
    assert matches(record, groups, lambda points: (points * 4 - 64) / factor + middle)


@pytest.mark.parametrize(("squeeze", "seed"), [(False, 0), (True, 1)])
def test_cornernet(photo, squeeze, seed):
    """Each box joins a cell of either map, moved by its offset, in the photo's own place."""
    network = CornerNet(3, squeeze=squeeze, width=32)
    network = published(network, "module.", [], seed)
    with torch.no_grad():
        for kind, factor in (("heats", 0.1), ("tags", 0.01), ("regrs", 0.01)):
            for corner in ("tl", "br"):
                for values in getattr(network, f"{corner}_{kind}")[-1][-1].parameters():
                    values *= factor
    torch.save(network.state_dict(), "weights.pth")
    canvas = np.zeros((127, 127, 3), np.float32)
    top, left = 63 - 45, 63 - 60
    canvas[top : top + 90, left : left + 121] = photo[..., ::-1] / 255
    mean = np.array([0.40789654, 0.44719302, 0.47026115], np.float32)
    std = np.array([0.28863828, 0.27408164, 0.27809835], np.float32)
    inputs = torch.from_numpy((canvas - mean) / std).permute(2, 0, 1)[None]
    with torch.no_grad():
        maps = network(inputs)[-1]
    record = predicted("--threshold", "0")
    assert record["instances"]
    places = []
    for corner in ("tl", "br"):
        offset = maps[f"{corner}_off"][0].numpy()
        cells = np.stack(np.meshgrid(*map(np.arange, offset.shape[:0:-1])), 0) + offset
        on_map = cells.reshape(2, -1).T
        places.append(on_map * 127 / offset.shape[2] - [left, top])
    for instance in record["instances"]:
        x, y, width, height = instance["box"]
        for place, corner in zip(places, ([x, y], [x + width, y + height])):
            inside = np.clip(place, [0, 0], [121, 90])
            assert np.abs(inside - corner).max(1).min() < 1.0
