from dataclasses import replace

import cv2
import numpy as np
import pytest
from discs import discs, without_map
from hypothesis import given, settings
from hypothesis import strategies as st

from tagwise.data.sample import Sample
from tagwise.data.transforms import FILL, Affine, fit_affine, warp_sample

FLIP = (0, 2, 1)


@st.composite
def affines(draw, least=0.3, most=3.0):
    angle = draw(st.floats(-180, 180))
    scale = draw(st.floats(least, most))
    mirror = Affine.mirror(1.0) if draw(st.booleans()) else Affine.identity()
    x, y = draw(st.floats(-50, 50)), draw(st.floats(-50, 50))
    return Affine.shift(x, y) @ Affine.turn(angle, scale) @ mirror


def sample(width=60, height=40, keypoints=None):
    image = np.full((height, width, 3), 30, np.uint8)
    if keypoints is None:
        keypoints = [[[30, 10, 2], [40, 30, 2], [20, 30, 1]]]
    keypoints = np.array(keypoints, np.float32)
    count = len(keypoints)
    return Sample(
        image=image,
        keypoints=keypoints,
        boxes=np.tile(np.float32([20, 10, 20, 20]), (count, 1)),
        areas=np.full(count, 400, np.float32),
        ignore=np.zeros((height, width), bool),
        labelled=np.array([True, True, False]),
    )


@given(affines())
def test_inverse_restores_points(affine):
    points = np.random.default_rng(0).uniform(-100, 100, (20, 2))
    np.testing.assert_allclose(affine.inverse().points(affine.points(points)), points, atol=1e-8)


@given(affines(), affines())
def test_product_applies_the_second_map_after_the_first(first, second):
    points = np.random.default_rng(0).uniform(-100, 100, (20, 2))
    both = (second @ first).points(points)
    np.testing.assert_allclose(both, second.points(first.points(points)), atol=1e-8)
    assert (second @ first).scale == pytest.approx(second.scale * first.scale)
    assert (second @ first).mirrored == (second.mirrored != first.mirrored)


@given(affines())
def test_moved_boxes_contain_their_moved_points(affine):
    box = np.array([[3.0, 5.0, 40.0, 20.0]])
    inner = np.random.default_rng(0).uniform([3, 5], [43, 25], (50, 2)) - 0.5
    x, y, w, h = affine.boxes(box)[0]
    moved = affine.points(inner) + 0.5
    assert (moved >= [x - 1e-6, y - 1e-6]).all()
    assert (moved <= [x + w + 1e-6, y + h + 1e-6]).all()


def test_scaling_keeps_the_edges_of_the_image():
    twice = Affine.scaling(2.0)
    # the left edge of pixel 0 is at -.5, the right edge of pixel 9 at 9.5
    np.testing.assert_allclose(twice.points(np.array([[-0.5, 9.5]])), [[-0.5, 19.5]])
    np.testing.assert_allclose(twice.boxes(np.array([[0.0, 0, 10, 10]])), [[0, 0, 20, 20]])


def test_mirror_swaps_first_and_last_pixel():
    image = np.arange(5, dtype=np.uint8).repeat(3).reshape(1, 5, 3) * 50
    np.testing.assert_array_equal(Affine.mirror(5).image(image, (5, 1)), image[:, ::-1])


@settings(max_examples=60, deadline=None)
@given(
    angle=st.floats(-180, 180),
    scale=st.floats(0.15, 3.0),
    mirror=st.booleans(),
    x=st.integers(40, 160),
    y=st.integers(40, 120),
)
def test_points_follow_the_image(angle, scale, mirror, x, y):
    """The centre of mass of a blob in the warped image is at the moved point, at any scale."""
    image = np.zeros((160, 200, 3), np.uint8)
    yy, xx = np.mgrid[:160, :200]
    blob = 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 36.0))
    image[:] = np.rint(blob)[..., None].astype(np.uint8)
    flipped = Affine.mirror(1.0) if mirror else Affine.identity()
    centre = Affine.turn(angle, scale) @ flipped @ Affine.shift(-x, -y)
    affine = Affine.shift(100.3, 99.6) @ centre
    warped = affine.image(image, (200, 200), fill=0)[..., 1].astype(float)
    gy, gx = np.mgrid[:200, :200]
    found = np.array([(warped * gx).sum(), (warped * gy).sum()]) / warped.sum()
    np.testing.assert_allclose(found, affine.points(np.array([x, y], float)), atol=0.15)


