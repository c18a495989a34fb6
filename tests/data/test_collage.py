from dataclasses import replace

import numpy as np
import pytest
from discs import discs, without_map

from tagwise.data.augment import Augment
from tagwise.data.collage import blank, mosaic, paste, paste_patch
from tagwise.data.sample import Sample

FLIP = (0, 2, 1)
PLAIN = Augment.none()


def photo(value, width=40, height=40, labelled=(True, True, True)):
    """A photo of a single grey value with one instance at its centre."""
    middle = np.float32([width / 2, height / 2, 0])
    keypoints = middle + np.float32([[[0, -8, 2], [8, 8, 2], [-8, 8, 1]]])
    box = np.float32([[width / 2 - 8, height / 2 - 8, 16, 16]])
    return Sample(
        image=np.full((height, width, 3), value, np.uint8),
        keypoints=keypoints,
        boxes=box,
        areas=np.float32([256]),
        ignore=np.zeros((height, width), bool),
        labelled=np.array(labelled),
        image_id=value,
    )


def drawing(*samples):
    """A `draw` function that returns these samples cyclically."""
    number = -1

    def draw(rng):
        nonlocal number
        number += 1
        return samples[number % len(samples)]

    return draw


def test_paste_patch_covers_the_canvas():
    below, above = photo(10), photo(200, 20, 20)
    above.ignore[:, :5] = True
    below.ignore[:] = True
    both = paste_patch(below, above, 20, 20)
    assert (both.image[20:, 20:] == 200).all()
    assert (both.image[:20] == 10).all()
    assert both.ignore[20:, 20:25].all()
    assert not both.ignore[20:, 25:].any()
    assert both.ignore[:20].all()
    # The patch hides the canvas's keypoint at (28, 28), and its own keypoints are shifted.
    np.testing.assert_allclose(both.keypoints[0], [[20, 12, 2], [0, 0, 0], [12, 28, 1]])
    np.testing.assert_allclose(both.keypoints[1], [[30, 22, 2], [38, 38, 2], [22, 38, 1]])
    np.testing.assert_allclose(both.boxes[1], [22, 22, 16, 16])


def test_paste_patch_does_not_change_its_arguments():
    below, above = photo(10), photo(200, 20, 20)
    before = below.keypoints.copy()
    paste_patch(below, above, 10, 10)
    assert (below.image == 10).all()
    np.testing.assert_array_equal(below.keypoints, before)
    np.testing.assert_array_equal(above.keypoints, photo(200, 20, 20).keypoints)


def test_paste_patch_removes_completely_covered_instances():
    both = paste_patch(photo(10), photo(200, 40, 40), 0, 0)
    assert len(both.keypoints) == len(both.boxes) == len(both.areas) == 1
    assert (both.image == 200).all()


@pytest.mark.parametrize(
    ("left", "top", "kept"), [(-10, 0, 3), (30, 30, 0), (-60, 5, 0), (0, 25, 1)]
)
def test_paste_patch_clips_the_patch_to_the_canvas(left, top, kept):
    """Keypoints of the patch outside of the canvas are removed, and its box is clipped."""
    canvas = blank((40, 40), photo(10))
    both = paste_patch(canvas, photo(200), left, top)
    assert (both.keypoints[..., 2] > 0).sum() == kept
    assert both.image.shape == (40, 40, 3)
    for x, y, w, h in both.boxes:
        assert x >= 0
        assert y >= 0
        assert x + w <= 40
        assert y + h <= 40


def test_mosaic_contains_2_4_or_6_photos():
    sizes, counts = set(), set()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        made = mosaic(rng, drawing(*map(photo, range(20, 26))), (80, 60), PLAIN, FLIP)
        assert made.image.shape == (60, 80, 3)
        counts.add(len(made.keypoints))
        for instance in made.keypoints:  # all keypoints are on the same photo
            x, y = np.rint(instance[instance[:, 2] > 0, :2]).astype(int).T
            assert len(set(made.image[y, x, 0])) == 1
        sizes.add(tuple(np.unique(made.image)[:1]))
    assert counts == {2, 4, 6}


def test_mosaic_labels_only_types_that_all_its_photos_label():
    photos = photo(20), photo(30, labelled=(True, False, True))
    made = mosaic(np.random.default_rng(0), drawing(*photos), (80, 60), PLAIN, FLIP)
    assert made.labelled.tolist() == [True, False, True]


def test_mosaic_keeps_ignored_regions():
    crowd = photo(20)
    crowd.ignore[:] = True
    made = mosaic(np.random.default_rng(0), drawing(crowd, photo(30)), (80, 60), PLAIN, FLIP)
    values = made.image[..., 0]
    assert (made.ignore == (values == 20)).mean() > 0.98  # except where photo and fill blend
    assert made.ignore.any()


def test_paste_adds_instances_at_the_requested_size():
    augment = replace(PLAIN, paste_count=(2, 2), paste_size=(0.3, 0.3), zoom=99.0)
    sizes = []
    for seed in range(20):
        canvas = blank((100, 80), photo(10))
        made = paste(np.random.default_rng(seed), canvas, drawing(photo(200)), augment, FLIP)
        assert 1 <= len(made.keypoints) <= 2
        assert (made.image == 200).any()
        for instance in made.keypoints:
            has = instance[:, 2] > 0
            x, y = np.rint(instance[has, :2]).astype(int).T
            assert (made.image[y, x] == 200).all()
            if has.all():
                sizes.append(np.ptp(instance[:, 0]))
    np.testing.assert_allclose(sizes, 24, atol=1e-3)  # .3 of the shorter side


