"""The examples of other fields: their data sets, their scores, and short runs."""

import ast
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
FIELDS = ("points_3d", "text_lines", "cameras")


@pytest.fixture(scope="module", autouse=True)
def _needs_scikit_learn():
    pytest.importorskip("sklearn", reason="scikit-learn, of the extra examples, is not installed")


@pytest.mark.parametrize("name", FIELDS)
def test_examples_are_short_and_use_only_losses_and_grouping(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 120
    names = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    ours = {name for name in names if name.startswith("tagwise")}
    assert ours == {"tagwise.grouping", "tagwise.losses"}


def test_f1_counts_groups_above_the_iou():
    from field_data.report import f1

    truth = [[0, 0, 0, 0, 1, 1, -1], [0, 0, 1, 1, 2, 2, 2]]
    found = [[3, 3, 3, 0, 0, 0, -1], [1, 1, 0, 0, -1, 2, 2]]
    # Scene 1: IoU 3 / 4 and 2 / 3. Scene 2: 1, 1 and 2 / 3.
    assert f1(found, truth) == 1
    assert f1(found, truth, iou=0.7) == pytest.approx(2 * 3 / 10)
    assert f1(found, truth, iou=0.999) == pytest.approx(2 * 2 / 10)
    # Of at least 3 points: true 0 and found 3, 0 of scene 1; true 2 of scene 2. Found 2 is small.
    assert f1(found, truth, least=3) == pytest.approx(2 * 1 / (1 + 2 + 1))
    assert f1([[-1, -1]], [[-1, -1]]) == 0


def test_pair_f1_equals_counting_one_by_one():
    from field_data.report import pair_f1

    rng = np.random.default_rng(0)
    truth, found = rng.integers(-1, 4, (2, 3, 20))
    both = real = joined = 0
    for own, true in zip(found, truth):
        for i in range(20):
            for j in range(i):
                right, same = true[i] == true[j] >= 0, own[i] == own[j] >= 0
                both, real, joined = both + (right and same), real + right, joined + same
    assert pair_f1(found, truth) == pytest.approx(2 * both / (real + joined))
    assert pair_f1(truth, truth) == 1


def test_scans_of_rooms_are_of_visible_surfaces():
    from field_data import rooms

    xyz, owner = rooms.make_rooms(2, seed=5)
    again, _ = rooms.make_rooms(1, seed=5)
    assert torch.equal(again[0], xyz[0])
    assert xyz.shape == (2, rooms.POINTS, 3)
    assert xyz[owner < 0][:, 2].abs().max() < 0.03  # the floor, and 5 mm of noise
    assert xyz[..., 2].min() > -0.03
    assert xyz[..., :2].abs().max() < rooms.SIDE / 2 + 0.03
    assert all(len(own.unique()) > 4 for own in owner)
    wall = np.array([[1.0, y, z] for y in np.arange(-1, 1, 0.02) for z in np.arange(0, 1, 0.02)])
    behind = wall + np.array([0.5, 0, 0])
    visible = rooms.seen(np.concatenate([wall, behind]), np.array([-1.0, 0, 0.5]))
    assert visible[: len(wall)].all()
    assert visible[len(wall) :].mean() < 0.1


def test_furniture_touches_what_it_moves_to():
    from field_data import rooms
    from scipy.spatial import cKDTree

    one = rooms.cuboid(np.random.default_rng(0), (0, 0, 0.2), (0.4, 0.4, 0.4))
    two = rooms.cuboid(np.random.default_rng(1), (0, 0, 0.2), (0.4, 0.4, 0.4), round_axes=3)
    moved = rooms.moved([one], two, np.array([1, 0, 0]))
    assert 0 < cKDTree(one).query(moved)[0].min() < 0.06
    assert np.linalg.norm(two - [0, 0, 0.2], axis=1) == pytest.approx(0.2)


def test_points_of_rooms_are_tagged(tmp_path):
    import points_3d

    torch.manual_seed(0)
    rooms = points_3d.make_rooms(4, seed=0)
    first, trained = points_3d.train(rooms, 1), points_3d.train(rooms, 10)
    for network in (first, trained):
        assert points_3d.by_tag(network, rooms[0]).shape == rooms[1].shape
    room = torch.arange(4)[:, None].expand_as(rooms[1]).flatten()
    with torch.no_grad():
        before, after = (
            points_3d.tag_loss(net.train()(rooms[0])[1].flatten(0, 1), rooms[1].flatten(), room)
            for net in (first, trained)
        )
    assert after < 0.8 * before
    found = points_3d.by_place(points_3d.DBSCAN(eps=0.1), rooms)
    assert (found[rooms[1].numpy() < 0] == -1).all()
    points_3d.save_picture(rooms, {"DBSCAN": found}, tmp_path / "rooms.png")
    assert (tmp_path / "rooms.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def page():
    from field_data import pages

    image, glyph, names = pages.draw_page(np.random.default_rng([0, 3]))
    return image, glyph, names, pages.characters(image)


def test_characters_are_the_dark_parts_of_a_page(page):
    image, glyph, names, found = page
    assert image.dtype == np.uint8
    assert glyph.max() < len(names)
    assert (image[glyph >= 0] < 160).all()
    assert found.labels.max() == len(found.place) == len(found.patch)
    height = np.median(found.box.max(axis=1))
    assert height == pytest.approx(1)
    y, x = np.nonzero(found.labels == 1)
    scale = found.box[0, 0] / (x.max() - x.min() + 1)
    assert found.place[0] == pytest.approx(
        [(x.max() + x.min()) / 2 * scale, (y.max() + y.min()) / 2 * scale]
    )


def test_pages_are_the_same_on_every_machine():
    """Fonts of the system would change them."""
    from field_data import pages

    own = Path(matplotlib.get_data_path())
    assert len(pages.fonts()) >= 10
    assert all(own in Path(file).parents for file in pages.fonts())


def test_characters_get_the_colours_of_their_groups():
    """Some characters have no group, and some were drawn over."""
    from field_data import pages

    labels = np.array([[0, 1, 2]])
    few, many = (pages.in_colours(labels, np.array(group))[0] for group in ([3], [3, 3, 5, 5]))
    assert few[0].tolist() == few[2].tolist() == [255, 255, 255]
    assert few[1].tolist() == many[1].tolist() == many[2].tolist() != [255, 255, 255]


def test_pages_have_words_within_lines():
    from field_data import pages

    made = pages.make_pages(3, seed=2)
    assert made.patch.max() > 0.9
    for word, line in zip(made.word, made.line):
        real = word >= 0
        assert (line[~real] == -1).all()
        for number in word[real].unique():
            assert len(line[word == number].unique()) == 1
        assert len(line[real].unique()) >= 3


def test_small_gaps_connect_characters():
    from field_data import pages

    place = torch.tensor([[[0.0, 0], [1, 0], [3, 0], [0, 1.2], [9, 9]]])
    box = torch.full((1, 5, 2), 0.8)
    word = torch.tensor([[0, 0, 1, 2, -1]])
    made = pages.Pages(place, box, torch.zeros(1, 5, 256), word, word)
    assert pages.by_gap(made, 0.3, 1).tolist() == [[0, 0, 1, 2, -1]]
    assert pages.by_gap(made, 0.5, 1).tolist() == [[0, 0, 1, 0, -1]]
    assert pages.by_gap(made, 0.5, 2).tolist() == [[0, 0, 1, 2, -1]]
    assert pages.by_gap(made, 1.5, 2).tolist() == [[0, 0, 0, 0, -1]]


def test_words_are_learned_in_a_short_run(tmp_path):
    import text_lines
    from field_data import pages

    path = tmp_path / "scan.png"
    cv2.imwrite(str(path), pages.draw_page(np.random.default_rng(0))[0])
    rows = text_lines.main(steps=8, pages=10, tests=3, out=tmp_path / "pages.png", page=path)
    assert set(rows) == {"small gaps", "tags"}
    assert rows["tags"][1] > 0.4
    assert (tmp_path / "pages.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="not a readable image"):
        pages.scan(tmp_path / "none.png")


def test_epipolar_distance_is_zero_without_noise():
    from field_data import people

    rng = np.random.default_rng(0)
    cameras, bodies = people.ring(rng, 3), [people.body(rng) for _ in range(3)]
    poses, camera = [], []
    for n, (place, rotation) in enumerate(cameras):
        for xyz in bodies:
            inner = (xyz - place) @ rotation.T
            poses.append(inner[:, :2] / inner[:, 2:] * people.FOCAL + people.CENTRE)
            camera.append(n)
    poses = np.array(poses)
    poses[0, :5] = np.nan
    edge = people.epipolar(poses, np.array(camera), cameras)
    person = np.arange(9) % 3
    same = (person[:, None] == person) & ~np.eye(9, dtype=bool)
    assert edge[same] == pytest.approx(0, abs=1e-6)
    assert np.isinf(edge[:3, :3]).all()
    assert edge[np.isfinite(edge) & ~same].min() > 0.5


def test_matching_takes_one_detection_of_each_camera():
    import cameras

    scenes = cameras.make_scenes(8, seed=1)
    groups = cameras.by_matching(scenes, 20, 2)
    network = cameras.train(scenes, 1)
    for found in (groups, cameras.by_tag(network, scenes)):
        assert ((found >= 0) == (scenes.camera.numpy() >= 0)).all()
        for own, camera in zip(found, scenes.camera.numpy()):
            pairs = list(zip(own[own >= 0].tolist(), camera[own >= 0].tolist()))
            assert len(set(pairs)) == len(pairs)


def test_people_are_matched_in_a_short_run(tmp_path):
    import cameras

    rows = cameras.main(steps=60, scenes=80, tests=12, out=tmp_path / "people.png")
    assert rows["epipolar + looks"][0] > rows["epipolar"][0] > 0.4
    assert rows["tags"][1] > 0.45
    assert (tmp_path / "people.png").stat().st_size > 10_000


def test_limits_of_tags_are_those_of_the_page():
    import limits_of_tags as limits

    assert limits.crowded(60, None, steps=100) < 0.5 < limits.crowded(60, 0.1, steps=100)
    assert limits.chain_score(16, 4, steps=120) < 0.85 < limits.chain_score(4, 8, steps=120)
    assert limits.touching(64, 0, side=48, steps=100) < 0.5
    page = (EXAMPLES.parent / "docs" / "limits_of_tags.md").read_text()
    for name in limits.FIGURES:
        assert f"(images/limits_{name}.png)" in page
        assert (EXAMPLES.parent / "docs" / "images" / f"limits_{name}.png").is_file()
