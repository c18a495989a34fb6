"""The arguments of the predict command."""

import numpy as np
import pytest
from PIL import Image

from spots import PINS, SpotNetwork, by_place, draw_pins, pin_points
from tagwise.commands.predict import predict
from tagwise.errors import UserError
from tagwise.models.spec import ModelSpec


@pytest.fixture
def network():
    return SpotNetwork()


@pytest.fixture
def folder(tmp_path):
    """Two photos; the second is a pixel wider."""
    (tmp_path / "photos").mkdir()
    for number in range(2):
        image = draw_pins(PINS, (128 + number, 128))
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_without_out_nothing_is_written(folder, network, tmp_path):
    found = list(predict(folder, network, device="cpu"))
    assert [poses.width for poses in found] == [128, 129]
    np.testing.assert_allclose(by_place(found[0].keypoints)[..., :2], pin_points(), atol=0.3)
    assert list(tmp_path.iterdir()) == [folder]


def test_default_threshold_is_that_of_the_model(folder, network):
    """Scores of drawn pins are near 1: a model may set a higher threshold, a caller a lower one."""
    photo = folder / "0.png"
    faint = np.asarray(Image.open(photo)) // 3
    assert len(next(predict(photo, network, device="cpu"))) == 2
    assert len(next(predict(faint, network, device="cpu", threshold=0.5))) == 0
    assert len(next(predict(faint, network, device="cpu", threshold=0.1))) == 2
    spec = network.spec
    network.spec = ModelSpec(
        spec.name, {}, "pose", spec.task_options, spec.input_size, decoder={"threshold": 0.5}
    )
    assert len(next(predict(faint, network, device="cpu"))) == 0


def test_arrays_and_pillow_images_are_sources(network, tmp_path):
    image = draw_pins(PINS)
    photos = (photo for photo in [image, Image.fromarray(image)])
    done = predict(photos, network, device="cpu", out=tmp_path)
    assert done.finish().startswith("2 photos, 4 instances")
    assert (tmp_path / "image-000001.predictions.json").exists()


@pytest.mark.parametrize("options", [{"resume": True}, {"coco": "val.json"}])
def test_options_that_need_a_folder_are_refused_without_out(network, options):
    with pytest.raises(UserError, match="give out"):
        predict(draw_pins(PINS), network, device="cpu", **options)
