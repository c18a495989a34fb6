"""The skeleton: keypoint types, edges, OKS constants and mirror pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.skeletons.mirror import mirror_types, sided_types, type_sides
from tagwise.skeletons.names import name_key, plain_name
from tagwise.skeletons.public_sets import (
    AIC_NAMES,
    AIC_SIGMAS,
    COCO_NAMES,
    COCO_SIGMAS,
    CROWDPOSE_NAMES,
    CROWDPOSE_SIGMAS,
    MHP_NAMES,
    MHP_SIGMAS,
    WHOLEBODY_NAMES,
    WHOLEBODY_SIGMAS,
)
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
        or the "sigmas" of the entry, or those of `default_sigmas`. Raises UserError.
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
    def sides(self) -> tuple[int, ...]:
        """The side of each keypoint type: 0 for the middle, 1 for left, 2 for right.

        Only types that a mirrored image swaps have a side; see `type_sides`.
        """
        return type_sides(self.keypoints, self.flip)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The order in which keypoint types are grouped: those that anchor an instance come first.

        COCO-17 has the order of Newell et al. 2017 and HigherHRNet (face, shoulders, hips, then
        outwards). In other skeletons the order goes outwards from the centre of the graph, because
        most instances have the central keypoints. Without edges, the order is that of the names.
        """
        if self.keypoints == COCO_NAMES:
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


def default_sigmas(keypoints: Sequence[str]) -> tuple[float, ...]:
    """OKS constants for these names: those of a public data set with these names in this order.

    The sets are COCO, COCO-WholeBody, CrowdPose, AI Challenger and MHP; otherwise 0.1.
    """
    keys = _sigma_keys(keypoints)
    for names, sigmas in _PUBLIC_SIGMAS:
        if keys == _sigma_keys(names):
            return sigmas
    return (_DEFAULT_SIGMA,) * len(keypoints)


_PUBLIC_SIGMAS = (
    (COCO_NAMES, COCO_SIGMAS),
    (CROWDPOSE_NAMES, CROWDPOSE_SIGMAS),
    (AIC_NAMES, AIC_SIGMAS),
    (MHP_NAMES, MHP_SIGMAS),
    (WHOLEBODY_NAMES, WHOLEBODY_SIGMAS),
)


def _sigma_keys(names: Sequence[str]) -> list[str]:
    """Keys of names, in which the top of the head is the head."""
    heads = {"tophead": "head", "headtop": "head"}
    keys = (name_key(name) for name in names)
    return [heads.get(key, key) for key in keys]
