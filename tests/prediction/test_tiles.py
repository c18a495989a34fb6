"""Predictions in tiles equal those of the whole image."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tagwise.models.heads import add_position
from tagwise.prediction.tiles import in_tiles
from tagwise.tasks import Head

HEADS = {
    "foreground": Head(1, "heatmap"),
    "tags": Head(2, "tag", position=8.0),
    "plain": Head(3, "tag"),
}
STRIDE, MULTIPLE = 2, 8


def local(images):
    """A network with a receptive field of 3 cells: local features, and tags with positions."""
    cells = F.avg_pool2d(images.float(), STRIDE)
    blurred = F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return {
        "foreground": blurred[:, :1],
        "tags": add_position(blurred[:, :2], 8.0, 2.0, STRIDE),
        "plain": blurred,
    }


def tiled(images, tile, overlap, forward=local):
    more = {"tile": tile, "overlap": overlap, "multiple": MULTIPLE, "stride": STRIDE}
    return in_tiles(forward, images, HEADS, **more)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(2, 8),
    st.integers(2, 8),
    st.integers(4, 12),
)
@settings(deadline=None, max_examples=60)
def test_tiles_equal_the_whole_image(seed, rows, columns, across, down, overlap):
    shape = (2, 3, rows * MULTIPLE, columns * MULTIPLE)
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).byte()
    sizes = []

    def forward(part):
        sizes.append(part.shape[-2:])
        return local(part)

    found = tiled(images, (across * MULTIPLE, down * MULTIPLE), overlap, forward)
    whole = local(images)
    for name, maps in whole.items():
        # Where a tile ends inside the image its outermost cells see less; others outweigh them.
        error = (found[name] - maps).abs()
        scale = maps.std() + 1
        assert found[name].shape == maps.shape
        assert error.mean() < 0.1 * scale
    limit = (max(down, 1) * MULTIPLE, max(across, 1) * MULTIPLE)
    assert all(height <= limit[0] and width <= limit[1] for height, width in sizes)


def test_maps_are_exact_where_tiles_have_enough_context():
    """A tile's edge cells weigh nothing, and all others see what they would in the whole."""

    def pointwise(images):
        cells = F.avg_pool2d(images.float(), STRIDE)
        tags = add_position(cells[:, :2], 8.0, 2.0, STRIDE)
        return {"foreground": cells[:, :1], "tags": tags, "plain": cells}

    images = torch.rand(1, 3, 96, 136)
    found, whole = tiled(images, (32, 40), 8, pointwise), pointwise(images)
    for name, maps in whole.items():
        torch.testing.assert_close(found[name], maps, rtol=1e-5, atol=1e-5)


def test_tiles_that_disagree_are_blended_without_a_seam():
    """Each tile adds its own brightness; the blend changes from one to the next step by step."""
    count = iter(range(100))

    def biased(images):
        level = float(next(count))
        return {name: maps * 0 + level for name, maps in local(images).items()}

    found = tiled(torch.zeros(1, 3, 32, 160), (64, 32), 32, biased)["foreground"][0, 0, 0]
    assert found[0] == 0
    assert found[-1] >= 2
    assert found.diff().abs().max() < 0.15
    assert (found.diff() >= -1e-6).all()


def test_image_that_fits_is_one_tile():
    images = torch.rand(1, 3, 32, 40)
    calls = []

    def forward(part):
        calls.append(part is images)
        return local(part)

    tiled(images, (40, 32), 16, forward)
    assert calls == [True]


@pytest.mark.parametrize("length", [24, 40, 48, 104, 1000])
def test_tiles_overlap_as_much_as_asked(length):
    length = length // MULTIPLE * MULTIPLE
    spans = []

    def forward(part):
        spans.append((int(part[0, 0, 0, 0]), part.shape[-1]))
        return local(part)

    images = torch.arange(length).float().expand(1, 3, 8, length)
    tiled(images, (40, 8), 10, forward)
    assert spans[0][0] == 0
    assert sum(spans[-1]) == length
    for (first, size), (second, _) in pairwise(spans):
        assert second % MULTIPLE == 0
        assert first + size - second >= 10