def test_paste_mirrors_and_swaps_sides():
    augment = replace(PLAIN, paste_count=(1, 1), paste_size=(0.2, 0.2), zoom=99.0, flip=1.0)
    made = paste(
        np.random.default_rng(4), blank((200, 200), photo(10)), drawing(photo(9)), augment, FLIP
    )
    nose, left, right = made.keypoints[0]
    assert right[0] < nose[0] < left[0]
    assert (left[2], right[2]) == (1, 2)


def test_paste_of_photos_without_instances_changes_nothing():
    empty = replace(photo(9), keypoints=np.zeros((0, 3, 3), np.float32), boxes=np.zeros((0, 4)))
    canvas = photo(10)
    assert paste(np.random.default_rng(0), canvas, drawing(empty), PLAIN, FLIP) is canvas


def flat(sample, value):
    """The sample with an image of a single value, which shows where it is pasted."""
    return replace(sample, image=np.full_like(sample.image, value))


def test_paste_patch_shrinks_covered_boxes():
    canvas = without_map(discs([(10, 10, 5), (30, 20, 8), (31, 40, 4)], 60, 50))
    patch = without_map(discs([(10, 10, 6), (19, 4, 2)], 22, 20))
    patch.classes[:] = 7
    both = paste_patch(canvas, patch, 20, 20)  # over parts of two instances
    np.testing.assert_allclose(
        both.boxes,
        [[5, 5, 11, 11], [22, 12, 17, 8], [27, 40, 9, 5], [24, 24, 13, 13], [37, 22, 5, 5]],
    )
    assert both.classes.tolist() == [0, 1, 2, 7, 7]
    assert not both.ignore.any()


def test_paste_patch_ignores_mostly_covered_boxes():
    canvas = without_map(discs([(30, 20, 8)], 60, 50))
    both = paste_patch(canvas, without_map(discs([], 60, 50)), 0, 15)
    assert len(both.boxes) == 0
    assert both.ignore[12:15, 22:39].all()
    assert both.ignore.sum() == 3 * 17


def test_paste_patch_appends_the_masks_of_the_patch():
    canvas = flat(discs([(10, 10, 5), (30, 20, 8)], 60, 50), 10)
    patch = flat(discs([(10, 10, 6), (1, 1, 1)], 22, 20), 200)
    both = paste_patch(canvas, patch, 48, 20)  # extends beyond the canvas, covers no disc
    assert np.unique(both.labels).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(both.labels[:, :48], canvas.labels[:, :48])
    np.testing.assert_array_equal(
        both.labels[20:40, 48:], np.where(patch.labels > 0, patch.labels + 2, 0)[:, :12]
    )
    np.testing.assert_array_equal(both.boxes[2], [52, 24, 8, 13])
    assert both.areas[2] == (patch.labels[:, :12] == 1).sum()
    covered = paste_patch(canvas, patch, -1, 3)
    assert len(covered.boxes) == 3  # the first is gone
    np.testing.assert_array_equal(covered.labels == 1, canvas.labels == 2)


def test_paste_patch_pastes_only_inside_the_outline():
    canvas = flat(discs([(30, 20, 8)], 60, 50), 10)
    patch = flat(discs([(10, 10, 6)], 22, 20), 200)
    patch.ignore[:] = True
    both = paste_patch(canvas, patch, 20, 10, patch.labels > 0)
    inner = np.zeros((50, 60), bool)
    inner[10:30, 20:42] = patch.labels > 0
    np.testing.assert_array_equal(both.image[..., 0] == 200, inner)
    np.testing.assert_array_equal(both.ignore, inner)
    np.testing.assert_array_equal(both.labels == 2, inner)
    np.testing.assert_array_equal(both.labels == 1, (canvas.labels == 1) & ~inner)


def test_paste_cuts_masks_out_along_their_outline():
    augment = replace(PLAIN, paste_count=(3, 3), paste_size=(0.2, 0.4), zoom=9.0, quarter=0.7)
    source = flat(discs([(20, 20, 8), (34, 22, 7), (50, 30, 10)]), 200)
    for seed in range(10):
        canvas = flat(discs([(40, 40, 20)], 80, 80), 10)
        made = paste(np.random.default_rng(seed), canvas, drawing(source), augment, ())
        new = made.labels > 1
        assert new.any()
        assert (made.image[new] == 200).mean() > 0.8  # outside of its photo there is fill
        assert (made.image[~new] == 10).all()
        assert len(made.boxes) == made.labels.max() <= 4


@pytest.mark.parametrize("made_of", [discs, lambda *args: without_map(discs(*args))])
def test_mosaics_keep_boxes_and_masks_on_their_instances(made_of):
    photos = [made_of([(20, 20, 8), (40, 30, 9)]), made_of([])]
    augment = replace(PLAIN, quarter=0.5, flip=0.5)
    for seed in range(10):
        made = mosaic(np.random.default_rng(seed), drawing(*photos), (90, 70), augment, ())
        assert made.image.shape == (70, 90, 3)
        assert len(made.boxes) == len(made.areas) == len(made.classes)
        assert set(made.classes.tolist()) <= {0, 1}
        for n, (x, y, w, h) in enumerate(np.rint(made.boxes).astype(int), 1):
            part = made.image[y : y + h, x : x + w, 0]
            assert (part > 10).mean() > 0.4  # discs are 20 and 40, the background is 0
            if made.labels is not None:
                assert (made.labels[y : y + h, x : x + w] == n).any(0).all()
