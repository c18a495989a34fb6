"""The skeletons of public data sets of people."""

from __future__ import annotations

from tagwise.skeletons.mirror import mirror_types
from tagwise.skeletons.public_sets import (
    AIC_NAMES,
    AIC_SIGMAS,
    COCO_NAMES,
    COCO_SIGMAS,
    CROWDPOSE_NAMES,
    CROWDPOSE_SIGMAS,
    FACE_MIRRORS,
    MHP_NAMES,
    MHP_SIGMAS,
    WHOLEBODY_NAMES,
    WHOLEBODY_SIGMAS,
)
from tagwise.skeletons.skeleton import Skeleton

_COCO_EDGES = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7)),
    *((6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)

COCO17 = Skeleton("person", COCO_NAMES, _COCO_EDGES, COCO_SIGMAS)

CROWDPOSE14 = Skeleton(
    "person",
    CROWDPOSE_NAMES,
    (
        *((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5)),
        *((0, 6), (1, 7), (6, 7), (6, 8), (8, 10), (7, 9), (9, 11)),
    ),
    CROWDPOSE_SIGMAS,
)

AIC14 = Skeleton(
    "person",
    AIC_NAMES,
    (
        *((2, 1), (1, 0), (0, 13), (13, 3), (3, 4), (4, 5), (8, 7), (7, 6)),
        *((6, 9), (9, 10), (10, 11), (12, 13), (0, 6), (3, 9)),
    ),
    AIC_SIGMAS,
)

MHP16 = Skeleton(
    "person",
    MHP_NAMES,
    (
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)),
        *((8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15)),
    ),
    MHP_SIGMAS,
)


def _wholebody_flip() -> tuple[int, ...]:
    """Counterparts of all types: the names tell those of body and hands, not those of the face."""
    flip, face = list(mirror_types(WHOLEBODY_NAMES)), WHOLEBODY_NAMES.index("face-0")
    for total, points in FACE_MIRRORS.items():
        for point in points:
            flip[face + point] = face + total - point
    return tuple(flip)


def _wholebody_edges() -> tuple[tuple[int, int], ...]:
    """COCO's edges, feet from the ankles, and fingers from the wrists; none in the face."""
    edges = [*_COCO_EDGES]
    for side in ("left", "right"):
        ankle, wrist, thumb = (
            WHOLEBODY_NAMES.index(f"{side}_{end}") for end in ("ankle", "wrist", "thumb1")
        )
        toe = WHOLEBODY_NAMES.index(f"{side}_big_toe")
        edges += [(ankle, toe + point) for point in range(3)]
        for first in range(thumb, thumb + 20, 4):
            edges.append((wrist, first))
            edges += [(joint, joint + 1) for joint in range(first, first + 3)]
    return tuple(edges)


WHOLEBODY133 = Skeleton(
    "person", WHOLEBODY_NAMES, _wholebody_edges(), WHOLEBODY_SIGMAS, _wholebody_flip()
)

SKELETONS = {
    "coco": COCO17,
    "crowdpose": CROWDPOSE14,
    "wholebody": WHOLEBODY133,
    "aic": AIC14,
    "mhp": MHP16,
}
"""The skeletons that `--skeleton` takes by name. Of two with as many types, the first is more
common."""


def skeleton_with(count: int) -> Skeleton | None:
    """The most common known skeleton with this number of keypoint types, None if there is none.

    >>> skeleton_with(14) is CROWDPOSE14
    True
    """
    return next((each for each in SKELETONS.values() if len(each) == count), None)
