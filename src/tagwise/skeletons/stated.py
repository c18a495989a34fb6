"""Reading the edges and mirror pairs of a skeleton in files and recipes, by name or number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagwise.errors import UserError, unknown_name
from tagwise.skeletons.mirror import mirror_types
from tagwise.skeletons.names import match_names

# Keys for mirror pairs: flip_idx of Ultralytics, flip_indices and flip_pairs of mmpose, symmetries
# of SLEAP. Each may contain the counterpart of every type in order, or pairs.
FLIP_KEYS = ("flip_idx", "flip_indices", "flip_pairs", "symmetries", "symmetry")

Item = str | int


def stated_edges(keypoints: Sequence[str], stated: Any, where: str) -> tuple[tuple[int, int], ...]:
    """The edges that a COCO "skeleton" lists, as indices from 0.

    Numbers count from 0 if a 0 occurs, otherwise from 1, as in COCO. Raises UserError, beginning
    with `where`, for a value that is not a list of pairs of keypoints.

    >>> stated_edges(("a", "b", "c"), [[1, 2], ["b", "c"]], "edges")
    ((0, 1), (1, 2))
    """
    pairs = _listed_pairs([] if stated is None else stated, where)
    indices = _indices(keypoints, [item for pair in pairs for item in pair], where, usual=1)
    return tuple(zip(indices[::2], indices[1::2], strict=True))


def stated_flip(keypoints: Sequence[str], stated: Any, where: str) -> tuple[int, ...]:
    """The type that each type becomes in a mirrored image, from the value of one of `FLIP_KEYS`.

    stated: the counterpart of every type in order, or a list of pairs, or a mapping from types to
    counterparts; empty if no types change places. Numbers count from 0 unless only 1 to K fit.
    Raises UserError, beginning with `where`.

    >>> stated_flip(("nose", "ear A", "ear B"), [["ear A", "ear B"]], "flip_pairs")
    (0, 2, 1)
    """
    flat = isinstance(stated, Sequence) and not isinstance(stated, str)
    if flat and stated and all(_is_item(item) for item in stated):
        return _permutation(keypoints, stated, where)
    pairs = _listed_pairs(stated, where)
    items = [item for pair in pairs for item in pair]
    indices = _indices(keypoints, items, where, usual=_usual(keypoints, pairs))
    flip = list(range(len(keypoints)))
    for a, b in zip(indices[::2], indices[1::2], strict=True):
        for one, other in ((a, b), (b, a)):
            if flip[one] not in (one, other):
                raise UserError(f"{where}: {keypoints[one]} is in two pairs; name it in one")
            flip[one] = other
    return tuple(flip)


def flip_of_category(category: Mapping[str, Any], keypoints: Sequence[str], where: str) -> tuple:
    """The counterparts of the types in a COCO category; empty if it has none.

    An empty list is ignored, because many programs write one. Raises UserError if two keys state
    different pairs.
    """
    found: dict[str, tuple[int, ...]] = {}
    for key in FLIP_KEYS:
        if isinstance(category.get(key), list | dict) and category[key]:
            found[key] = stated_flip(keypoints, category[key], f"{where}: {key!r}")
    if len(set(found.values())) > 1:
        raise UserError(f"{where}: {' and '.join(found)} state different pairs; leave one out")
    return next(iter(found.values()), ())


def _permutation(keypoints: Sequence[str], stated: Sequence[Item], where: str) -> tuple[int, ...]:
    """The counterparts, stated for every type in order."""
    indices = _indices(keypoints, stated, where, usual=0)
    if len(indices) != len(keypoints):
        raise UserError(
            f"{where} lists {len(indices)} counterparts for {len(keypoints)} keypoints; list one "
            "for each keypoint in order, or pairs"
        )
    if any(indices[other] != k for k, other in enumerate(indices)):
        raise UserError(f"{where}: flipping twice must change nothing, not flip {list(stated)}")
    return indices


def _usual(keypoints: Sequence[str], pairs: list[tuple[Item, Item]]) -> int:
    """The number from which pairs count: 0, or 1 if only that agrees with the names."""
    known = {frozenset(pair) for pair in enumerate(mirror_types(keypoints)) if pair[0] != pair[1]}
    numbered = [pair for pair in pairs if all(isinstance(item, int) for item in pair)]
    agree = [{frozenset(n - base for n in pair) for pair in numbered} <= known for base in (0, 1)]
    return 1 if numbered and agree == [False, True] else 0


def _listed_pairs(stated: Any, where: str) -> list[tuple[Item, Item]]:
    """The pairs in a list or a mapping."""
    if isinstance(stated, Mapping):
        stated = [pair for pair in stated.items() if pair[1] not in ("", None)]
    pairs = [_pair(entry) for entry in stated] if isinstance(stated, list | tuple) else [None]
    if None in pairs:
        raise UserError(f"{where} must be a list of pairs of keypoints, by name or number")
    return pairs


def _pair(entry: Any) -> tuple[Item, Item] | None:
    """A pair of names or numbers; None for anything else. SLEAP writes {"nodes": [a, b]}."""
    if isinstance(entry, Mapping):
        entry = entry["nodes"] if "nodes" in entry else list(entry.values())
    fits = isinstance(entry, list | tuple) and len(entry) == 2 and all(map(_is_item, entry))
    return tuple(entry) if fits else None


def _is_item(value: Any) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, str) or (whole and not isinstance(value, bool))


def _indices(
    keypoints: Sequence[str], items: Sequence[Item], where: str, usual: int
) -> tuple[int, ...]:
    """The index of each named or numbered keypoint.

    usual: the number from which numbers count if both 0 and 1 fit.
    """
    count, numbers, indices = len(keypoints), [], []
    for item in items:
        at = match_names([item], keypoints)[0] if isinstance(item, str) else -1
        number = None if at >= 0 else _number(item)
        if at < 0 and number is None:
            raise unknown_name(f"keypoint of {where}:", item, keypoints)
        numbers += [] if number is None else [number]
        indices.append((at, number))
    base = 0 if 0 in numbers else 1 if count in numbers else usual
    wrong = [number for number in numbers if not base <= number < count + base]
    if wrong:
        raise UserError(
            f"{where} has the number {wrong[0]}, but the {count} keypoints are 0 to {count - 1} "
            f"counted from 0 (which applies if a 0 occurs) or 1 to {count} counted from 1"
        )
    return tuple(at if number is None else number - base for at, number in indices)


def _number(item: Item) -> int | None:
    if isinstance(item, str):
        return int(item) if item.isascii() and item.isdigit() else None
    return int(item)
