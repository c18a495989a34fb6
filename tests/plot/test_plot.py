import io
import json

import numpy as np
import pytest
from PIL import Image

from spots import PIN, PINS, SpotNetwork, draw_pins
from tagwise import plot
from tagwise.commands.plot import plot as plot_command
from tagwise.errors import UserError
from tagwise.results import Poses

NAN = np.nan


def pins(keypoints, **fields):
    keypoints = np.array(keypoints, float)
    tags = np.arange(len(keypoints) * 4, dtype=float).reshape(-1, 2, 2)
    tags[keypoints[..., 2] == 0] = NAN
    return Poses(keypoints, np.linspace(0.9, 0.5, len(keypoints)), tags, PIN, **fields)


def near(pixel, colour):
    return np.abs(np.asarray(pixel, int) - colour).max() < 40


@pytest.mark.parametrize("shade", [0, 255])
def test_each_instance_is_drawn_in_its_colour_at_its_position(shade):
    image = np.full((200, 300, 3), shade, np.uint8)
    poses = pins([[[40, 30, 0.9], [40, 170, 0.9]], [[250, 30, 0.9], [250, 170, 0.9]]])
    drawn = plot.draw_poses(image, poses, width=5)
    for n, x in enumerate((40, 250)):
        assert near(drawn[100, x], plot.instance_colour(n))
    assert (drawn[100, 150] == shade).all()
    assert (image == shade).all()


def test_lines_have_a_dark_rim_on_a_bright_photo():
    image = np.full((200, 300, 3), 255, np.uint8)
    drawn = plot.draw_poses(image, pins([[[150, 20, 1], [150, 180, 1]]]), width=6)
    assert drawn[100].min(axis=-1).min() < 40


def test_best_instance_is_drawn_on_top():
    cross = pins([[[50, 10, 1], [50, 90, 1]], [[10, 50, 1], [90, 50, 1]]])
    drawn = plot.draw_poses(np.zeros((100, 100, 3), np.uint8), cross, width=5)
    assert near(drawn[50, 50], plot.instance_colour(0))


def test_missing_faint_and_distant_keypoints_are_not_drawn():
    image = np.zeros((50, 50, 3), np.uint8)
    poses = pins(
        [
            [[NAN, NAN, 0], [NAN, NAN, 0]],
            [[20, 20, 0.01], [30, 30, 0.01]],
            [[1e9, -1e12, 0.9], [2e9, 5, 0.9]],
        ]
    )
    assert not plot.draw_poses(image, poses).any()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 900, 3), (3000, 2000, 3)])
def test_any_image_size_can_be_drawn_on(shape):
    height, width = shape[:2]
    image = np.zeros(shape, np.uint8)
    poses = pins([[[0, 0, 1], [width - 1, height - 1, 1]]])
    drawn = plot.draw_poses(image, poses)
    assert drawn.shape == shape
    assert drawn.any()


def test_line_width_grows_with_the_image():
    def drawn_share(side):
        poses = pins([[[side / 2, side / 10, 1], [side / 2, side * 0.9, 1]]])
        return plot.draw_poses(np.zeros((side, side, 3), np.uint8), poses).any(axis=-1).mean()

    assert drawn_share(2000) == pytest.approx(drawn_share(500), rel=0.4)


def test_successive_colours_differ():
    palette = np.array(plot.PALETTE, int)
    step = np.abs(palette - np.roll(palette, 1, axis=0)).sum(axis=1)
    assert step.min() > 150
    assert plot.instance_colour(len(palette)) == plot.instance_colour(0)


def test_tag_plot_shows_only_the_tags_of_found_keypoints():
    poses = pins([[[1, 1, 0.9], [2, 2, 0.9]], [[3, 3, 0.5], [NAN, NAN, 0]]])
    figure = plot.plot_tags(poses)
    assert len(figure.axes) == 2  # one panel per component
    for d, axis in enumerate(figure.axes):
        shown = np.concatenate([points.get_offsets() for points in axis.collections])
        expected = [(poses.tags[n, k, d], k) for n, k in [(0, 0), (0, 1), (1, 0)]]
        assert sorted(map(tuple, shown)) == sorted(expected)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["top", "foot"]


def test_tag_plot_without_instances_has_axes():
    poses = Poses(np.empty((0, 2, 3)), [], None, PIN)
    assert plot.plot_tags(poses).axes


