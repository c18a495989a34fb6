"""Losses of associative embedding: pure functions on tensors, and thin modules around them.

`pull_push` is the general form. It takes points with tags; each point belongs to a group and an
image. The pull loss moves the tags of a group towards their mean; the push loss moves the means of
the groups of an image apart. `pull_push_dense` takes a label map instead of points.
`discriminative`, `cosine`, `contrastive` and `spatial` are other embedding losses of the
literature. `heatmap_mse`, `focal` and `offset_l1` train the other maps. `AELoss` and the other
classes are the same functions as modules, with fixed settings.

Inputs in half precision are converted to float32, and so is the result; float64 stays float64. The
loss of empty input is zero with a graph, so that `backward()` always works. Ignored points, cells
and images may have any values, including NaN; their gradient is zero.

Arguments are tensors, or numpy arrays and nested lists, which are converted. Anything else raises
ValueError in one line that names the argument.

This folder depends only on torch, so that it can be copied into another project.

Public names are imported on first use: a task states its losses, and torch is needed only to train.

Imports nothing from the rest of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagwise.losses.embeddings import DiscriminativeLoss, cosine, discriminative
    from tagwise.losses.maps import focal, heatmap_mse, offset_l1
    from tagwise.losses.modules import AELoss, FocalLoss, HeatmapMSE, OffsetL1
    from tagwise.losses.pairs import Layout, grid_places, layout_groups
    from tagwise.losses.spatial_embeddings import SpatialLoss, spatial
    from tagwise.losses.supervised_contrastive import contrastive
    from tagwise.losses.tags import PRESETS, TagLoss, dense_points, pull_push, pull_push_dense

__all__ = [
    "PRESETS",
    "AELoss",
    "DiscriminativeLoss",
    "FocalLoss",
    "HeatmapMSE",
    "Layout",
    "OffsetL1",
    "SpatialLoss",
    "TagLoss",
    "contrastive",
    "cosine",
    "dense_points",
    "discriminative",
    "focal",
    "grid_places",
    "heatmap_mse",
    "layout_groups",
    "offset_l1",
    "pull_push",
    "pull_push_dense",
    "spatial",
]

# The file that defines each public name.
_FILES = {
    "DiscriminativeLoss": "embeddings",
    "cosine": "embeddings",
    "discriminative": "embeddings",
    "focal": "maps",
    "heatmap_mse": "maps",
    "offset_l1": "maps",
    "AELoss": "modules",
    "FocalLoss": "modules",
    "HeatmapMSE": "modules",
    "OffsetL1": "modules",
    "Layout": "pairs",
    "grid_places": "pairs",
    "layout_groups": "pairs",
    "SpatialLoss": "spatial_embeddings",
    "spatial": "spatial_embeddings",
    "contrastive": "supervised_contrastive",
    "PRESETS": "tags",
    "TagLoss": "tags",
    "dense_points": "tags",
    "pull_push": "tags",
    "pull_push_dense": "tags",
}

if not TYPE_CHECKING:  # type checkers read the imports above, and refuse any other name

    def __getattr__(name: str) -> Any:
        if name not in _FILES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
        globals()[name] = value
        return value
