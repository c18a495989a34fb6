"""Translation of tensor names in checkpoints of other programs to those of the original code."""

from __future__ import annotations

import re

from torch import Tensor

Tensors = dict[str, Tensor]

MAPS_PER_KEYPOINT = 4
"""Output maps of a stack per keypoint type: a heatmap, a tag map, and two unused maps."""

# Replacements that turn the names of other programs into those of the original code, in order.
_RENAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "mmdetection": (
        (r"^backbone\.stem\.0\.", "pre.0."),
        (r"^backbone\.stem\.(\d+)\.0\.", r"pre.\1."),
        (r"^backbone\.hourglass_modules\.", "kps."),
        (r"^backbone\.out_convs\.", "cnvs."),
        (r"^backbone\.conv1x1s\.(\d+)\.conv\.", r"inters_.\1.0."),
        (r"^backbone\.conv1x1s\.(\d+)\.bn\.", r"inters_.\1.1."),
        (r"^backbone\.remap_convs\.(\d+)\.conv\.", r"cnvs_.\1.0."),
        (r"^backbone\.remap_convs\.(\d+)\.bn\.", r"cnvs_.\1.1."),
        (r"^backbone\.", ""),
        (r"\.downsample\.", ".skip."),
        (r"^bbox_head\.(..)_pool\.(\d+)\.direction(\d)_conv\.", r"\1_cnvs.\2.p\3_conv1."),
        (r"^bbox_head\.(..)_pool\.(\d+)\.aftpool_conv\.conv\.", r"\1_cnvs.\2.p_conv1."),
        (r"^bbox_head\.(..)_pool\.(\d+)\.aftpool_conv\.bn\.", r"\1_cnvs.\2.p_bn1."),
        (r"^bbox_head\.(..)_pool\.(\d+)\.conv1\.conv\.", r"\1_cnvs.\2.conv1."),
        (r"^bbox_head\.(..)_pool\.(\d+)\.conv1\.bn\.", r"\1_cnvs.\2.bn1."),
        (r"^bbox_head\.(..)_pool\.", r"\1_cnvs."),
        (r"^bbox_head\.(..)_heat\.", r"\1_heats."),
        (r"^bbox_head\.(..)_emb\.", r"\1_tags."),
        (r"^bbox_head\.(..)_off\.", r"\1_regrs."),
        (r"^(.._(?:heats|tags|regrs)\.\d+\.1)\.conv\.", r"\1."),
    ),
    "CornerNet-Lite": (
        (r"^hg\.hgs\.", "kps."),
        (r"^hg\.", ""),
        (r"^(..)_modules\.", r"\1_cnvs."),
        (r"^(..)_offs\.", r"\1_regrs."),
    ),
    "mmpose": (
        (r"^backbone\.", ""),
        (r"^(?:keypoint_head|head)\.", ""),
        # the hourglass with tags; that for one person at a time has other names inside
        (r"^stem\.", "pre."),
        (r"^hourglass_modules\.", "features."),
        (r"^out_convs\.", "outs."),
        (r"^remap_out_convs\.(\d+)\.", r"merge_preds.\1.conv."),
        (r"^remap_feature_convs\.(\d+)\.", r"merge_features.\1.conv."),
    ),
}
_RENAMES["mmpose1"] = _RENAMES["mmpose"]
_WRITERS = {
    "mmdetection": "bbox_head.",
    "CornerNet-Lite": "hg.",
    "mmpose1": "head.final_layer.",
    "mmpose": "backbone.",
}
"""The prefix of tensor names by which the program that wrote a file is recognised, in order."""


def writer_of(tensors: Tensors) -> str | None:
    """The program that uses these names, a key of _WRITERS; None: the original code.

    "mmpose1" is mmpose 1.x, whose only network with tags is an HRNet.
    """
    for writer, prefix in _WRITERS.items():
        if any(name.startswith(prefix) for name in tensors):
            return writer
    return None


def renamed(tensors: Tensors) -> Tensors:
    """Tensors under the names of the original code."""
    for pattern, name in _RENAMES.get(writer_of(tensors), ()):
        tensors = {re.sub(pattern, name, key): value for key, value in tensors.items()}
    return tensors