@pytest.mark.parametrize("scale", [0.1, 0.26, 0.45])
def test_shrinking_averages_instead_of_skipping(scale):
    """Fine stripes become uniform grey; plain bilinear sampling would give a moiré pattern."""
    image = np.zeros((300, 300, 3), np.uint8)
    image[:, ::2] = 255
    side = int(300 * scale) - 2
    small = Affine.scaling(scale).image(image, (side, side))[2:-2, 2:-2]
    assert small.std() < 30
    assert abs(small.mean() - 127.5) < 3


@pytest.mark.parametrize(
    ("factor", "columns", "rows"), [(4, 9, 7), (8, 6, 5), (5, 8, 3), (12, 7, 4)]
)
def test_shrinking_by_a_whole_factor_gives_the_means_of_blocks(factor, columns, rows):
    rng = np.random.default_rng(factor)
    image = rng.integers(0, 256, (rows * factor, columns * factor, 3), np.uint8)
    small = Affine.scaling(1 / factor).image(image, (columns, rows)).astype(float)
    means = image.reshape(rows, factor, columns, factor, 3).mean((1, 3))
    assert np.abs(small - means).max() <= 2  # each halving rounds to whole grey levels


@pytest.mark.parametrize("scale", [0.55, 0.8, 1.0, 1.7])
@pytest.mark.parametrize("corner", [(0, 0), (11, 5), (3.3, 5), (-4, 2)])
@pytest.mark.parametrize("canvas", [(130, 110), (60, 40)])
def test_images_are_placed_as_by_a_plain_warp(scale, corner, canvas):
    """Whole corners inside the canvas take another way than the rest; edges are blended there."""
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 256, (9, 11, 3), np.uint8), (60, 47))
    affine = Affine.shift(*corner) @ Affine.scaling(scale)
    placed = affine.image(image, canvas).astype(int)
    plain = cv2.warpAffine(image, affine.matrix, canvas, borderValue=(FILL,) * 3)
    covered = cv2.warpAffine(np.full((47, 60), 255, np.uint8), affine.matrix, canvas)
    assert placed.shape == plain.shape
    assert np.abs(placed - plain)[covered == 255].max() <= 3  # plain: steps of 1 / 32 pixel
    assert (placed[covered == 0] == FILL).all()


def test_area_outside_of_the_image_is_filled():
    image = np.zeros((10, 10, 3), np.uint8)
    warped = Affine.shift(5, 0).image(image, (20, 10))
    assert (warped[:, :5] == FILL).all()
    assert (warped[:, 15:] == FILL).all()
    assert (warped[:, 5:15] == 0).all()


def test_mask_moves_with_the_image():
    mask = np.zeros((10, 10), bool)
    mask[2:4, 5:8] = True
    moved = Affine.shift(3, 1).mask(mask, (16, 12))
    assert moved.dtype == bool
    assert moved[3:5, 8:11].all()
    assert moved.sum() == 6
    assert Affine.shift(3, 1).mask(mask, (16, 12), outside=True).sum() == 16 * 12 - 100 + 6
    assert not Affine.identity().mask(np.zeros((4, 4), bool), (9, 9)).any()


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.tuples(st.integers(32, 800), st.integers(32, 800)),
)
def test_fit_fills_one_side_and_centres_the_other(size, input_size):
    affine, out = fit_affine(size, input_size)
    assert out == input_size
    x, y, w, h = affine.boxes(np.array([[0.0, 0.0, *size]]))[0]
    assert w == pytest.approx(input_size[0]) or h == pytest.approx(input_size[1])
    assert w <= input_size[0] + 1e-6
    assert h <= input_size[1] + 1e-6
    for place, side, whole in ((x, w, input_size[0]), (y, h, input_size[1])):
        assert place == pytest.approx(round(place), abs=1e-6)
        assert place == pytest.approx((whole - side) / 2, abs=0.5 + 1e-5)


