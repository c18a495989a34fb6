"""Instances whose keypoints are named one by one, as programs that draw shapes store them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tagwise.data.report import Problem
from tagwise.labels.label_set import Box, Category, Instance, LabelledImage, LabelSet

NO_CLASS = "instance"
"""The category of instances that labels give no class."""


@dataclass
class Loose:
    """An instance: its keypoints by name, as (x, y, visibility), and its box or mask.

    Other fields are those of `Instance`.
    """

    category: str = NO_CLASS
    points: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    box: Box | None = None
    mask: Any = None
    track: str | int | None = None
    score: float | None = None


@dataclass
class Shape:
    """One keypoint that was drawn on an image. group: what joins it to an instance, or None."""

    name: str
    xy: tuple[float, float]
    visibility: int = 2
    group: Any = None


def join_shapes(
    shapes: list[Shape], owners: dict[Any, Loose], image: LabelledImage, problems: list[Problem]
) -> list[Loose]:
    """Give each keypoint to its instance.

    owners: the instances with a box or mask, by their group. A keypoint without a group belongs to
    the only box that contains it; the keypoints that remain are one instance if no name occurs
    twice. Otherwise they cannot be told apart, and are left out as a problem.
    """
    rest: list[Shape] = []
    loose = dict(owners)
    for shape in shapes:
        group = shape.group
        if group is None:
            around = [key for key, owner in owners.items() if _contains(owner.box, shape.xy)]
            group = around[0] if len(around) == 1 else None
        if group is None:
            rest.append(shape)
            continue
        owner = loose.setdefault(group, Loose())
        if shape.name in owner.points:
            kind = "keypoint twice in one instance, the second left out"
            problems.append(Problem(kind, image.file, detail=shape.name))
            continue
        owner.points[shape.name] = (*shape.xy, shape.visibility)
    if len({shape.name for shape in rest}) == len(rest):
        points = {shape.name: (*shape.xy, shape.visibility) for shape in rest}
        return [*loose.values(), *([Loose(points=points)] if rest else [])]
    kind = "keypoints that belong to no instance, left out (draw a box around each, or group them)"
    problems.append(Problem(kind, image.file, detail=f"{len(rest)} keypoints"))
    return list(loose.values())


def _contains(box: Box | None, xy: tuple[float, float]) -> bool:
    if box is None:
        return False
    return 0 <= xy[0] - box[0] <= box[2] and 0 <= xy[1] - box[1] <= box[3]


def add_loose(found: LabelSet, rows: list[tuple[LabelledImage, Loose]]) -> None:
    """Add instances to their images, and the categories that they need to the label set.

    The keypoint types of a category are the names that occur, in the order of the first instance
    that has the most of them, then of the others.
    """
    names: dict[str, dict[str, None]] = {each.name: {} for each in found.categories}
    for category in found.categories:
        names[category.name] = dict.fromkeys(category.keypoints)
    for _, row in sorted(rows, key=lambda row: -len(row[1].points)):
        names.setdefault(row.category, {}).update(dict.fromkeys(row.points))
    known = {each.name: each for each in found.categories}
    found.categories = [
        Category(name, tuple(types), known[name].edges, known[name].pairs, known[name].extra)
        if name in known
        else Category(name, tuple(types))
        for name, types in names.items()
    ]
    for image, row in rows:
        image.instances.append(_instance(row, list(names[row.category])))


def _instance(row: Loose, types: list[str]) -> Instance:
    keypoints = None
    if row.points:
        keypoints = np.array([row.points.get(name, (0, 0, 0)) for name in types], np.float64)
    return Instance(row.category, keypoints, row.box, row.mask, row.score, None, row.track)
