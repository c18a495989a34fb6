"""`tagwise predict` gives the published results for published files.

The maps of a photo come from the bare network and the arithmetic of the families' own test
programs; the people of planted maps, from decoders in plain loops.
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

from checkpoints import as_higherhrnet_sees, assert_people, predicted, published
from scenes.planted import mirrored, planted_boxes, planted_people, replay
from slow import corners as slow_corners
from slow import fitting
from slow import poses as slow_poses
from tagwise.models.cornernet import CornerNet
from tagwise.models.hourglass import StackedHourglass
from tagwise.models.hrnet import HigherHRNet, HRNetAE
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import COCO17, CROWDPOSE14

CROWDPOSE_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """(90, 121, 3) RGB, in photo.png of the folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    rough = np.random.default_rng(1).integers(0, 256, (12, 16, 3), np.uint8)
    image = cv2.resize(rough, (121, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


def assert_maps(predictor, image, heatmaps, tags):
    """Compare the predictor's maps of a photo with these, (1, C, h, w) each."""
    maps, _ = predictor.maps(image)
    for name, wanted in (("heatmaps", heatmaps), ("tags", tags)):
        spread = wanted.std().item()
        assert spread > 0.05  # the maps are not constant
        torch.testing.assert_close(maps[name], wanted, rtol=1e-4, atol=1e-4 * spread)


# ---------------------------------------------------------------------- HigherHRNet and HRNet


def higherhrnet_maps(network, inputs, mirror, flip):
    """Heatmaps and tags of one pass, at the size of the input, as aggregate_results reads them."""
    with torch.no_grad():
        stages = network(inputs.flip(3) if mirror else inputs)
    size, types = stages[-1].shape[2:], len(flip)
    larger = [interpolate(s, size=size, mode="bilinear") for s in stages[:-1]] + [stages[-1]]
    heatmaps = torch.stack([stage[:, :types] for stage in larger]).mean(0)
    tags = larger[0][:, types:]
    full = [interpolate(m, size=inputs.shape[2:], mode="bilinear") for m in (heatmaps, tags)]
    return [m.flip(3)[:, list(flip)] for m in full] if mirror else full


def joined_passes(network, inputs, flip, mirror):
    """Heatmaps and tags of a photo, or of it and its mirror image."""
    ways = (False, True) if mirror else (False,)
    passes = [higherhrnet_maps(network, inputs, way, flip) for way in ways]
    heatmaps = torch.stack([heatmaps for heatmaps, _ in passes]).mean(0)
    return heatmaps, torch.stack([tags for _, tags in passes], 2).flatten(1, 2)


FAMILIES = {  # network, prefix in the file, strides of its stages, flip, order of grouping
    "HigherHRNet": (lambda: HigherHRNet(16, 17), "1.", (4, 2), COCO17.flip, COCO17.order),
    "HRNet": (lambda: HRNetAE(16, 14), "module.", (4,), CROWDPOSE14.flip, CROWDPOSE_ORDER),
}


def last_layers(network):
    return network.final_layers if isinstance(network, HigherHRNet) else [network.final_layer]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_maps_of_a_photo_match(photo, family, mirror):
    build, prefix, _, flip, _ = FAMILIES[family]
    network = build()
    network = published(network, prefix, last_layers(network))
    inputs, _ = as_higherhrnet_sees(photo, 64)
    wanted = joined_passes(network, inputs, flip, mirror)
    assert_maps(Predictor("weights.pth", size=64, flip=mirror), photo, *wanted)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_people_of_planted_maps_match(photo, monkeypatch, family, mirror):
    build, prefix, strides, flip, order = FAMILIES[family]
    network = published(build(), prefix, [])
    passes = [planted_people(int(mirror), (128, 64), len(flip), strides, dark=3)]
    if mirror:
        passes.append(mirrored(2, passes[0], flip))
    inputs, to_photo = as_higherhrnet_sees(photo, 64)
    heatmaps, tags = joined_passes(replay(passes), inputs, flip, mirror)
    assert heatmaps.max() > 1.02  # so that clipping them would be noticed
    maps = heatmaps[0].numpy(), tags.reshape(len(flip), -1, *heatmaps.shape[2:]).numpy()
    keypoints, scores = slow_poses.decode(*maps, order, slow_poses.HIGHERHRNET)
    assert len(keypoints) == 4
    keypoints[..., :2] = to_photo(keypoints[..., :2])
    monkeypatch.setattr(type(network), "forward", replay(passes))
    record = predicted("--size", "64", "--threshold", "0", *["--flip"] * mirror)
    assert_people(record, keypoints, scores)
    assert record["keypoints"] == list((COCO17 if len(flip) == 17 else CROWDPOSE14).keypoints)


def test_convert_prints_a_summary(photo, tmp_path):
    """In a separate process: the network, the number of instances, and their file."""
    network = HRNetAE(16, 14)
    published(network, "module.", [network.final_layer])
    command = "-m tagwise predict photo.png --weights weights.pth --size 64 --threshold 0"
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
    record = json.loads((tmp_path / "predictions" / "photo.predictions.json").read_text())
    assert ran.stdout.startswith(f"1 photo, {len(record['instances'])} ")
    assert len(record["instances"]) > 1
    assert record["keypoints"] == list(CROWDPOSE14.keypoints)


# ---------------------------------------------------------------------- pose-ae


def test_maps_of_stacked_hourglasses_match(photo):
    network = StackedHourglass(17, 2, 32, 16)
    network = published(network, "model.module.", [out.conv for out in network.outs])
    factor, middle = 128 / 121, np.array([121 / 2, 90 / 2])
    matrix = np.column_stack([np.eye(2) * factor, 64 - factor * middle])
    inputs = torch.from_numpy((cv2.warpAffine(photo, matrix, (128, 128)) / 255).astype(np.float32))
    with torch.no_grad():
        last = network(inputs.permute(2, 0, 1)[None])[-1]
    heatmaps, tags = last[:, :17].clamp(max=1), last[:, 17:34]
    assert_maps(Predictor("weights.pth", size=128), photo, heatmaps, tags)


@pytest.mark.parametrize("seed", [0, 1])
def test_people_of_stacked_hourglasses_match(photo, monkeypatch, seed):
    """Maps are clipped at 1, and only those of the last stack are used."""
    published(StackedHourglass(17, 2, 32, 16), "model.module.", [])
    (last,) = planted_people(seed, (128, 128), 17, (4,), dark=3, highest=1.1)
    other = planted_people(seed + 10, (128, 128), 17, (4,))[0]
    stacks = [torch.cat([maps, torch.full((1, 34, 32, 32), 9.0)], 1) for maps in (other, last)]
    maps = last[0, :17].clamp(max=1).numpy(), last[0, 17:].reshape(17, 1, 32, 32).numpy()
    keypoints, scores = slow_poses.decode(*maps, COCO17.order, slow_poses.POSEAE)
    assert len(keypoints) == 4
    factor, middle = 128 / 121, np.array([121 / 2, 90 / 2])
    keypoints[..., :2] = (keypoints[..., :2] * 4 - 64) / factor + middle
    monkeypatch.setattr(StackedHourglass, "forward", replay([stacks]))
    assert_people(predicted("--size", "128", "--threshold", "0"), keypoints, scores)


# ---------------------------------------------------------------------- CornerNet


@pytest.mark.parametrize("squeeze", [False, True])
def test_maps_of_cornernet_match(photo, squeeze):
    network = published(CornerNet(3, squeeze=squeeze, width=32), "module.", [], seed=1)
    canvas = np.zeros((127, 127, 3), np.float32)
    top, left = 63 - 45, 63 - 60
    canvas[top : top + 90, left : left + 121] = photo[..., ::-1] / 255
    mean = np.array([0.40789654, 0.44719302, 0.47026115], np.float32)
    std = np.array([0.28863828, 0.27408164, 0.27809835], np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy((canvas - mean) / std).permute(2, 0, 1)[None])[-1]
    found, _ = Predictor("weights.pth").maps(photo)
    assert found.keys() == wanted.keys()
    for name, maps in wanted.items():
        atol = 1e-4 * maps.std().item()
        torch.testing.assert_close(found[name], maps, rtol=1e-3, atol=atol)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("squeeze", [False, True])
def test_boxes_of_planted_maps_match(photo, monkeypatch, squeeze, mirror):
    """Soft suppression is applied to the boxes of a photo and its mirror image together."""
    published(CornerNet(3, squeeze=squeeze, width=32), "module.", [])
    # CornerNet-Lite, configs/CornerNet_Squeeze.json and configs/CornerNet.json: top_k, num_dets
    cells, most, kept = (16, 20, 100) if squeeze else (32, 100, 1000)
    passes = [planted_boxes(seed, (cells, cells), 3) for seed in range(1 + mirror)]
    rows = []
    for number, maps in enumerate(passes):
        maps = {name: values[0].double().numpy() for name, values in maps.items()}
        for corner in ("tl", "br"):
            maps[f"{corner}_heat"] = 1 / (1 + np.exp(-maps[f"{corner}_heat"]))
        boxes = slow_corners.decode(maps, most, 0.5, kept)
        quarter = boxes[:, :4] * 32 / cells  # as if at stride 4
        rows.append(np.c_[fitting.cornernet_boxes(quarter, (90, 121), 1, number), boxes[:, 4:]])
    rows = np.concatenate(rows)
    wanted = []
    for label in range(3):
        own = rows[rows[:, 5] == label]
        for n, score in slow_corners.soft_suppression(own, own[:, 4], "exp"):
            wanted.append([*own[n, :2], *(own[n, 2:4] - own[n, :2]), score, label])
    wanted = np.array(sorted(wanted, key=lambda row: -row[4]))
    answers = [[planted_boxes(9, (cells, cells), 3), maps] for maps in passes]  # of two stacks
    monkeypatch.setattr(CornerNet, "forward", replay(answers))
    record = predicted("--threshold", "0", *["--flip"] * mirror)
    found = [[*each["box"], each["score"], each["class_id"]] for each in record["instances"]]
    assert len(found) == len(wanted) >= 4 + 4 * mirror
    np.testing.assert_allclose(found, wanted, atol=0.011)
    np.testing.assert_allclose(np.array(found)[:, 4], wanted[:, 4], atol=1e-3)