@given(st.tuples(st.integers(1, 3000), st.integers(1, 3000)))
def test_fit_pads_to_the_next_multiple(size):
    affine, out = fit_affine(size, (512, 512), multiple=32)
    _, _, w, h = affine.boxes(np.array([[0.0, 0.0, *size]]))[0]
    assert all(side % 32 == 0 for side in out)
    assert out[0] - 32 < w + 1e-3
    assert w <= out[0] + 1e-3
    assert out[1] - 32 < h + 1e-3
    assert h <= out[1] + 1e-3


def test_fit_of_an_image_of_the_input_size_changes_nothing():
    affine, out = fit_affine((384, 288), (384, 288), multiple=32)
    np.testing.assert_allclose(affine.matrix, np.eye(2, 3), atol=1e-12)
    assert out == (384, 288)


def test_mirror_swaps_left_and_right_types():
    moved = warp_sample(sample(), Affine.mirror(60), (60, 40), FLIP)
    np.testing.assert_allclose(moved.keypoints[0], [[29, 10, 2], [39, 30, 1], [19, 30, 2]])
    np.testing.assert_array_equal(moved.labelled, [True, False, True])


def test_mirroring_twice_changes_nothing():
    whole, mirror = sample(), Affine.mirror(60)
    whole.image[:] = np.random.default_rng(0).integers(0, 256, whole.image.shape)
    whole.ignore[5:9, 3:20] = True
    twice = warp_sample(warp_sample(whole, mirror, (60, 40), FLIP), mirror, (60, 40), FLIP)
    for field in ("image", "keypoints", "boxes", "areas", "ignore", "labelled"):
        np.testing.assert_array_equal(getattr(twice, field), getattr(whole, field))


def test_warping_does_not_change_the_source():
    whole = sample()
    before = whole.keypoints.copy()
    moved = warp_sample(whole, Affine.shift(7, 0), (60, 40), FLIP)
    moved.labelled[:] = False
    np.testing.assert_array_equal(whole.keypoints, before)
    assert whole.labelled.tolist() == [True, True, False]


def test_areas_scale_with_the_square_of_lengths():
    moved = warp_sample(sample(), Affine.scaling(0.5), (30, 20), FLIP)
    np.testing.assert_allclose(moved.areas, [100])
    np.testing.assert_allclose(moved.boxes, [[10, 5, 10, 10]])


def test_keypoints_and_instances_outside_are_removed():
    two = sample(
        keypoints=[[[30, 10, 2], [40, 30, 2], [0, 0, 0]], [[5, 5, 2], [0, 0, 0], [2, 9, 1]]]
    )
    moved = warp_sample(two, Affine.shift(-12, 0), (25, 40), FLIP)
    np.testing.assert_allclose(moved.keypoints, [[[18, 10, 2], [0, 0, 0], [0, 0, 0]]])
    assert len(moved.boxes) == len(moved.areas) == 1


def test_samples_without_instances_can_be_warped():
    empty = sample(keypoints=np.zeros((0, 3, 3)))
    moved = warp_sample(empty, Affine.mirror(60), (32, 32), FLIP)
    assert moved.keypoints.shape == (0, 3, 3)
    assert moved.image.shape == (32, 32, 3)


def test_area_outside_is_ignored_only_on_request():
    assert not warp_sample(sample(), Affine.shift(9, 0), (80, 40), FLIP).ignore.any()
    moved = warp_sample(sample(), Affine.shift(9, 0), (80, 40), FLIP, ignore_outside=True)
    assert moved.ignore[:, :9].all()
    assert not moved.ignore[:, 9:69].any()


def test_images_wider_than_opencv_can_warp_are_shrunk():
    wide = np.full((4, 40000, 3), 9, np.uint8)
    affine, out = fit_affine((40000, 4), (512, 512), multiple=32)
    assert affine.image(wide, out, fill=9).shape == (32, 512, 3)
    assert cv2.mean(affine.image(wide, out, fill=9))[0] == pytest.approx(9)


CELLS = ((20, 20, 8), (34, 22, 7), (50, 30, 10), (8, 40, 5), (60, 6, 6))


def same_instances(first, second):
    for field in ("boxes", "areas", "classes", "labels"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))


