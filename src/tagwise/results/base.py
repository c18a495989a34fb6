"""The base class of results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tagwise.data.images import read_image
from tagwise.data.pictures import check_size
from tagwise.errors import UserError, brief
from tagwise.plot.boxes import draw_outlines

if TYPE_CHECKING:
    from PIL.Image import Image


class Result:
    """The instances found in one image, best first.

    A result is a sequence whose items are results of one instance each.

    scores: (N,) float32 in [0, 1]. boxes: (N, 4) float32, x, y, width, height in pixels.
    file, width, height: the file and the size of the image, or None if unknown.
    image: (height, width, 3) uint8 RGB, kept so that `plot()` needs no arguments, or None.
    model: the name of the model that found the instances, or None.
    task: the value of "task" in the JSON of the result.
    """

    task: ClassVar[str]
    scores: np.ndarray
    boxes: np.ndarray
    file: str | None
    width: int | None
    height: int | None
    image: np.ndarray | None
    model: str | None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: Any) -> Self:
        """Select instances with an index, slice, list or boolean mask."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        where = f" in {self.file}" if self.file else ""
        return f"{type(self).__name__}({len(self)} of {self._contents}{where})"

    def above(self, threshold: float) -> Self:
        """Select the instances whose score is at least the threshold."""
        return self if (self.scores >= threshold).all() else self[self.scores >= threshold]

    def transform(self, affine: np.ndarray, **changes: Any) -> Self:
        """Map the instances to the pixels of another image.

        affine: (2, 3) matrix that maps x, y of these instances to x, y in the other image.
        changes: fields to replace as well, such as width and height.
        """
        raise NotImplementedError

    def plot(self, image: np.ndarray | None = None, **style: Any) -> Image:
        """Draw the instances on their image, each in its own colour.

        image: (H, W, 3) uint8 RGB. By default, the image that the result holds, or the image read
            again from its file, or a black image if neither exists.
        style: arguments of the drawing function in `tagwise.plot`, such as `draw_poses` or
            `draw_boxes`.
        """
        from PIL import Image

        image = self.image if image is None else image
        if image is None and self.file and os.path.exists(self.file):
            image = read_image(self.file)
        if image is None:
            if not self.width or not self.height:
                raise ValueError("this result has no image and no size: give plot(image)")
            image = np.zeros((self.height, self.width, 3), np.uint8)
        return Image.fromarray(self.draw(image, **style))

    @property
    def _contents(self) -> str:
        """A short description of the instances for `repr`."""
        raise NotImplementedError

    def draw(self, image: np.ndarray, **style: Any) -> np.ndarray:
        """Draw every instance on a copy of an image (H, W, 3) uint8 RGB, as in `plot`."""
        raise NotImplementedError

    def draw_tracked(self, image: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """Draw every instance in the colour of its track; numbers: (N,), the ids of the tracks."""
        return draw_outlines(image, self.boxes.astype(np.float64), self.scores, numbers)

    def explained(self) -> Image:
        """Draw the instances, with how they were grouped where the task supports it."""
        return self.plot()

    def tracked_keypoints(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Keypoints (N, K, 3) by which a tracker matches instances, and their OKS sigmas (K,).

        None for results without keypoints.
        """
        return None

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        """The contents of a plot of tags: R names, scores (N, R) and tags (N, R, D).

        Each of the R rows is a detection that instances consist of, such as a keypoint.
        """
        raise NotImplementedError

    def _header(self) -> dict[str, Any]:
        """The first fields of the JSON, which are the same for every task."""
        image = {"file": self.file, "width": self.width, "height": self.height}
        return {"image": image, "model": self.model, "task": self.task}


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Convert errors of reading JSON that does not contain predicted `what` to UserError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"this is not JSON of predicted {what} ({type(error).__name__}: {reason}); "
            "give a file that `tagwise predict` wrote"
        ) from error


def header_of(record: dict[str, Any]) -> dict[str, Any]:
    """Read the fields file, width, height and model of a result's JSON.

    Raises ValueError for values of another type, and for more pixels than an image may have.
    """
    image = record.get("image") or {}
    found = {"file": image.get("file"), "model": record.get("model")}
    for name, value in found.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is {brief(value)}; use text")
    size = (image.get("width"), image.get("height"))
    for side in size:
        if side is not None and (type(side) is not int or side < 1):
            raise ValueError(f"width and height are {brief(size)}; use whole numbers above 0")
    if None not in size:
        check_size(size, "the image")
    return {**found, "width": size[0], "height": size[1]}


def check_scores(scores: Any) -> np.ndarray:
    """Convert scores to float32. Raises ValueError unless they are from 0 to 1."""
    scores = np.asarray(scores, np.float32)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("a score is not from 0 to 1")
    return scores


def check_finite(values: np.ndarray, what: str) -> np.ndarray:
    """Return the values, which may be NaN. Raises ValueError for infinite ones."""
    if np.isinf(values).any():
        raise ValueError(f"{what} are not finite")
    return values


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """Round values in float64, so that JSON has 0.91 and not 0.9100000262260437."""
    return np.round(values.astype(np.float64), decimals)


def with_none(values: np.ndarray) -> list:
    """Convert to nested lists with None instead of NaN, which JSON does not support."""
    return np.where(np.isnan(values), None, values).tolist()
