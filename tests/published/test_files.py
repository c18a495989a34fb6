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

from checkpoints import MEAN, STD, predicted, published
from slow import poses as slow_poses
from tagwise.grouping import GroupingSettings, KeypointGroups, decode_keypoints
from tagwise.models.cornernet import CornerNet
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE
from tagwise.skeletons import COCO17, CROWDPOSE14


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """(90, 121, 3) RGB, in photo.png of the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    rough = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(rough, (121, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


# Networks with random weights see a crowd of noise, with costs so near one another that the last
# digit of a map decides between a few, and twins where the map's edge repeats a peak. How many
# depends on the number of threads.
NOISE = 0.9


def matches(record, groups, to_photo, share=1.0):
    """Whether a record has as many groups, and these, but for a share; from the map's edge."""
    keypoints = groups.keypoints.astype(np.float64)
    keypoints[..., :2] = to_photo(keypoints[..., :2] + 0.5)
    keypoints[..., 2] = keypoints[..., 2].clip(0, 1)
    found = np.array([each["keypoints"] for each in record["instances"]], np.float64)
    assert len(found) == len(groups) > 1
    same = np.isclose(found[None], keypoints[:, None], atol=0.02, equal_nan=True).all((2, 3))
    assert same.any(0).mean() >= share
    assert same.any(1).mean() >= share
    scores = [each["score"] for each in record["instances"]]
    assert np.mean(np.isclose(scores, groups.scores.clip(max=1), atol=1e-3)) >= share
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
    """Heatmaps and tags of one pass, at the size of the input, as aggregate_results reads them."""
    with torch.no_grad():
        stages = network(inputs.flip(3) if mirrored else inputs)
    size, types = stages[-1].shape[2:], len(flip)
    larger = [interpolate(s, size=size, mode="bilinear") for s in stages[:-1]] + [stages[-1]]
    heatmaps = torch.stack([stage[:, :types] for stage in larger]).mean(0)
    tags = larger[0][:, types:]
    full = [interpolate(m, size=inputs.shape[2:], mode="bilinear") for m in (heatmaps, tags)]
    return [m.flip(3)[:, list(flip)] for m in full] if mirrored else full


def joined_passes(network, inputs, flip, mirror):
    """Heatmaps and tags of a photo, or of it and its mirror image."""
    ways = (False, True) if mirror else (False,)
    passes = [higherhrnet_maps(network, inputs, way, flip) for way in ways]
    heatmaps = torch.stack([heatmaps for heatmaps, _ in passes]).mean(0)
    return heatmaps, torch.stack([tags for _, tags in passes], 2).flatten(1, 2)


@pytest.mark.parametrize("mirror", [False, True])
def test_higherhrnet(photo, mirror):
    network = HigherHRNet(16, 17)
    network = published(network, "1.", network.final_layers)
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = joined_passes(network, inputs, COCO17.flip, mirror)
    assert heatmaps.max() > 1  # so that cutting them would show
    settings = GroupingSettings.preset("higherhrnet")
    (groups,) = decode_keypoints(heatmaps, tags, settings, COCO17.order)
    record = predicted("--size", "64", "--threshold", "0", *["--flip"] * mirror)
    assert matches(record, groups, to_photo, NOISE)
    assert record["keypoints"] == list(COCO17.keypoints)


def crowd(rng):
    """Stages of HigherHRNet's maps, (1, 34, 16, 32) and (1, 17, 32, 64), of four people.

    As a trained network's: a peak a keypoint, people far apart in place and tags. One keypoint of
    five is lost; where it would be, faint noise says.
    """
    tags = np.zeros((17, 16, 32))
    heatmaps = [np.zeros((17, 16, 32)), np.zeros((17, 32, 64))]
    for maps in heatmaps:
        maps[:, 1:-1, 1:-1] = rng.uniform(0.01, 0.05, maps[:, 1:-1, 1:-1].shape)
    for person in range(4):
        tags[:, :, 8 * person : 8 * person + 8] = 3 * person
        for kind in range(17):
            if kind == 0 or rng.random() < 0.8:
                x, y = rng.uniform((16 * person + 4, 4), (16 * person + 12, 28))
                height = rng.uniform(0.4, 1)
                for maps, stride in zip(heatmaps, (2, 1)):
                    v, u = np.ogrid[: maps.shape[1], : maps.shape[2]]
                    away = (u - (x + 0.5) / stride + 0.5) ** 2 + (v - (y + 0.5) / stride + 0.5) ** 2
                    maps[kind] = np.maximum(maps[kind], height * np.exp(-away * stride**2 / 8))
    tags += rng.normal(0, 0.05, tags.shape)
    stages = np.concatenate([heatmaps[0], tags]), heatmaps[1]
    return [torch.from_numpy(stage).float()[None] for stage in stages]


def replay(passes):
    """Stands for a network: gives these stages of maps, one pass after the other."""
    answers = iter(passes)
    return lambda *_: next(answers)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("mirror", [False, True])
def test_higherhrnet_with_people(photo, monkeypatch, mirror, seed):
    """Where no costs are equal, the answer is that of the decoder in plain loops."""
    rng, flip = np.random.default_rng(seed), list(COCO17.flip)
    passes = [crowd(rng)]
    if mirror:
        noisy = [s * (1 + 0.02 * torch.from_numpy(rng.normal(size=s.shape))) for s in passes[0]]
        swaps = flip + [17 + k for k in flip], flip
        passes.append([s.float().flip(3)[:, swap] for s, swap in zip(noisy, swaps)])
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = joined_passes(replay(passes), inputs, flip, mirror)
    maps = heatmaps[0].numpy(), tags.reshape(17, -1, *heatmaps.shape[2:]).numpy()
    keypoints, scores = slow_poses.decode(*maps, COCO17.order, slow_poses.HIGHERHRNET)
    keypoints[..., :2] -= 0.5
    keypoints[keypoints[..., 2] == 0, :2] = np.nan
    best = np.argsort(-scores)
    published(HigherHRNet(16, 17), "1.", [])
    monkeypatch.setattr(HigherHRNet, "forward", replay(passes))
    record = predicted("--size", "64", "--threshold", "0", *["--flip"] * mirror)
    assert len(record["instances"]) == 4
    groups = KeypointGroups(keypoints[best], scores[best], None, None)
    assert matches(record, groups, to_photo)


@pytest.mark.parametrize("mirror", [False, True])
def test_hrnet_of_crowdpose_as_a_user_runs_it(photo, tmp_path, mirror):
    network = HRNetAE(16, 14)
    network = published(network, "module.", [network.final_layer])
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = joined_passes(network, inputs, CROWDPOSE14.flip, mirror)
    order = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13)
    settings = GroupingSettings.preset("higherhrnet")
    (groups,) = decode_keypoints(heatmaps, tags, settings, order)
    command = "-m tagwise predict photo.png --weights weights.pth --size 64 --threshold 0"
    ran = subprocess.run(
        [sys.executable, *command.split(), *["--flip"] * mirror],
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
    assert matches(record, groups, to_photo, NOISE)


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
    assert matches(record, groups, lambda points: (points * 4 - 64) / factor + middle, NOISE)


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
