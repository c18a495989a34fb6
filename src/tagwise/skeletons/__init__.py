"""Skeletons: which keypoint types an instance has, how they connect and how they mirror.

Data only. Nothing in the program knows left from right, or the number of a joint, except from
here. This folder imports `errors` alone.
"""

from tagwise.skeletons.mirror import mirror_types
from tagwise.skeletons.names import match_names, name_words, plain_name
from tagwise.skeletons.skeleton import (
    COCO17,
    CROWDPOSE14,
    SKELETONS,
    Skeleton,
    default_sigmas,
)

__all__ = [
    "COCO17",
    "CROWDPOSE14",
    "SKELETONS",
    "Skeleton",
    "default_sigmas",
    "match_names",
    "mirror_types",
    "name_words",
    "plain_name",
]
