import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from spots import PIN, PINS, SpotNetwork, draw_pins
from tagwise import losses, plot
from tagwise.commands.plot import plot as plot_command
from tagwise.commands.plot import split_words
from tagwise.errors import UserError
from tagwise.plot.style import axis_colour, contrast
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


@pytest.mark.parametrize(("form", "options"), [("exp", {"sigma": 2}), ("hinge", {"margin": 3})])
def test_push_plot_shows_the_loss_of_two_instances_and_its_gradient(form, options):
    figure = plot.plot_push(sigma=2, margin=3)
    number = ("exp", "hinge").index(form)
    value, slope = (axis.lines[number] for axis in figure.axes)
    for n in range(1, 800, 57):
        tags = torch.tensor([[0.0], [value.get_xdata()[n]]], requires_grad=True)
        groups = torch.tensor([0, 1])
        one = torch.zeros(2, dtype=torch.long)
        loss = losses.pull_push(tags.double(), groups, one, push=form, pairs="distinct", **options)
        loss.push.backward()
        assert value.get_ydata()[n] == pytest.approx(loss.push.item(), abs=1e-6)
        if abs(abs(value.get_xdata()[n]) - 3) > 0.05:
            assert slope.get_ydata()[n] == pytest.approx(tags.grad[1, 0].item(), abs=1e-5)


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

    assert drawn("default.png") == drawn("all.png", conf=0) != drawn("one.png", conf=0.5)
    with pytest.raises(UserError, match="threshold is"):
        drawn("none.png", conf=1.5)


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


def a_log(folder, rows=None, end=""):
    folder.mkdir(exist_ok=True)
    rows = rows or [
        {"step": 10, "total": 2.0, "pull": 0.5, "push": 0.0, "lr": 0.1, "gradient": 5.0},
        {"step": 10, "val_AP": 0.25, "val_APM": -1.0, "val_AP/nose": 0.1},
        {"step": 20, "total": 1.0, "pull": 0.25, "push": 0.1, "lr": 0.05, "gradient": 4.0},
    ]
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + end)
    return path


def test_curves_show_terms_validations_and_the_learning_rate(tmp_path):
    rows = [json.loads(line) for line in a_log(tmp_path).read_text().splitlines()]
    terms, measured, rate = plot.plot_curves(rows).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in terms.lines}
    assert drawn.keys() == {"total", "pull", "push"}
    assert drawn["total"] == [[10, 2.0], [20, 1.0]]
    assert drawn["push"] == [[20, 0.1]]  # an axis of logarithms has no zero
    shown = {line.get_label(): line.get_ydata().tolist() for line in measured.lines}
    assert shown["AP"] == [25.0]
    assert np.isnan(shown["APM"]).all()
    assert rate.lines[0].get_ydata().tolist() == [0.1, 0.05]
    styles = [(line.get_color(), line.get_linestyle()) for line in terms.lines]
    assert len({colour for colour, _ in styles}) == len({style for _, style in styles}) == 3


def test_command_plots_the_curves_of_a_run(tmp_path, monkeypatch):
    path = a_log(tmp_path / "mice", end='{"step": 30, "tot')  # a row that is being written
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    assert plot_command(path, "curves") == plot_command(tmp_path / "mice", "curves")
    assert (tmp_path / "mice.curves.png").exists()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "end", "message"),
    [
        ([{"step": 1, "total": "low"}, {"step": 2}], "", "line 1 of .* not a row"),
        ([{"step": 1}], "", "no row with a step yet"),
        ([{"total": 1.0}], "[1]\n{}\n", "line 2 of"),
    ],
)
def test_damaged_logs_are_named(tmp_path, rows, end, message):
    with pytest.raises(UserError, match=message):
        plot_command(a_log(tmp_path, rows, end), "curves")
    with pytest.raises(UserError, match="no such log"):
        plot_command(tmp_path / "missing.jsonl", "curves")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("what", ["push", "curves", "tags", "instances"])
def test_figures_are_png_svg_and_pdf_and_the_same_each_time(tmp_path, what, suffix):
    poses = pins([[[1, 1, 0.9], [20, 20, 0.9]]], width=40, height=30)
    source = tmp_path / "pin.predictions.json"
    source.write_text(json.dumps(poses.to_dict()))
    source = a_log(tmp_path) if what == "curves" else source
    path = plot_command(source, what, out=tmp_path / f"a.{suffix}")
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(starts[suffix])


def test_dark_figures_have_a_dark_background_and_light_text(tmp_path):
    light, dark = (
        np.asarray(Image.open(plot_command(what="push", dark=d, out=tmp_path / f"{d}.png")))
        for d in (False, True)
    )
    assert light[0, 0, :3].min() > 240 > 40 > dark[0, 0, :3].max()
    assert dark[..., :3].max() > 200 > 60 > light[..., :3].min()


