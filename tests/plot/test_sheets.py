"""Contact sheets of labelled samples."""

import numpy as np

from tagwise.data.sample import Sample
from tagwise.plot.sheets import contact_sheet, draw_numbers, draw_sample
from tagwise.skeletons import Skeleton

PIN = Skeleton("pin", ("top", "foot"), ((0, 1),))


def sample(**fields):
    values = {
        "image": np.full((60, 80, 3), 100, np.uint8),
        "keypoints": np.zeros((1, 0, 3), np.float32),
        "boxes": np.array([[20, 10, 30, 40]], np.float32),
        "areas": np.array([1200], np.float32),
        "ignore": np.zeros((60, 80), bool),
        "labelled": np.zeros(0, bool),
    }
    return Sample(**{**values, **fields})


def changed(image):
    return (image != 100).any(2)


def test_images_keep_their_place_and_shape():
    colours = [np.full((30, 60, 3), value, np.uint8) for value in (10, 90, 170)]
    sheet = contact_sheet(colours, columns=2, width=40)
    assert sheet.shape == (44, 84, 3)
    assert [sheet[10, 10, 0], sheet[10, 60, 0], sheet[34, 10, 0]] == [10, 90, 170]
    assert (sheet[34, 60] == 255).all()
    tall = contact_sheet([colours[0], np.full((60, 60, 3), 5, np.uint8)], width=40)
    assert tall.shape == (30, 84, 3)
    assert ((tall[:, 44:] == 5).all(2).sum(1) == 30).all()  # fitted into the cell


def test_samples_of_every_kind_are_drawn():
    keypoints = np.array([[[30, 15, 2], [30, 45, 1]]], np.float32)
    labels = np.zeros((60, 80), np.int32)
    labels[20:30, 40:60] = 1
    for each, skeleton, place in (
        (sample(keypoints=keypoints), PIN, (30, 30)),
        (sample(), None, (10, 35)),
        (sample(labels=labels), None, (25, 50)),
    ):
        drawn = changed(draw_sample(each, skeleton))
        assert drawn[place]
        assert not drawn[55, 70]
        assert not changed(each.image).any()
    ignore = np.zeros((60, 80), bool)
    ignore[50:] = True
    assert (draw_sample(sample(ignore=ignore))[55] == 50).all()


def test_numbers_are_beside_the_keypoints_of_the_fullest_instance():
    keypoints = np.array([[[5, 5, 2], [0, 0, 0]], [[30, 15, 2], [30, 45, 2]]], np.float32)
    picture = draw_numbers(sample(keypoints=keypoints), PIN, side=100)
    assert picture.shape == (100, 100, 3)
    # A vertical line of 70 % of the height through the middle.
    assert changed(picture)[20:80, 48:53].any(1).all()
    assert draw_numbers(sample(), None) is None