def test_push_plot_shows_both_published_forms():
    figure = plot.plot_push(sigma=2, margin=3)
    exp, hinge = (line for line in figure.axes[0].lines if line.get_label()[:3] in ("exp", "max"))
    d = exp.get_xdata()
    np.testing.assert_allclose(exp.get_ydata(), np.exp(-(d**2) / 8))
    np.testing.assert_allclose(hinge.get_ydata(), np.maximum(0, 3 - d))


def test_heatmaps_are_drawn_bright_at_their_peaks():
    heatmaps = np.zeros((2, 8, 8), np.float32)
    heatmaps[1, 2, 5] = 1
    cells_to_pixels = np.array([[4, 0, 1.5], [0, 4, 1.5]])
    drawn = plot.draw_heatmaps(np.zeros((32, 32, 3), np.uint8), heatmaps, cells_to_pixels)
    y, x = np.unravel_index(drawn.max(axis=-1).argmax(), (32, 32))
    assert abs(x - 21.5) <= 1
    assert abs(y - 9.5) <= 1
    assert not drawn[25:, :10].any()


def test_command_plots_a_saved_prediction(tmp_path):
    poses = pins([[[1, 1, 0.9], [20, 20, 0.9]]], width=40, height=30)
    source = tmp_path / "pin.predictions.json"
    source.write_text(json.dumps(poses.to_dict()))
    path = plot_command(source, out=tmp_path / "new" / "tags.png")
    assert Image.open(path).width > 200
    poses_path = plot_command(source, "instances", out=tmp_path / "poses.jpg")
    assert Image.open(poses_path).size == (40, 30)
    assert plot_command(what="push", out=tmp_path / "push.svg").read_bytes()[:5] == b"<?xml"


def test_command_draws_all_instances_of_a_file_without_threshold(tmp_path):
    poses = pins([[[5, 5, 0.9], [20, 20, 0.9]], [[30, 5, 0.9], [35, 25, 0.9]]], width=40, height=30)
    poses = Poses(poses.keypoints, [0.9, 0.1], poses.tags, PIN, width=40, height=30)
    source = tmp_path / "pins.predictions.json"
    source.write_text(json.dumps(poses.to_dict()))

    def drawn(name, **options):
        return plot_command(source, "instances", out=tmp_path / name, **options).read_bytes()

    assert drawn("default.png") == drawn("all.png", threshold=0) != drawn("one.png", threshold=0.5)
    with pytest.raises(UserError, match="threshold is"):
        drawn("none.png", threshold=1.5)


def test_command_errors_name_the_missing_input(tmp_path):
    source = tmp_path / "pin.predictions.json"
    source.write_text(json.dumps(pins(np.empty((0, 2, 3))).to_dict()))
    for arguments, message in [
        ((None, "tags"), "needs a photo"),
        ((source, "maps"), "give the photo"),
    ]:
        with pytest.raises(UserError, match=message):
            plot_command(*arguments)
    with pytest.raises(UserError, match=r"use \.png"):
        plot_command(what="push", out=tmp_path / "push.docx")
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(UserError, match="not JSON of predicted poses"):
        plot_command(tmp_path / "no.json")


def test_command_draws_heatmaps_of_a_photo(tmp_path, monkeypatch):
    Image.fromarray(draw_pins(PINS)).save(tmp_path / "pins.png")
    network = SpotNetwork()
    monkeypatch.setattr("tagwise.models.load_model", lambda name, device, fuse: network.to(device))
    path = plot_command(tmp_path / "pins.png", "maps", out=tmp_path / "maps.png")
    drawn = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    (x, y), _, _ = PINS[0]
    assert drawn[int(y), int(x)].max() > 150


def test_corner_maps_show_heatmaps_and_tags(tmp_path):
    from tagwise.data.transforms import Affine

    rng = np.random.default_rng(0)
    heat = np.zeros((2, 8, 8), np.float32)
    heat[1, 2, 3] = 0.9
    maps = {"tl_heat": heat, "br_heat": heat, "tl_tag": rng.normal(size=(2, 8, 8))}
    maps["br_tag"] = np.full((2, 8, 8), 3.0)
    figure = plot.plot_corner_maps(np.zeros((32, 32, 3), np.uint8), maps, Affine.scaling(4))
    heat_picture = figure.axes[0].images[0].get_array()
    assert heat_picture[8:12, 12:16].max() > 60
    assert not heat_picture[20:].any()
    shown = figure.axes[3].images[1].get_array()
    assert shown.compressed().tolist() == [3.0] * shown.count()
    assert 9 <= shown.count() <= 25
