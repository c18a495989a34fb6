"""Grouping of detections by their tags: detections with similar tags belong together.

`decode_keypoints` groups the keypoints of heatmaps, `decode_corners` pairs corners into boxes, and
`decode_pixels` creates label maps. `group_by_type`, `group_pairs`, `group_by_reference`,
`group_by_seed` and `group_connected` group any points that have tags.

Maps and points are tensors, numpy arrays or nested lists; anything else raises ValueError in one
line that names the argument (`inputs.py`). With arrays, nothing here needs torch. `candidates.py`
finds peaks within an exported graph.

This folder needs only torch, numpy, scipy and numba, so that it can be copied into another project
with the few modules that it imports.

Imports `errors`, `geometry`, `runtime` and `settings`.
"""

from tagwise.grouping.assignments import group_by_reference, group_by_type, group_pairs
from tagwise.grouping.clusters import group_by_seed, group_connected
from tagwise.grouping.corners import CornerBoxes, decode_corners
from tagwise.grouping.keypoint_groups import KeypointGroups
from tagwise.grouping.keypoints import (
    decode_keypoints,
    group_by_truth,
    group_keypoints,
)
from tagwise.grouping.points import Groups
from tagwise.grouping.settings import (
    PRESETS,
    CornerSettings,
    GroupingSettings,
    PublishedRules,
)

__all__ = [
    "PRESETS",
    "CornerBoxes",
    "CornerSettings",
    "GroupingSettings",
    "Groups",
    "KeypointGroups",
    "PublishedRules",
    "decode_corners",
    "decode_keypoints",
    "group_by_reference",
    "group_by_seed",
    "group_by_truth",
    "group_by_type",
    "group_connected",
    "group_keypoints",
    "group_pairs",
]
