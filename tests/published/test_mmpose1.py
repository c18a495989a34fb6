"""A file of mmpose 1.x through `tagwise predict`, as a user runs it, is tested as mmpose tests it.

The maps of a photo come from the bare network and torch's own resizing; the people of planted
maps, from the decoder in plain loops.
"""

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from checkpoints import MEAN, STD, assert_people, predicted, published
from scenes.planted import mirrored, planted_people, replay
from slow import fitting, mmpose1
from tagwise.commands.convert import convert
from tagwise.grouping import GroupingSettings
from tagwise.models.hrnet import HRNetAE
from tagwise.prediction.predictor import Predictor
from tagwise.skeletons import COCO17

PHOTOS = [(121, 90), (90, 121), (101, 101)]


def photo(width, height):
    """RGB noise with a scale of about twelve pixels, also saved as photo.png."""
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


def both_passes(network, inputs, size, mirror):
    """Heatmaps (17, H, W) and tags (17, D, H, W) at a size (height, width), of one pass or two."""
    with torch.no_grad():
        passes = [network(inputs)[-1]]
        if mirror:
            passes.append(network(inputs.flip(3))[-1].flip(3))
    larger = []
    for part in (slice(17), slice(17, None)):
        maps = [one[:, part] for one in passes]
        maps = maps[:1] + [m[:, list(COCO17.flip)] for m in maps[1:]]
        large = [interpolate(m, size=size, mode="bilinear") for m in maps]
        larger.append(torch.stack(large, 2)[0].numpy())
    return larger[0].mean(1), larger[1]


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("size", PHOTOS)
def test_maps_of_a_photo_match(network, size, mirror):
    image = photo(*size)
    covered, sides = fitting.mmpose1_size(size, 64, 1)
    warped = cv2.warpAffine(image, fitting.mmpose1_matrix(size, covered, sides), sides) / 255
    inputs = torch.from_numpy(((warped - MEAN) / STD).astype(np.float32)).permute(2, 0, 1)[None]
    found, _ = Predictor("weights.pth", size=64, flip=mirror).maps(image)
    wanted = both_passes(network, inputs, sides[::-1], mirror)
    for name, maps in zip(("heatmaps", "tags"), wanted):
        assert maps.std() > 0.05  # the maps are not constant
        ours = found[name][0].numpy().reshape(maps.shape)
        np.testing.assert_allclose(ours, maps, atol=1e-4 * maps.std(), rtol=1e-4)


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("size", PHOTOS)
def test_people_of_planted_maps_match(network, monkeypatch, size, mirror):
    photo(*size)
    covered, sides = fitting.mmpose1_size(size, 64, 1)
    passes = [planted_people(sum(size), sides, 17, (4,))]
    if mirror:
        passes.append(mirrored(2, passes[0], COCO17.flip))
    maps = both_passes(replay(passes), torch.zeros(1, 3, 1, 1), sides[::-1], mirror)
    people, scores = mmpose1.decode(*maps, COCO17.order)
    assert len(people) == max(sides) // 32
    people[..., :2] = fitting.mmpose1_points(people[..., :2], size, covered, sides)
    monkeypatch.setattr(HRNetAE, "forward", replay(passes))
    record = predicted("--size", "64", "--threshold", "0", *["--flip"] * mirror)
    assert_people(record, people, scores)


def test_converted_file_gives_the_same_result(network):
    photo(121, 90)
    direct = predicted("--size", "64", "--threshold", "0", "--flip")
    predictor = Predictor(convert("weights.pth"), size=64, flip=True, threshold=0)
    assert predictor.task.grouping == GroupingSettings.preset("mmpose1", order=COCO17.order)
    found = predictor("photo.png").to_dict()["instances"]
    assert [each["keypoints"] for each in found] == [
        each["keypoints"] for each in direct["instances"]
    ]
