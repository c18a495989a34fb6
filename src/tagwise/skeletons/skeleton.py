"""The skeleton: keypoint types, edges, OKS constants and mirror pairs; COCO's and CrowdPose's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.skeletons.mirror import mirror_types, sided_types
from tagwise.skeletons.names import name_key, plain_name
from tagwise.skeletons.stated import flip_of_category, stated_edges, stated_flip

_DEFAULT_SIGMA = 0.1
_MOST, _LONGEST_NAME = 1000, 300  # keypoint types, letters
_LISTED = 20  # maximum number of pairs in one line


@dataclass(frozen=True)
class Skeleton:
    """The keypoint types of one class of instances, such as people.

    name: what an instance is ("person").
    keypoints: K names of keypoint types, in the order of every K axis of the program.
    edges: pairs of types that are joined in drawings, counted from 0; each pair once.
    sigmas: K OKS constants (the spread of annotation, relative to the square root of the area).
    flip: K indices, the type that each becomes in a mirrored image; derived from the names if
        empty, see `mirror_types`.

    Raises UserError if these are inconsistent.

    >>> Skeleton("robot", ("head", "left_hand", "right_hand"), ((0, 1), (0, 2))).flip
    (0, 2, 1)
    """

    name: str
    keypoints: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    flip: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        def fill(field: str, value: Any) -> None:
            object.__setattr__(self, field, value)

        edges: dict[frozenset[int], tuple[int, int]] = {}
        _check_names(self.name, self.keypoints)
        try:
            for a, b in self.edges:
                edges.setdefault(frozenset((int(a), int(b))), (int(a), int(b)))
            fill("keypoints", tuple(plain_name(name) for name in self.keypoints))
            fill("edges", tuple((a, b) for a, b in edges.values() if a != b))
            fill("sigmas", tuple(float(s) for s in self.sigmas) or default_sigmas(self.keypoints))
            fill("flip", tuple(int(k) for k in self.flip) or mirror_types(self.keypoints))
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"skeleton {brief(self.name)} needs names of keypoints, edges as pairs of numbers, "
                f"sigmas and flip as numbers ({error})"
            ) from None
        self._check()

    def _check(self) -> None:
        count, where = len(self.keypoints), f"skeleton {brief(self.name)}"
        if not count:
            raise UserError(f"{where} has no keypoints; name at least one")
        if len(set(self.keypoints)) < count:
            names = _listed(self.keypoints)
            raise UserError(f"{where} names a keypoint twice: {brief(names, 500)}")
        if len(self.sigmas) != count or not all(0 < s < math.inf for s in self.sigmas):
            raise UserError(
                f"{where} needs {count} sigmas above 0, one per keypoint, not "
                f"{brief(self.sigmas, 200)}"
            )
        if any(not 0 <= end < count for edge in self.edges for end in edge):
            raise UserError(
                f"{where} has an edge to a keypoint beyond its {count} keypoints: "
                f"{brief(self.edges, 200)}"
            )
        if sorted(self.flip) != list(range(count)) or any(
            self.flip[self.flip[k]] != k for k in range(count)
        ):
            raise UserError(
                f"{where}: flipping twice must change nothing, not flip {brief(self.flip, 200)}"
            )

    def __len__(self) -> int:
        return len(self.keypoints)

    @classmethod
    def from_coco(cls, category: dict[str, Any], sigmas: Sequence[float] | None = None) -> Skeleton:
        """The skeleton of a COCO "categories" entry.

        Its "skeleton" counts from 1, or from 0 if a 0 occurs, see `stated_edges`. Mirror pairs come
        from one of `FLIP_KEYS` or, without these keys, from the names. Sigmas are the given ones,
        or the "sigmas" of the entry, or the published ones for the names of COCO and CrowdPose, or
        0.1. Raises UserError.
        """
        name = category.get("name", "instance")
        keypoints = category.get("keypoints")
        if not isinstance(keypoints, list) or not keypoints:
            raise UserError(
                f'category {brief(name)} has no "keypoints"; add their names to the annotation file'
            )
        _check_names(name, keypoints)
        names, where = tuple(map(str, keypoints)), f"category {brief(name)}"
        own = category.get("sigmas") or ()
        if sigmas is None and not isinstance(own, list | tuple):
            raise UserError(f"{where}: 'sigmas' must be a list of numbers, not {brief(own)}")
        return cls(
            str(name),
            names,
            stated_edges(names, category.get("skeleton"), f"{where}: 'skeleton'"),
            tuple(sigmas if sigmas is not None else own),
            flip_of_category(category, names, where),
        )

    def to_coco(self, category_id: int = 1) -> dict[str, Any]:
        """This skeleton as a COCO "categories" entry, with edges counted from 1.

        Mirror pairs are included only if they do not follow from the names.
        """
        category = {
            "id": category_id,
            "name": self.name,
            "keypoints": list(self.keypoints),
            "skeleton": [[a + 1, b + 1] for a, b in self.edges],
            "sigmas": list(self.sigmas),
        }
        if self.flip != mirror_types(self.keypoints):
            category["flip_idx"] = list(self.flip)
        return category

    def with_flip_pairs(self, pairs: Sequence[Sequence[str | int]]) -> Skeleton:
        """A copy of the skeleton in which a mirrored image swaps exactly these pairs of types.

        pairs: of names, or of indices from 0. Raises UserError for unknown or repeated types.

        >>> Skeleton("mouse", ("nose", "ear A", "ear B")).with_flip_pairs([["ear A", "ear B"]]).flip
        (0, 2, 1)
        """
        return replace(self, flip=stated_flip(self.keypoints, pairs, "flip_pairs"))

    def mirror_note(self, flipping: bool = True) -> str:
        """One line that names the types that a mirrored image swaps.

        flipping: whether training mirrors images. If so, the line also names the types that contain
            a side but have no counterpart, and explains how to give pairs.

        >>> Skeleton("mouse", ("nose", "left_ear", "right_ear")).mirror_note()
        'in a mirrored image, left_ear and right_ear change places'
        """
        names = self.keypoints
        pairs = [f"{names[a]} and {names[b]}" for a, b in enumerate(self.flip) if a < b]
        types = _listed(pairs) if pairs else "no keypoint types"
        note = f"in a mirrored image, {types} change places"
        unpaired = [names[k] for k in sided_types(names) if self.flip[k] == k]
        if unpaired and flipping:
            note += (
                f"; sides without a pair: {_listed(unpaired)} (give pairs with data.flip_pairs, or "
                "turn mirroring off with data.augment.flip 0)"
            )
        return note

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON and YAML; the inverse of from_dict."""
        return {
            "name": self.name,
            "keypoints": list(self.keypoints),
            "edges": [list(edge) for edge in self.edges],
            "sigmas": list(self.sigmas),
            "flip": list(self.flip),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Skeleton:
        """The skeleton of a dict from to_dict."""
        return cls(**fields)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The order in which keypoint types are grouped: those that anchor an instance come first.

        COCO-17 has the order of Newell et al. 2017 and HigherHRNet (face, shoulders, hips, then
        outwards). In other skeletons the order goes outwards from the centre of the graph, because
        most instances have the central keypoints. Without edges, the order is that of the names.
        """
        if self.keypoints == _COCO_NAMES:
            return (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
        far = _hops(len(self), self.edges).sum(1).tolist()
        return tuple(sorted(range(len(self)), key=far.__getitem__))


def _check_names(name: Any, keypoints: Sequence[Any]) -> None:
    """Raise UserError for what cannot be names, or is too much for the search for mirror pairs."""
    where = f"skeleton {brief(name)}"
    if len(keypoints) > _MOST:
        raise UserError(f"{where} has {len(keypoints)} keypoints; use at most {_MOST}")
    for each in keypoints:
        if not isinstance(each, str | int | float) or len(str(each)) > _LONGEST_NAME:
            raise UserError(
                f"{where} has the keypoint {brief(each)}; name it with at most {_LONGEST_NAME} "
                "letters"
            )


def _listed(names: Sequence[str]) -> str:
    """The names, separated by commas; a long list is shortened."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _hops(count: int, edges: Sequence[tuple[int, int]]) -> np.ndarray:
    """Edges on the shortest path between any two types (Floyd and Warshall); `count` if none."""
    hops = np.where(np.eye(count, dtype=bool), 0, count)
    for a, b in edges:
        if a != b:
            hops[a, b] = hops[b, a] = 1
    for via in range(count):
        hops = np.minimum(hops, hops[:, via, None] + hops[via])
    return hops


_COCO_NAMES = (
    "nose",
    *("left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
# cocodataset/cocoapi, cocoeval.py, Params.setKpParams
_COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
_CROWDPOSE_NAMES = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("head", "neck"),
)
# Jeff-sjtu/CrowdPose, crowdpose-api, cocoeval.py, Params.setKpParams
_CROWDPOSE_SIGMAS = (
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107),
    *(0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
)


def default_sigmas(keypoints: Sequence[str]) -> tuple[float, ...]:
    """OKS constants for these names: published for COCO-17 and CrowdPose-14, otherwise 0.1."""
    keys = [name_key(name) for name in keypoints]
    if keys == [name_key(name) for name in _COCO_NAMES]:
        return _COCO_SIGMAS
    heads = {"tophead": "head", "headtop": "head"}
    if [heads.get(key, key) for key in keys] == [name_key(name) for name in _CROWDPOSE_NAMES]:
        return _CROWDPOSE_SIGMAS
    return (_DEFAULT_SIGMA,) * len(keypoints)


COCO17 = Skeleton(
    "person",
    _COCO_NAMES,
    (
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7)),
        *((6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    _COCO_SIGMAS,
)

CROWDPOSE14 = Skeleton(
    "person",
    _CROWDPOSE_NAMES,
    (
        *((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5)),
        *((0, 6), (1, 7), (6, 7), (6, 8), (8, 10), (7, 9), (9, 11)),
    ),
    _CROWDPOSE_SIGMAS,
)

SKELETONS: dict[str, Skeleton] = {"coco": COCO17, "crowdpose": CROWDPOSE14}
"""Skeletons of well-known data sets by name, as `tagwise convert --skeleton` takes them."""
