"""The labels of a data set in memory, in the same form whatever program wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.data.report import Problem
from tagwise.errors import unknown_name
from tagwise.skeletons import mirror_types, plain_name

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Category:
    """What an instance is: a class, with K keypoint types or none.

    edges: pairs of keypoint types that are joined, as indices from 0.
    pairs: pairs of keypoint types that a mirrored image swaps, where the labels state them.
    extra: other values of a COCO category, such as "sigmas".
    """

    name: str
    keypoints: tuple[str, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Instance:
    """One labelled or predicted instance of an image.

    category: the name of its category.
    keypoints: (K, 3) float64, x, y in pixels and visibility (0 not labelled, 1 hidden, 2 visible),
        or None. A keypoint that is not labelled is (0, 0, 0).
    box: x, y, width, height in pixels, or None.
    mask: polygons [[x, y, x, y, ...], ...] or a COCO RLE, or None.
    score: of a prediction; None for an instance that a person labelled.
    keypoint_scores: (K,) of a prediction, or None.
    track: the name or number of the individual, or None.
    crowd: whether it is a crowd region of COCO.
    """

    category: str
    keypoints: np.ndarray | None = None
    box: Box | None = None
    mask: Any = None
    score: float | None = None
    keypoint_scores: np.ndarray | None = None
    track: str | int | None = None
    crowd: bool = False

    @property
    def predicted(self) -> bool:
        """Whether a program, and not a person, made this instance."""
        return self.score is not None


@dataclass(eq=False)
class LabelledImage:
    """An image, or a frame of a video, and its instances.

    file: the name of the image or video in the labels. path: where it is on this machine, or None.
    frame: the index of the frame in the video `path`, from 0; None for an image file.
    width, height: in pixels, or None if unknown.
    group: what neighbouring images share: their video or their folder. A split into training and
        validation must not divide it.
    pixels: reads an image inside a file of labels, (H, W, 3) uint8 RGB; None for others.
    """

    file: str
    path: Path | None = None
    frame: int | None = None
    width: int | None = None
    height: int | None = None
    group: str = ""
    pixels: Callable[[], np.ndarray] | None = None
    instances: list[Instance] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether the pixels of the image can be read."""
        return self.path is not None or self.pixels is not None


@dataclass(eq=False)
class LabelSet:
    """The labels of a file or folder, as `read_labels` returns them.

    where: the file or folder. what: the program that wrote it, such as "a SLEAP file".
    problems: what was left out or repaired. notes: other things that a user should know.
    """

    where: Path
    what: str
    categories: list[Category] = field(default_factory=list)
    images: list[LabelledImage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        """The number of instances of each category."""
        return Counter(each.category for image in self.images for each in image.instances)

    def category(self, name: str) -> Category:
        """The category with a name. Raises UserError, listing the names, if there is none."""
        for category in self.categories:
            if category.name == name:
                return category
        names = [category.name for category in self.categories]
        raise unknown_name(f"category of {self.where}:", name, names)

    def only(self, name: str) -> LabelSet:
        """The labels of one category; the images stay. Raises UserError for an unknown name."""
        category = self.category(name)
        images = [
            replace(image, instances=[each for each in image.instances if each.category == name])
            for image in self.images
        ]
        return replace(self, categories=[category], images=images)

    def labelled(self) -> LabelSet:
        """The instances that people labelled, or all of them if every instance is a prediction.

        Images on which only a program has labelled are left out, because their other instances may
        lack labels.
        """
        every = [each for image in self.images for each in image.instances]
        predicted = sum(each.predicted for each in every)
        if predicted in (0, len(every)):
            return self
        images = []
        for image in self.images:
            kept = [each for each in image.instances if not each.predicted]
            if kept or not image.instances:
                images.append(replace(image, instances=kept))
        dropped = len(self.images) - len(images)
        frames = f" and {dropped} images that have no others" if dropped else ""
        note = f"left out {predicted} predicted instances{frames}; people labelled the rest"
        return replace(self, images=images, notes=[*self.notes, note])

    def list_missing(self) -> None:
        """Add the images and videos that were not found to the problems, each file once."""
        missing = Counter(image.file for image in self.images if not image.found)
        for image in self.images:
            count = missing.pop(image.file, 0) if not image.found else 0
            if count and image.frame is not None:
                kind = "video not found (give its folder with --images)"
                self.problems.append(Problem(kind, image.file, detail=f"{count} frames"))
            elif count:
                kind = "image file not found (give its folder with --images)"
                self.problems.append(Problem(kind, image.file))

    def describe(self) -> list[str]:
        """Lines that say what was understood, and what was left out."""
        counts, count = self.counts(), len(self.images)
        frames = sum(image.frame is not None for image in self.images)
        what = "frame" if frames == count and frames else "image"
        groups = len({image.group for image in self.images})
        lines = [
            f"{self.where} is {self.what}: {_number(count, what)} in {_number(groups, 'group')}, "
            f"{_number(counts.total(), 'instance')}"
        ]
        lines += [_described(each, counts[each.name]) for each in self.categories]
        used = [each.name for each in self.categories if each.keypoints and counts[each.name]]
        if len(used) > 1:
            lines.append(
                f"{len(used)} categories have keypoints, and a model learns one: {used[0]} unless "
                "the recipe names another; keep one with --category"
            )
        if sum(bool(image.instances) for image in self.images) == 1:
            lines.append(
                "only 1 image is labelled: too few to train on some and validate on others"
            )
        return lines + self.notes + self.problem_lines()

    def problem_lines(self) -> list[str]:
        """One line for each kind of problem, with the names of the first files."""
        return _one_per_kind(self.problems)


def _described(category: Category, count: int) -> str:
    line = f"category {category.name}: {_number(count, 'instance')}"
    if not category.keypoints:
        return line
    names = category.keypoints
    flip = enumerate(mirror_types([plain_name(name) for name in names]))
    pairs = category.pairs or [(a, b) for a, b in flip if a < b]
    sides = ", ".join(f"{names[a]} and {names[b]}" for a, b in pairs)
    return (
        f"{line}, {_number(len(names), 'keypoint type')}: {_listed(names)}; "
        f"left/right pairs: {sides or 'none'}"
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _one_per_kind(problems: list[Problem], examples: int = 3) -> list[str]:
    """One line for each kind of problem, with the names of the first files."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    lines = []
    for kind, found in kinds.items():
        shown = list(dict.fromkeys(str(problem) for problem in found if str(problem)))
        more = f" and {len(found) - examples} more" if len(found) > examples else ""
        where = f": {', '.join(shown[:examples])}{more}" if shown else ""
        lines.append(f"{len(found)} × {kind}{where}")
    return lines


def _listed(names: tuple[str, ...], most: int = 30) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def labelled_keypoints(xy: np.ndarray, visibility: np.ndarray | float = 2.0) -> np.ndarray:
    """Keypoints (K, 3) float64 of an instance from x, y (K, 2), NaN where not labelled.

    visibility: 0, 1 or 2, one for all or (K,).
    """
    keypoints = np.zeros((len(xy), 3))
    keypoints[:, :2], keypoints[:, 2] = xy, visibility
    keypoints[~np.isfinite(keypoints).all(1) | (keypoints[:, 2] <= 0)] = 0
    return keypoints
