"""Every fitting by its one interface: inputs, the map to them, the base scale, tiles, joins."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from blocks import BlockNetwork
from spots import PIN, SpotNetwork
from tagwise.errors import UserError
from tagwise.prediction import tta
from tagwise.prediction.fitting import FitInside, Tiled
from tagwise.prediction.predictor import Predictor, choose_fitting
from tagwise.prediction.published_fittings import (
    FITTINGS,
    CornerNetFitting,
    HigherHRNetFitting,
    MMPose1Fitting,
    PoseAEFitting,
)
from tagwise.prediction.tta import Pass
from tagwise.tasks import PixelTask, PoseTask

ZOOMED = PixelTask(tag_dim=2, position=8.0, zoom=2.0)
HEADS = ZOOMED.heads()


def model(task, fitting=None, input_size=(96, 64), stride=2, multiple=32):
    decoder = {"fitting": fitting} if fitting else {}
    spec = SimpleNamespace(input_size=input_size, decoder=decoder)
    return SimpleNamespace(task=task, spec=spec, stride=stride, multiple=multiple)


@pytest.mark.parametrize(
    ("task", "name", "fitting", "size", "stride"),
    [
        (PoseTask(PIN), None, FitInside, (96, 64), 2),
        (ZOOMED, None, Tiled, (96, 64), 2),
        (PoseTask(PIN), "higherhrnet", HigherHRNetFitting, (96, 64), 1),
        (PoseTask(PIN), "mmpose1", MMPose1Fitting, (96, 64), 1),
        (PoseTask(PIN), "poseae", PoseAEFitting, (96, 64), 4),
        (BlockNetwork().task, "cornernet", CornerNetFitting, None, 2),
    ],
)
def test_fitting_of_a_model_is_determined_by_its_file_and_task(task, name, fitting, size, stride):
    chosen = choose_fitting(model(task, name), None, (1.0,))
    assert type(chosen) is fitting
    assert (chosen.size, chosen.scales, chosen.stride) == (size, (1.0,), stride)
    assert choose_fitting(model(task, name), (128, 128), (1.0,)).size == (128, 128)
    assert chosen.needs_fp32 == (name is not None)
    assert chosen.fuses_one_pass == (name == "cornernet")


def test_unknown_fitting_is_refused():
    with pytest.raises(UserError, match=r"unknown fitting 'higherhrnt'.*higherhrnet"):
        choose_fitting(model(PoseTask(PIN), "higherhrnt"), None, (1.0,))


EVERY = {
    "inside": FitInside((96, 64), (1.0, 0.5), 4, 32),
    "tiled": Tiled((96, 64), (1.0, 0.5), 2, 32, 2.0, HEADS),
    **{name: family(size=(96, 64), scales=(1.0, 0.5)) for name, family in FITTINGS.items()},
}


@pytest.mark.parametrize("size", [(80, 60), (60, 80), (33, 91)])
@pytest.mark.parametrize("name", EVERY)
def test_image_is_placed_as_its_map_states(name, size):
    """A bright square's centre in the input is the image of its centre in the photo."""
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = size[0] // 3, size[1] // 2
    photo[top : top + 12, left : left + 12] = 255
    for scale in (1.0, 0.5):
        array, affine = EVERY[name].fit(photo, scale)
        assert array.dtype == np.uint8
        assert array.shape[2] == 3
        weight = array[..., 0] * (array[..., 0] > 190.0)  # without the grey around it
        y, x = np.mgrid[: array.shape[0], : array.shape[1]]
        found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        wanted = affine.points(np.array([left + 5.5, top + 5.5]))
        # Published fittings are up to a pixel of the input off, and so are their decoders.
        np.testing.assert_allclose(found, wanted, atol=0.3 if name in ("inside", "tiled") else 1.0)


