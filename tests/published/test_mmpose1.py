"""A file of mmpose 1.x through `tagwise predict`, as a user runs it, is tested as mmpose tests it.

The answer comes from the bare network, torch's own resizing, and the decoder in plain loops.
"""

import cv2
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import interpolate

from checkpoints import MEAN, STD, predicted, published
from slow import fitting, mmpose1
from tagwise.commands.convert import convert
from tagwise.grouping import GroupingSettings
from tagwise.models.hrnet import HRNetAE
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import COCO17


def photo(width, height):
    """RGB noise of some twelve pixels' width, also in photo.png."""
    rough = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    image = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite("photo.png", image[..., ::-1])
    return image


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A narrow network, and its file under mmpose's names in weights.pth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mmpose1"))
        network = HRNetAE(16, 17)
        network = published(network, "", [network.final_layer])
        state = {
            ("head." if name.startswith("final_layer") else "backbone.") + name: value
            for name, value in network.state_dict().items()
        }
        torch.save({"meta": {"mmpose_version": "1.3.2"}, "state_dict": state}, "weights.pth")
        yield network


def in_one_line(cost, distance, threshold):
    """As `slow.poses.best_matching`, by scipy's solver."""
    near = np.minimum(distance, threshold)
    return list(zip(*linear_sum_assignment(cost + 1e-7 * np.sqrt(near))))


def both_passes(network, inputs, size, mirrored):
    """Heatmaps (17, H, W) and tags (17, D, H, W) at a size (height, width), of one pass or two."""
    with torch.no_grad():
        passes = [network(inputs)[-1]]
        if mirrored:
            passes.append(network(inputs.flip(3))[-1].flip(3))
    larger = []
    for part in (slice(17), slice(17, None)):
        maps = [one[:, part] for one in passes]
        maps = maps[:1] + [m[:, list(COCO17.flip)] for m in maps[1:]]
        large = [interpolate(m, size=size, mode="bilinear") for m in maps]
        larger.append(torch.stack(large, 2)[0].numpy())
    return larger[0].mean(1), larger[1]


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("size", [(121, 90), (90, 121), (101, 101)])
def test_hrnet(network, size, mirrored):
    """The same maps, and of them the same people: 30, the first ones, of noise that gives more.

    Maps were enlarged, so peaks at their edges come twice: either of two cells is an answer.
    """
    image = photo(*size)
    covered, sides = fitting.mmpose1_size(size, 64, 1)
    warped = cv2.warpAffine(image, fitting.mmpose1_matrix(size, covered, sides), sides) / 255
    inputs = torch.from_numpy(((warped - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    outputs, _ = Predictor("weights.pth", size=64, flip=mirrored).maps(image)
    expected = both_passes(network, inputs, sides[::-1], mirrored)
    maps = outputs["heatmaps"][0].numpy(), outputs["tags"][0].numpy().reshape(expected[1].shape)
    for found, wanted in zip(maps, expected):
        assert found == pytest.approx(wanted, abs=1e-5)
    people, scores = mmpose1.decode(*maps, COCO17.order, matching=in_one_line, digits=np.float64)
    people[..., :2] = fitting.mmpose1_points(people[..., :2], size, covered, sides)
    people[..., 2] = people[..., 2].clip(1e-4, 1)
    flip = ["--flip"] * mirrored
    record = predicted("--size", "64", "--threshold", "0", *flip)
    found = np.array([each["keypoints"] for each in record["instances"]])
    assert len(found) == len(people) > 20
    away = np.abs(found[:, None] - people[None])
    pixel = 1.02 * min(size) / 64
    near = (away <= (pixel, pixel, 1e-3)).all((2, 3))
    assert near.any(0).all()
    assert near.any(1).all()
    assert (away[near] <= (0.011, 0.011, 1e-3)).all(-1).mean() > 0.9
    wanted = sorted(scores.clip(0, 1), reverse=True)
    assert [each["score"] for each in record["instances"]] == pytest.approx(wanted, abs=1e-5)


def test_converted_it_says_the_same(network):
    photo(121, 90)
    direct = predicted("--size", "64", "--threshold", "0", "--flip")
    predictor = Predictor(convert("weights.pth"), size=64, flip=True, threshold=0)
    assert predictor.task.grouping == GroupingSettings.preset("mmpose1", order=COCO17.order)
    found = predictor("photo.png").to_dict()["instances"]
    assert [each["keypoints"] for each in found] == [
        each["keypoints"] for each in direct["instances"]
    ]
