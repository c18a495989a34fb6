"""Label maps from the tags of pixels: against known scenes, and invariants."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tagwise.data.transforms import Affine
from tagwise.grouping.pixels import PixelGrid, decode_pixels
from tagwise.grouping.settings import PixelSettings
from tagwise.metrics import label_map_counts

SHARP = PixelSettings(least_area=1)


def discs(seed, size=(60, 70), count=12, radius=(3, 9)):
    """A label map of discs that touch and overlap; each is connected."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.int32)
    for n in range(count):
        centre = [int(v) for v in rng.integers(0, size[::-1])]
        cv2.circle(labels, centre, int(rng.integers(*radius)), n + 1, cv2.FILLED)
    whole = np.zeros_like(labels)
    for n in np.unique(labels[labels > 0]):
        parts, found = ndimage.label(labels == n)
        for part in range(1, found + 1):
            whole[parts == part] = whole.max() + 1
    return whole


def maps_of(labels, tags, noise=0.0, seed=0):
    """Foreground (1, H, W) and tags (1, D, H, W) as a perfect network would give them."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.zeros((1, tags.shape[1])), tags])[labels]
    values += rng.uniform(-noise, noise, values.shape)
    values[labels == 0] = rng.normal(0, 9, tags.shape[1])  # tags outside have no effect
    foreground = torch.from_numpy(np.where(labels > 0, 0.9, 0.1)).float()[None]
    return foreground, torch.from_numpy(values).float().permute(2, 0, 1)[None]


def same(found, truth):
    """Whether two label maps are the same except for the numbering."""
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1)
    numbers = len(np.unique(truth))
    return pairs.shape[1] == numbers == len(np.unique(found)) and (0 in found) == (0 in truth)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
@example(1237432145, 1, False)  # a region of one pixel between two whose tags are 4 away
@settings(deadline=None, max_examples=40)
def test_instances_with_distinct_tags_are_found(seed, dims, seeded):
    truth = discs(seed)
    tags = np.random.default_rng(seed).permutation(int(truth.max()))[:, None] * 4.0
    tags = np.repeat(tags, dims, 1)
    foreground, values = maps_of(truth, tags, noise=0.3 / dims**0.5, seed=seed)
    seeds = torch.from_numpy(np.random.default_rng(seed).uniform(0.5, 1, truth.shape)).float()[None]
    (found,) = decode_pixels(foreground, values, seeds if seeded else None, SHARP)
    assert same(found.labels, truth)
    assert len(found.scores) == len(found.tags) == truth.max()


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 30))
@settings(deadline=None, max_examples=40)
def test_invariants_hold_for_any_maps(seed, dims, least):
    rng = np.random.default_rng(seed)
    foreground = torch.from_numpy(ndimage.gaussian_filter(rng.random((40, 50)), 2)).float()[None]
    tags = torch.from_numpy(ndimage.gaussian_filter(rng.normal(0, 9, (dims, 40, 50)), 2)).float()
    how = PixelSettings(least_area=least, bandwidth=0.5, join=0.3)
    (found,) = decode_pixels(foreground, tags[None], None, how)
    areas = np.bincount(found.labels.ravel(), minlength=len(found.scores) + 1)[1:]
    assert (areas >= least).all()
    assert found.labels.max(initial=0) == len(found.scores)
    assert (np.diff(found.scores) <= 0).all()
    for n in range(1, len(areas) + 1):
        assert ndimage.label(found.labels == n)[1] == 1  # connected
    outside = (found.labels > 0) & (foreground[0].numpy() <= 0.5)
    holes, _ = ndimage.label(foreground[0].numpy() <= 0.5)
    edge = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    assert not (outside & np.isin(holes, edge)).any()  # only holes are filled


def test_separate_regions_with_similar_tags_are_two_instances():
    labels = np.zeros((10, 30), np.int32)
    labels[2:8, 2:8], labels[2:8, 20:28] = 1, 2
    (found,) = decode_pixels(*maps_of(labels, np.zeros((2, 2))), None, SHARP)
    assert same(found.labels, labels)


def test_slivers_between_instances_go_to_the_nearer_one():
    labels = np.ones((12, 20), np.int32)
    labels[:, 10:] = 2
    foreground, tags = maps_of(labels, np.array([[0.0], [9.0]]))
    tags[0, 0, :, 10] = 4.4  # a tag interpolated across an edge belongs to neither
    (found,) = decode_pixels(foreground, tags, None, PixelSettings(least_area=20))
    assert len(found.scores) == 2
    np.testing.assert_array_equal(found.labels[:, 10], found.labels[:, 9])


def test_holes_of_one_instance_are_filled_and_no_others():
    labels = np.ones((20, 30), np.int32)
    labels[:, 15:] = 2
    labels[5:8, 5:8] = labels[5:8, 13:17] = labels[15:, 3:5] = 0  # inside, between, at the edge
    (found,) = decode_pixels(*maps_of(labels, np.array([[0.0], [9.0]])), None, SHARP)
    labels[5:8, 5:8] = 1
    assert same(found.labels, labels)


def test_scores_rank_the_instances():
    labels = np.zeros((10, 30), np.int32)
    labels[2:8, 2:8], labels[2:8, 20:28] = 1, 2
    foreground, tags = maps_of(labels, np.zeros((2, 1)))
    foreground[0, :, :10] *= 0.8
    seeds = torch.full_like(foreground, 0.5)
    (found,) = decode_pixels(foreground, tags, seeds, SHARP)
    np.testing.assert_allclose(found.scores, [0.45, 0.36], atol=1e-6)
    assert found.labels[4, 24] == 1


def test_tags_that_are_nan_are_background():
    labels = np.ones((8, 8), np.int32)
    foreground, tags = maps_of(labels, np.zeros((1, 2)))
    tags[0, 1, 3:5, 3:5], tags[0, 0, 0, 0] = torch.nan, torch.inf
    (found,) = decode_pixels(foreground, tags, None, SHARP)
    assert len(found.scores) == 1
    assert np.isfinite(found.tags).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_without_and_with_only_foreground_are_decoded(value):
    foreground, tags = torch.full((2, 5, 7), value), torch.zeros(2, 3, 5, 7)
    for found in decode_pixels(foreground, tags, None, SHARP):
        assert len(found.scores) == value
        assert (found.labels == value).all()
        assert found.tags.shape == (value, 3)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("zoom", [1.0, 1.5, 0.7])
def test_outlines_are_finer_than_cells(stride, zoom):
    """Cells contain the share of their pixels in the foreground; discs are almost complete."""
    y, x = np.mgrid[:160, :200]
    truth = np.zeros((160, 200), np.int32)
    for n, (cx, cy, r) in enumerate([(40.3, 50.7, 22), (85, 52, 22), (130, 110, 40)]):
        truth[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = n + 1
    tags = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    size = [int(np.ceil(side * zoom / 32) * 32) for side in (200, 160)]
    view = Affine.shift(3, 1) @ Affine.scaling(zoom)
    seen = view.labels(truth, size)
    cells = tuple(side // stride for side in size)
    share = cv2.resize((seen > 0).astype(np.float32), cells, interpolation=cv2.INTER_AREA)
    _, values = maps_of(seen[stride // 2 :: stride, stride // 2 :: stride], tags)
    grid = PixelGrid((Affine.scaling(1 / stride) @ view).matrix, (200, 160))
    how = PixelSettings(least_area=100)  # more than the cells along an edge can cover
    (found,) = decode_pixels(torch.from_numpy(share)[None], values, None, how, [grid])
    assert found.labels.shape == truth.shape
    # A cell can extend half a cell beyond the border between two discs that touch.
    assert label_map_counts(found.labels, truth, [0.9]).tolist() == [[3, 0, 0]]