def test_portrait_image_swaps_the_sides_of_the_input():
    fitting = EVERY["inside"]
    assert fitting.fit(np.zeros((60, 90, 3), np.uint8), 1.0)[0].shape == (64, 96, 3)
    assert fitting.fit(np.zeros((90, 60, 3), np.uint8), 1.0)[0].shape == (96, 64, 3)
    assert fitting.fit(np.zeros((60, 90, 3), np.uint8), 0.5)[0].shape == (32, 64, 3)


def test_tiles_have_the_image_size_times_the_zoom():
    array, affine = EVERY["tiled"].fit(np.zeros((100, 50, 3), np.uint8), 1.0)
    assert array.shape == (224, 128, 3)
    assert affine.scale == pytest.approx(2.0)
    assert EVERY["tiled"].fit(np.zeros((100, 50, 3), np.uint8), 0.5)[1].scale == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("fitting", "scales", "base"),
    [
        (FitInside, (0.5, 1.1, 2.0), 1),
        (FitInside, (2.0, 0.5), 0),
        (HigherHRNetFitting, (0.5, 1.0, 2.0), 1),
        (MMPose1Fitting, (1.0, 2.0), 0),
        (PoseAEFitting, (0.5, 1.0, 2.0), 2),
        (CornerNetFitting, (0.5, 0.9, 2.0), 1),
    ],
)
def test_base_scale_is_the_scale_nearest_to_1(fitting, scales, base):
    more = {"stride": 4, "multiple": 32} if fitting is FitInside else {}
    assert fitting(size=(64, 64), scales=scales, **more).base == base


@pytest.mark.parametrize("name", ["higherhrnet", "mmpose1", "poseae"])
def test_scales_that_a_published_test_cannot_join_are_refused_immediately(name):
    network = SpotNetwork()
    network.spec.decoder["fitting"] = name
    assert Predictor(network, device="cpu", scales=(1.0, 0.5)).precision == "fp32"
    with pytest.raises(UserError, match="include it"):
        Predictor(network, device="cpu", scales=(0.5, 2.0))


def test_only_tiles_cut_the_input():
    sizes = []

    def network(images):
        sizes.append(tuple(images.shape[2:]))
        cells = images[:, :1, ::2, ::2].float()
        return {"foreground": cells, "seeds": cells, "tags": cells.expand(-1, 2, -1, -1)}

    images = torch.zeros(1, 3, 64, 160, dtype=torch.uint8)
    EVERY["inside"].run(network, images)
    assert sizes == [(64, 160)]
    sizes.clear()
    maps = EVERY["tiled"].run(network, images)
    assert sizes == [(64, 96), (64, 96)]
    assert maps["foreground"].shape == (1, 1, 32, 80)


def test_passes_are_joined_on_the_grid_of_the_base_scale():
    """The result of `tta.merge` after `tta.resample` to the grid of the scale nearest to 1."""
    task = PoseTask(PIN, heatmap_loss="focal")
    generator = torch.Generator().manual_seed(0)

    def maps(height, width):
        shape = (1, 2, height, width)
        return {name: torch.randn(shape, generator=generator) for name in ("heatmaps", "tags")}

    whole, half = maps(16, 24), maps(8, 16)
    fitting = FitInside((96, 64), (1.0, 0.5), 4, 32)
    passes = [Pass(whole, 1.0), Pass(half, 0.5)]
    found = fitting.join(passes, task, (96, 64))
    enlarged = {name: tta.resample(m, (16, 24), (0.5, 0.5)) for name, m in half.items()}
    scores = (whole["heatmaps"].sigmoid() + enlarged["heatmaps"].sigmoid()) / 2
    torch.testing.assert_close(found["heatmaps"].sigmoid(), scores)
    pairs = torch.stack([whole["tags"], enlarged["tags"]], 2).flatten(1, 2) / 2**0.5
    torch.testing.assert_close(found["tags"], pairs)
    alone = FitInside((96, 64), (1.0,), 4, 32).join([Pass(whole, 1.0)], task, (96, 64))
    assert all(alone[name] is whole[name] for name in whole)
