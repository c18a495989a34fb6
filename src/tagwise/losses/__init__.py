"""Losses of associative embedding: pure functions on tensors, and thin modules around them.

`pull_push` is the general form: points with tags, each in a group, each in an image. Pull draws
the tags of a group to their mean; push drives the means of an image's groups apart.
`pull_push_dense` takes a label map instead of points. `heatmap_mse`, `focal` and `offset_l1` train
the other maps. `AELoss` and the other classes are the same as modules, with the settings fixed.

Half precision is computed, and the loss returned, in float32; float64 stays float64. A loss over
nothing is zero with a graph, so `backward()` always works. Points, cells and images that do not
count may hold anything, NaN included: their gradient is zero.

This folder needs torch alone, so that it can be copied into another project.

Imports nothing from the rest of the package.
"""

from tagwise.losses.maps import focal, heatmap_mse, offset_l1
from tagwise.losses.modules import AELoss, FocalLoss, HeatmapMSE, OffsetL1
from tagwise.losses.tags import PRESETS, TagLoss, pull_push, pull_push_dense

__all__ = [
    "PRESETS",
    "AELoss",
    "FocalLoss",
    "HeatmapMSE",
    "OffsetL1",
    "TagLoss",
    "focal",
    "heatmap_mse",
    "offset_l1",
    "pull_push",
    "pull_push_dense",
]