@pytest.mark.parametrize("dark", [False, True])
def test_colours_on_axes_contrast_with_the_background(dark):
    with plot.theme(dark):
        paper = (18 / 255, 21 / 255, 27 / 255) if dark else (1, 1, 1)
        for n in range(len(plot.PALETTE)):
            assert contrast(axis_colour(n), paper) >= 3


def test_instances_in_a_tag_plot_differ_without_colours():
    poses = pins([[[i, 1, 0.9], [i, 2, 0.9]] for i in range(6)])
    axis = plot.plot_tags(poses).axes[0]
    shapes = {tuple(points.get_paths()[0].vertices.ravel()) for points in axis.collections}
    assert len(shapes) == 6
    assert {text.get_text() for text in axis.texts} >= set("123456")


def test_many_tag_components_are_projected_and_the_labels_say_so():
    rng = np.random.default_rng(0)
    keypoints = np.ones((5, 2, 3))
    tags = rng.normal(size=(5, 1, 1)) * np.arange(8) + rng.normal(size=(5, 2, 8)) * 0.01
    tags[3, 1] = NAN
    keypoints[3, 1] = NAN, NAN, 0
    figure = plot.plot_tags(Poses(keypoints, np.full(5, 0.9), tags, PIN))
    assert len(figure.axes) == 2
    assert figure.axes[0].get_xlabel() == "tag, principal axis 1 of 8 (100%)"
    shown = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    assert len(shown) == 9
    spread = np.ptp(tags[[0, 1, 2, 4]].reshape(-1, 8), axis=0)
    assert np.ptp(shown[:, 0]) >= 0.9 * np.linalg.norm(spread)


@pytest.fixture
def pin_photo(tmp_path, monkeypatch):
    Image.fromarray(draw_pins(PINS)).save(tmp_path / "pins.png")
    network = SpotNetwork()
    monkeypatch.setattr("tagwise.models.load_model", lambda name, device, fuse: network.to(device))
    return tmp_path / "pins.png"


@pytest.mark.parametrize("what", ["keypoints", "tag_maps", "tags"])
def test_command_draws_what_the_network_finds(pin_photo, tmp_path, monkeypatch, what):
    drawn = []
    monkeypatch.setattr(
        "tagwise.commands.plot.write_picture", lambda figure, out: drawn.append(figure)
    )
    plot_command(pin_photo, what)
    (figure,) = drawn
    titles = [axis.get_title() for axis in figure.axes]
    if what == "keypoints":
        assert titles == [
            f"all {2 * len(PINS)} keypoints at once",
            f"grouped by their tags: {len(PINS)} poses",
        ]
    elif what == "tag_maps":
        assert {"top: heatmap", "foot: heatmap"} <= set(titles)
    else:
        assert figure.axes[0].images


def test_all_detections_are_drawn_at_their_places():
    found = SimpleNamespace(
        names=("top-left corner of a", "bottom-right corner of a", "nose"),
        types=np.array([0, 1, 2, 2]),
        xy=np.array([[20.0, 20.0], [80.0, 80.0], [50.0, 50.0], [10.0, 90.0]]),
        scores=np.array([0.9, 0.8, 0.7, 0.05]),
    )
    drawn = plot.draw_detections(np.zeros((100, 100, 3), np.uint8), found)
    assert near(drawn[50, 50], plot.instance_colour(2))
    assert not drawn[85:95, 5:15].any()
    # Each corner opens into its box.
    assert drawn[20, 23].any()
    assert not drawn[20, 16].any()
    assert drawn[80, 77].any()
    assert not drawn[80, 84].any()


@pytest.mark.parametrize(
    ("words", "what", "expected"),
    [
        ([], None, (None, "tags")),
        (["push"], None, (None, "push")),
        (["photo.jpg"], None, ("photo.jpg", "tags")),
        (["maps", "photo.jpg"], None, ("photo.jpg", "maps")),
        (["photo.jpg"], "maps", ("photo.jpg", "maps")),
        ([], "push", (None, "push")),
        (["tags"], "maps", ("tags", "maps")),  # a file of this name
    ],
)
def test_words_of_the_command_line_name_the_figure_and_the_file(words, what, expected):
    assert tuple(split_words(words, what).values()) == expected


def test_unknown_figures_are_answered_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="keypoints"):
        split_words(["keypoint", "photo.jpg"], None)
    with pytest.raises(UserError, match="one file"):
        split_words(["tags", str(tmp_path), "b.jpg"], None)
    with pytest.raises(UserError, match="tag_maps"):
        plot_command("photo.jpg", "tagmaps")


def test_figures_of_another_task_name_a_model(pin_photo):
    with pytest.raises(UserError, match="--weights blood"):
        plot_command(pin_photo, "corners")


def test_command_draws_heatmaps_of_a_photo(pin_photo, tmp_path):
    path = plot_command(pin_photo, "maps", out=tmp_path / "maps.png")
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
