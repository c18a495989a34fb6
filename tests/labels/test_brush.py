"""Brush masks of Label Studio, against the encoder of its SDK and a plain one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tagwise.label_maps import rle_mask
from tagwise.labels import read_labels
from tagwise.labels.brush import brush_mask

# What mask2rle of label-studio-sdk 2.1.2 returns for MASK.
SDK = [0, 0, 0, 140, 57, 27, 254, 35, 0, 183, 255, 124, 2, 223, 253, 240, 11, 127, 248]
SDK += [124, 2, 63, 240]
MASK = np.zeros((5, 7), bool)
MASK[1:4, 2:5] = MASK[4, 6] = True


def packed(values, rng):
    """Pack values as brush_mask describes it, in runs of random kinds and lengths."""
    lengths = (3, 4, 8, 16)
    text = f"{len(values):032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in lengths)
    at = 0
    while at < len(values):
        kind = int(rng.integers(4))
        run = values[at : at + int(rng.integers(1, 2 ** lengths[kind] + 1))]
        equal = int((run == run[0]).all())
        text += f"{equal}{kind:02b}{len(run) - 1:0{lengths[kind]}b}"
        text += "".join(f"{value:08b}" for value in (run[:1] if equal else run))
        at += len(run)
    text += "0" * (-len(text) % 8)
    return [int(text[n : n + 8], 2) for n in range(0, len(text), 8)]


def test_mask_of_the_sdk():
    assert (brush_mask(SDK, 7, 5) == MASK).all()


@given(arrays(np.uint8, (4, 6, 4), elements=st.sampled_from([0, 0, 3, 255])), st.integers(0, 99))
def test_packed_images_have_their_alpha(image, seed):
    numbers = packed(image.ravel(), np.random.default_rng(seed))
    assert (brush_mask(numbers, 6, 4) == (image[:, :, 3] > 0)).all()


@pytest.mark.parametrize(
    ("numbers", "size", "words"),
    [
        (SDK, (7, 6), "140 values, not the 168 of 7 × 6 pixels"),
        (SDK[:-4], (7, 5), "cut off"),
        ([], (7, 5), "cut off"),
        ([*SDK[:-1], 256], (7, 5), "from 0 to 255"),
        (SDK[:4] + [255] * 40, (7, 5), "longer than the image"),
    ],
)
def test_wrong_run_lengths_are_refused(numbers, size, words):
    with pytest.raises(ValueError, match=words):
        brush_mask(numbers, *size)


def test_brush_masks_are_read_from_tasks(tmp_path):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    value = {"format": "rle", "rle": SDK, "brushlabels": ["cell"]}
    entry = {"type": "brushlabels", "value": value, "original_width": 7, "original_height": 5}
    damaged = {**entry, "value": {**value, "rle": SDK[:9]}}
    tasks = [
        {"data": {"image": f"/data/upload/{name}"}, "annotations": [{"result": [each]}]}
        for name, each in (("a.png", entry), ("b.png", damaged))
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    found = read_labels(tmp_path / "tasks.json")
    instance = found.images[0].instances[0]
    assert instance.category == "cell"
    assert (rle_mask(instance.mask) == MASK).all()
    assert "1 × annotation cannot be read, left out" in "\n".join(found.describe())