def test_two_mirrors_and_four_quarter_turns_restore_the_labels():
    cells = discs(CELLS)
    mirror = Affine.mirror(64)
    once = warp_sample(cells, mirror, (64, 48), ())
    np.testing.assert_array_equal(once.labels, cells.labels[:, ::-1])
    same_instances(warp_sample(once, mirror, (64, 48), ()), cells)
    turned, boxed = cells, without_map(cells)
    for size in ((48, 64), (64, 48)) * 2:
        quarter = Affine.shift(size[0] - 1, 0) @ Affine.turn(90)
        turned = warp_sample(turned, quarter, size, ())
        boxed = warp_sample(boxed, quarter, size, ())
        np.testing.assert_allclose(boxed.boxes, turned.boxes, atol=1e-4)
    same_instances(turned, cells)
    np.testing.assert_array_equal(turned.image, cells.image)
    np.testing.assert_allclose(boxed.areas, cells.areas, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(affines(least=0.6, most=2.5))
def test_ellipse_boxes_of_discs_agree_with_their_pixels(affine):
    """The box around the inscribed ellipse is as tight as the box around the warped pixels."""
    centre = Affine.shift(100, 100) @ affine @ Affine.shift(-24, -24)
    cells = discs([(24, 24, 15.4)], 49, 49)
    by_pixels = warp_sample(cells, centre, (300, 300), ())
    by_ellipse = warp_sample(without_map(cells), centre, (300, 300), (), ellipses=True)
    by_box = warp_sample(without_map(cells), centre, (300, 300), ())
    reach = affine.scale / 2 + 1.5  # a disc of pixels is not exactly round
    np.testing.assert_allclose(edges(by_ellipse), edges(by_pixels), atol=reach)
    assert (edges(by_box)[0, :2] <= edges(by_pixels)[0, :2] + reach).all()
    assert (edges(by_box)[0, 2:] >= edges(by_pixels)[0, 2:] - reach).all()


def edges(sample):
    return np.concatenate([sample.boxes[:, :2], sample.boxes[:, :2] + sample.boxes[:, 2:]], 1)


@given(affines(), st.permutations(range(5)))
@settings(max_examples=40, deadline=None)
def test_order_of_instances_does_not_change_the_result(affine, order):
    boxes = without_map(discs(CELLS))
    other = replace(boxes, **{f: getattr(boxes, f)[order] for f in ("boxes", "areas", "classes")})
    other.classes = order = np.array(order)  # identifies the instances
    boxes.classes = np.arange(5)
    plain, shuffled = (warp_sample(s, affine, (64, 64), ()) for s in (boxes, other))
    back = np.argsort(shuffled.classes)
    np.testing.assert_array_equal(shuffled.classes[back], plain.classes)
    np.testing.assert_array_equal(shuffled.boxes[back], plain.boxes)
    np.testing.assert_array_equal(shuffled.areas[back], plain.areas)
    np.testing.assert_array_equal(shuffled.ignore, plain.ignore)


def test_boxes_partly_outside_are_clipped_removed_or_ignored():
    whole = without_map(discs([(15, 15, 9), (30, 15, 4), (60, 4, 3)]))
    moved = warp_sample(whole, Affine.shift(-15, 0), (40, 40), ())
    np.testing.assert_allclose(moved.boxes, [[0, 6, 10, 19], [11, 11, 9, 9]])
    np.testing.assert_allclose(moved.areas, whole.areas[:2] * [10 / 19, 1], rtol=1e-5)
    assert not moved.ignore.any()
    less = warp_sample(whole, Affine.shift(-20, 0), (36, 40), ())
    np.testing.assert_allclose(less.boxes, [[6, 11, 9, 9]])
    assert less.ignore[6:25, :5].all()
    assert less.ignore.sum() == 19 * 5


def test_label_maps_scale_with_the_image():
    cells = discs(CELLS)
    for scale in (0.5, 2.0):
        size = (int(64 * scale), int(48 * scale))
        moved = warp_sample(cells, Affine.scaling(scale), size, ())
        assert moved.labels.shape == size[::-1]
        np.testing.assert_allclose(moved.areas, cells.areas * scale**2, rtol=0.25)
        np.testing.assert_allclose(moved.boxes, cells.boxes * scale, atol=1.5)
