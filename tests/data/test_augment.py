from dataclasses import replace

import numpy as np
import pytest

from tagwise.data.augment import Augment, apply_view, random_colour, random_view
from tagwise.data.sample import Sample
from tagwise.data.transforms import Affine, fit_affine
from tagwise.errors import UserError

PLAIN = Augment.none()


@pytest.fixture
def sample():
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    return Sample(
        image=image,
        keypoints=np.float32([[[70, 40, 2], [78, 52, 2]]]),
        boxes=np.float32([[68, 38, 12, 16]]),
        areas=np.float32([192]),
        ignore=np.zeros((60, 100), bool),
        labelled=np.ones(2, bool),
    )


def views(sample, augment, count=200, size=(64, 64)):
    rng = np.random.default_rng(1)
    return [random_view(rng, sample, size, augment) for _ in range(count)]


def test_none_fits_the_image_and_keeps_its_colours(sample):
    affine = random_view(np.random.default_rng(0), sample, (64, 64), PLAIN)
    fitted = fit_affine((100, 60), (64, 64))[0].matrix
    np.testing.assert_allclose(affine.matrix[:, :2], fitted[:, :2])
    np.testing.assert_allclose(affine.matrix[:, 2], fitted[:, 2], atol=0.5)  # whole pixels there
    same = random_colour(np.random.default_rng(0), sample.image, PLAIN)
    np.testing.assert_array_equal(same, sample.image)


def test_scale_covers_its_range(sample):
    found = [a.scale / 0.64 for a in views(sample, replace(PLAIN, scale=(0.5, 2.0)))]
    assert 0.5 <= min(found) < 0.6
    assert 1.8 < max(found) <= 2.0 + 1e-9
    assert 0.8 < np.median(found) < 1.25  # halving is as likely as doubling


def test_cover_varies_from_fitting_to_filling(sample):
    found = [a.scale for a in views(sample, replace(PLAIN, cover=1.0))]
    assert 0.64 <= min(found) < 0.67
    assert 1.0 < max(found) <= 64 / 60 + 1e-9


def test_rotation_shift_and_flip_cover_their_ranges(sample):
    centre = np.array([49.5, 29.5])
    turned = views(sample, replace(PLAIN, rotate=20.0))
    angles = [np.degrees(np.arctan2(*a.matrix[::-1, 0])) for a in turned]
    assert 15 < max(angles) <= 20 + 1e-9
    assert -20 - 1e-9 <= min(angles) < -15
    np.testing.assert_allclose([a.points(centre) for a in turned], 31.5)
    moved = np.array([a.points(centre) for a in views(sample, replace(PLAIN, shift=0.25))])
    assert (np.abs(moved - 31.5) <= 16 + 1e-9).all()
    assert np.abs(moved - 31.5).max() > 12
    flips = [a.mirrored for a in views(sample, replace(PLAIN, flip=0.5))]
    assert 60 < sum(flips) < 140
    assert all(a.mirrored for a in views(sample, replace(PLAIN, flip=1.0), 9))


def test_quarter_turns_are_equally_likely(sample):
    found = [
        round(np.degrees(np.arctan2(*a.matrix[::-1, 0]))) % 360
        for a in views(sample, replace(PLAIN, quarter=0.75), 400)
    ]
    assert set(found) == {0, 90, 180, 270}
    assert all(70 < found.count(angle) < 130 for angle in set(found))
    assert views(sample, PLAIN, 3)[2].matrix.tolist() == views(sample, PLAIN, 3)[0].matrix.tolist()


def test_photo_rotated_by_90_degrees_fits_the_input(sample):
    for affine in views(sample, replace(PLAIN, quarter=1.0), 20, (64, 96)):
        w, h = affine.boxes(np.array([[0.0, 0, 100, 60]]))[0, 2:]
        assert w == pytest.approx(64) or h == pytest.approx(96)
        assert w <= 64 + 1e-6
        assert h <= 96 + 1e-6


