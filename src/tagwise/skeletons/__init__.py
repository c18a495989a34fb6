"""Skeletons: which keypoint types an instance has, how they connect and how they mirror.

Data only. Nothing in the program knows left from right, or the number of a joint, except from
here. This folder imports `errors` alone.
"""

from tagwise.skeletons.known import (
    AIC14,
    COCO17,
    CROWDPOSE14,
    MHP16,
    SKELETONS,
    WHOLEBODY133,
    skeleton_with,
)
from tagwise.skeletons.mirror import mirror_types
from tagwise.skeletons.names import match_names, name_words, plain_name
from tagwise.skeletons.skeleton import Skeleton, default_sigmas

__all__ = [
    "AIC14",
    "COCO17",
    "CROWDPOSE14",
    "MHP16",
    "SKELETONS",
    "WHOLEBODY133",
    "Skeleton",
    "default_sigmas",
    "match_names",
    "mirror_types",
    "name_words",
    "plain_name",
    "skeleton_with",
]
