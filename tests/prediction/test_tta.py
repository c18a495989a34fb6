import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.geometry import cell_to_pixel
from tagwise.prediction import tta
from tagwise.skeletons import COCO17, Skeleton
from tagwise.tasks import Head, PoseTask

FLIP = (0, 2, 1)
HEADS = {
    "heatmaps": Head(3, "heatmap"),
    "tags": Head(6, "tag", position=8.0),
    "offsets": Head(6, "offset"),
}


def random_maps(seed=0, size=(5, 7), batch=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(batch, head.channels, *size, generator=generator)
        for name, head in HEADS.items()
    }


def test_unmirror_equals_loops():
    outputs = random_maps()
    found = tta.unmirror(outputs, HEADS, FLIP)
    batch, _, height, width = outputs["tags"].shape
    for b in range(batch):
        for k in range(3):
            for y in range(height):
                for x in range(width):
                    at, mirrored = (b, k, y, x), (b, FLIP[k], y, width - 1 - x)
                    assert found["heatmaps"][at] == outputs["heatmaps"][mirrored]
                    for d in range(2):
                        here, there = (b, 2 * k + d, y, x), (b, 2 * FLIP[k] + d, y, width - 1 - x)
                        sign = -1 if d == 0 else 1
                        assert found["tags"][here] == outputs["tags"][there]
                        assert found["offsets"][here] == sign * outputs["offsets"][there]


def test_unmirror_twice_changes_nothing():
    outputs = random_maps()
    twice = tta.unmirror(tta.unmirror(outputs, HEADS, FLIP), HEADS, FLIP)
    for name, maps in outputs.items():
        assert torch.equal(twice[name], maps)


def test_unmirror_refuses_maps_that_do_not_fit_the_skeleton():
    with pytest.raises(ValueError, match="not a multiple of 4"):
        tta.unmirror(random_maps(), HEADS, (0, 1, 2, 3))


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 12), st.integers(2, 12), st.integers(2, 12), st.integers(2, 12),
    st.floats(0.4, 1.6),
)  # fmt: skip
def test_resample_keeps_linear_maps(height, width, new_height, new_width, scale):
    """A ramp over the image is the same ramp on any grid about the same centre."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    ramp = (3 * x[None] - 2 * y[:, None]).expand(1, 1, height, width)
    found = tta.resample(ramp, (new_height, new_width), (scale, scale))[0, 0]
    new_x = (torch.arange(new_width) - (new_width - 1) / 2) * scale
    new_y = (torch.arange(new_height) - (new_height - 1) / 2) * scale
    # Beyond the old centres of cells edges are repeated.
    new_x = new_x.clamp(-(width - 1) / 2, (width - 1) / 2)
    new_y = new_y.clamp(-(height - 1) / 2, (height - 1) / 2)
    torch.testing.assert_close(
        found, (3 * new_x[None] - 2 * new_y[:, None]).float(), atol=1e-4, rtol=1e-4
    )


def test_resample_to_the_same_grid_does_not_copy():
    maps = torch.randn(1, 2, 4, 4)
    assert tta.resample(maps, (4, 4), (1.0, 1.0)) is maps


def test_merge_averages_scores_and_stacks_tags():
    passes = [random_maps(seed) for seed in range(3)]
    merged = tta.merge(passes, HEADS, tag_norm="rms")
    scores = sum(p["heatmaps"].sigmoid() for p in passes) / 3
    torch.testing.assert_close(merged["heatmaps"].sigmoid(), scores)
    torch.testing.assert_close(merged["offsets"], sum(p["offsets"] for p in passes) / 3)
    tags = merged["tags"].view(2, 3, 3, 2, 5, 7)  # image, type, pass, component
    for number, maps in enumerate(passes):
        assert torch.equal(tags[:, :, number], maps["tags"].view(2, 3, 2, 5, 7))


@pytest.mark.parametrize("passes", [1, 2, 6])
@pytest.mark.parametrize("norm", ["l2", "rms"])
def test_tag_distance_does_not_depend_on_the_number_of_passes(passes, norm):
    """Passes that agree keep distances as they are; so a tag threshold need not change."""
    maps = random_maps()
    merged = tta.merge([maps] * passes, HEADS, tag_norm=norm)

    def distance(tags):
        pair = tags.view(2, 3, -1, 5, 7)[0, 0, :, 0, 0] - tags.view(2, 3, -1, 5, 7)[0, 0, :, 2, 3]
        return pair.norm() if norm == "l2" else pair.square().mean().sqrt()

    torch.testing.assert_close(distance(merged["tags"]), distance(maps["tags"]))


def test_single_pass_is_unchanged():
    maps = random_maps()
    assert tta.merge([maps], HEADS) is maps


@pytest.mark.parametrize("loss", ["mse", "mse_sigmoid", "focal"])
def test_passes_that_agree_decode_to_the_same_poses(loss):
    task = PoseTask(Skeleton("pin", ("top", "foot")), tag_dim=2, heatmap_loss=loss)
    values = torch.full((1, 2, 16, 16), 0.02)
    for k, (x, y) in enumerate([(3, 4), (9, 12)]):
        values[0, k, y, x] = 0.9
    outputs = {"heatmaps": task.heatmap_raw(values), "tags": torch.zeros(1, 4, 16, 16)}
    merged = tta.merge(
        [outputs] * 3, task.heads(), to_values=task.heatmap_values, to_raw=task.heatmap_raw
    )
    one, many = task.decode(outputs, 4)[0], task.decode(merged, 4)[0]
    assert len(one) == 1
    np.testing.assert_allclose(many.keypoints, one.keypoints, atol=1e-3)
    places = cell_to_pixel(np.array([[3, 4], [9, 12]]), 4)
    np.testing.assert_allclose(one.keypoints[0, :, :2], places, atol=1e-3)


def test_flipped_pass_finds_left_keypoints_on_the_left():
    """End to end on maps: those of the mirrored image, mirrored back, are those of the image."""
    K = len(COCO17.keypoints)
    heads = {"heatmaps": Head(K, "heatmap")}
    image = torch.rand(1, K, 6, 8)  # channel k stands for what makes type k light up

    def network(images, mirrored):
        # A real network calls the left hand of a mirrored person a right hand.
        return {"heatmaps": images[:, list(COCO17.flip)] if mirrored else images}

    mirrored = network(tta.mirror(image), mirrored=True)
    found = tta.unmirror(mirrored, heads, COCO17.flip)
    torch.testing.assert_close(found["heatmaps"], network(image, mirrored=False)["heatmaps"])