def test_random_numbers_are_the_same_as_before_quarter_turns_existed(sample):
    """Without `quarter`, a seed gives the same view as in versions without that setting."""
    rng = np.random.default_rng(5)
    random_view(rng, sample, (64, 64), PLAIN)
    other = np.random.default_rng(5)
    for _ in range(3):  # cover, scale, angle
        other.uniform(0, 1)
    other.random()  # mirror
    other.random()  # focus
    assert rng.random() == other.random()


def test_ellipses_keep_rotated_boxes_tight(sample):
    affine = Affine.shift(40, 40) @ Affine.turn(45) @ Affine.shift(-74, -46)
    square = replace(sample, boxes=np.float32([[70, 42, 8, 8]]))
    loose = apply_view(square, affine, (80, 80), (0, 1), PLAIN)
    tight = apply_view(square, affine, (80, 80), (0, 1), replace(PLAIN, ellipses=True))
    np.testing.assert_allclose(loose.boxes[0, 2:], 8 * 2**0.5, rtol=1e-5)
    np.testing.assert_allclose(tight.boxes[0, 2:], 8, rtol=1e-5)


def test_focus_shows_an_instance_at_the_requested_size(sample):
    augment = replace(PLAIN, focus=1.0, focus_size=(0.5, 0.5), zoom=9.0, rotate=30.0)
    for affine in views(sample, augment, 50):
        assert affine.scale == pytest.approx(32 / 16)
        x, y = affine.points(np.array([73.5, 45.5]))  # the centre of the instance
        assert 19 <= x <= 45
        assert 19 <= y <= 45
    near = views(sample, replace(augment, zoom=1.5), 5)
    assert [a.scale for a in near] == pytest.approx([0.64 * 1.5] * 5)


def test_focus_without_instances_shows_the_whole_image(sample):
    empty = replace(sample, boxes=sample.boxes[:0], keypoints=sample.keypoints[:0])
    affine = views(empty, replace(PLAIN, focus=1.0), 1)[0]
    assert affine.scale == pytest.approx(0.64)


def test_grey_has_equal_channels(sample):
    augment = replace(PLAIN, grey=1.0, tint=0.3, brightness=0.3)
    image = random_colour(np.random.default_rng(0), sample.image, augment)
    assert np.ptp(image.astype(int), axis=2).max() <= 1


def test_saturation_and_hue_do_not_change_grey():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(10):
        augment = replace(PLAIN, saturation=0.5, hue=40.0)
        image = random_colour(np.random.default_rng(seed), grey, augment)
        assert np.abs(image.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation", "hue", "tint"])
def test_each_colour_setting_changes_the_image(sample, field):
    strength = 30.0 if field == "hue" else 0.5
    changed = random_colour(
        np.random.default_rng(3), sample.image, replace(PLAIN, **{field: strength})
    )
    assert changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - sample.image).mean() > 1


def test_blur_reduces_and_noise_adds_variation():
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (64, 64, 3), np.uint8)
    assert random_colour(rng, rough, replace(PLAIN, blur=1.0)).std() < rough.std()
    flat = np.full((64, 64, 3), 100, np.uint8)
    noisy = random_colour(rng, flat, replace(PLAIN, noise=1.0))
    assert 1 < noisy.std() < 15
    assert abs(noisy.mean() - 100) < 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"flip": 1.5}, r"flip is 1\.5; use a number from 0 to 1"),
        ({"quarter": -0.5}, r"quarter is -0\.5; use a number from 0 to 1"),
        ({"scale": (2.0, 1.0)}, "the smaller one first"),
        ({"scale": (0.0, 1.0)}, "use a number above 0"),
        ({"focus_size": (0.5,)}, "focus_size"),
        ({"rotate": -3.0}, r"rotate is -3\.0; use a number of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(fields, words):
    with pytest.raises(UserError, match=words):
        Augment(**fields)


def test_lists_from_a_recipe_become_tuples():
    assert Augment(scale=[0.5, 2.0]) == Augment(scale=(0.5, 2.0))
