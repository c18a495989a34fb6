"""Run lengths against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from tagwise.label_maps import encode_labels


def expected(labels, count):
    masks = [np.asfortranarray(labels == n + 1, np.uint8) for n in range(count)]
    return [coco_mask.encode(mask) for mask in masks]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    types=st.integers(1, 8),
    coarse=st.integers(1, 6),
    dtype=st.sampled_from([np.int32, np.uint8, np.uint16, np.int64]),
)
def test_equals_pycocotools(seed, height, width, types, coarse, dtype):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, types + 1, (-(-height // coarse), -(-width // coarse)))
    labels = np.kron(blocks, np.ones((coarse, coarse), int))[:height, :width].astype(dtype)
    found = encode_labels(labels, types + 2)  # two instances without a pixel
    for ours, theirs in zip(found, expected(labels, types + 2), strict=True):
        assert ours == {"size": theirs["size"], "counts": theirs["counts"].decode()}


def test_long_runs_are_encoded():
    labels = np.zeros((2000, 1500), np.int32)
    labels[5:1990, 700:] = 1
    labels[:3, :3] = 2
    ours = [rle["counts"].encode() for rle in encode_labels(labels)]
    assert ours == [rle["counts"] for rle in expected(labels, 2)]


def test_negative_labels_and_those_above_the_count_are_background():
    labels = np.array([[-1, 1, 3], [2, -7, 1]])
    clean = np.where((labels < 1) | (labels > 2), 0, labels)
    assert encode_labels(labels, 2) == encode_labels(clean, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_label_map_without_instances_is_encoded(dtype):
    assert encode_labels(np.zeros((3, 4), dtype)) == []
