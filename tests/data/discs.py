"""Samples of discs, with and without a label map."""

from dataclasses import replace

import numpy as np

from tagwise.data.sample import Sample
from tagwise.label_maps import label_map_instances


def discs(places, width=64, height=48):
    """A sample with a label map of discs (x, y, radius); later discs cover earlier discs."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    for number, (cx, cy, radius) in enumerate(places, 1):
        labels[np.hypot(x - cx, y - cy) <= radius] = number
    boxes, areas = label_map_instances(labels, len(places))
    return Sample(
        image=np.repeat(labels[..., None] * 20, 3, 2).astype(np.uint8),
        keypoints=np.zeros((len(places), 0, 3), np.float32),
        boxes=boxes,
        areas=areas,
        ignore=np.zeros((height, width), bool),
        labelled=np.zeros(0, bool),
        classes=np.arange(len(places)) % 3,
        labels=labels,
    )


def without_map(sample):
    """A copy of the sample without its label map."""
    return replace(sample, labels=None)
