"""The division of a labelled set into K parts of neighbouring images, for cross-validation."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from tagwise.data.photos import Photos
from tagwise.errors import UserError


def held_out_images(dataset: Photos, fold: tuple[int, int]) -> list[int]:
    """The indices of the images of a set that a fold holds out for validation, ascending.

    fold: (k, K), part k of K, counted from 1. Raises UserError if there are less than K images.
    """
    number, count = fold
    if len(dataset) < count:
        raise UserError(
            f"{dataset.annotations} has {len(dataset)} images, too few for {count} folds; use fewer"
        )
    names = [dataset.info(index).file for index in range(len(dataset))]
    return divide(names, count)[number - 1]


def divide(names: Sequence[str], count: int) -> list[list[int]]:
    """Divide images into parts of nearly equal size, and keep neighbouring frames together.

    Images that differ only in the number at the end of their name are a sequence, such as the
    frames of a video. A whole sequence goes into one part; one that is too long for that is cut
    into stretches. The parts depend on the names only, not on their order.

    names: file names of N images. count: the number of parts, at most N.
    Returns for each part the indices of its images, ascending.

    >>> divide(["a1.png", "b1.png", "a2.png", "b2.png"], 2)
    [[0, 2], [1, 3]]
    """
    sequences = defaultdict(list)
    for index, name in enumerate(names):
        sequence, number = sequence_of(name)
        sequences[sequence].append((number, name, index))
    pieces = []
    for sequence in sorted(sequences):
        frames = [index for *_, index in sorted(sequences[sequence])]
        pieces += np.array_split(frames, -(-len(frames) * count // len(names)))
    parts: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(count)]
    for piece in sorted(pieces, key=len, reverse=True):  # the longest first fills evenly
        size, number, part = heapq.heappop(parts)
        heapq.heappush(parts, (size + len(piece), number, part + piece.tolist()))
    return [sorted(part) for _, _, part in sorted(parts, key=lambda each: each[1])]


def sequence_of(name: str) -> tuple[str, int]:
    """The name of a sequence of frames, and the number of a frame in it, from a file name.

    >>> sequence_of("cage1/day-0042.png"), sequence_of("fox.jpg")
    (('cage1/day-', 42), ('fox', 0))
    """
    path = PurePosixPath(name.replace("\\", "/"))
    stem, number = re.fullmatch(r"(.*?)(\d*)", path.stem, re.DOTALL).groups()
    folder = "" if str(path.parent) == "." else f"{path.parent}/"
    return folder + stem, int(number[-18:] or 0)
