"""The base class of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tagwise.data.images import read_image
from tagwise.errors import UserError
from tagwise.plot.boxes import draw_outlines

if TYPE_CHECKING:
    from PIL.Image import Image


class Result:
    """The instances found in one image, best first.

    A result is a sequence: its items are results of one instance each.

    scores: (N,) float32 in [0, 1].
    file, width, height: the image they were found in, where known.
    image: (height, width, 3) uint8 RGB, kept so that `plot()` needs nothing else.
    model: name of the model that found them.
    task: the value of "task" in its JSON.
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
        """The instances that an index, slice, list or boolean mask selects."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        where = f" in {self.file}" if self.file else ""
        return f"{type(self).__name__}({len(self)} of {self._contents}{where})"

    def above(self, threshold: float) -> Self:
        """The instances whose score is at least the threshold."""
        return self if (self.scores >= threshold).all() else self[self.scores >= threshold]

    def transform(self, affine: np.ndarray, **changes: Any) -> Self:
        """The same instances in the pixels of another image.

        affine: (2, 3) matrix that takes x, y of these instances to the new ones.
        changes: fields to replace as well, such as width and height.
        """
        raise NotImplementedError

    def plot(self, image: np.ndarray | None = None, **style: Any) -> Image:
        """A picture of the image with every instance in a colour of its own.

        image: (H, W, 3) uint8 RGB, by default the image that the instances were found in: the one
            they carry, or their file read again; black where there is neither.
        style: arguments of the function of `tagwise.plot` that draws them, such as
            `draw_poses` or `draw_boxes`.
        """
        from PIL import Image

        image = self.image if image is None else image
        if image is None and self.file and Path(self.file).exists():
            image = read_image(self.file)
        if image is None:
            if not self.width or not self.height:
                raise ValueError("this result carries no image and no size: give plot(image)")
            image = np.zeros((self.height, self.width, 3), np.uint8)
        return Image.fromarray(self.draw(image, **style))

    @property
    def _contents(self) -> str:
        """What the instances are, in one or two words, for `repr`."""
        raise NotImplementedError

    def draw(self, image: np.ndarray, **style: Any) -> np.ndarray:
        """The image (H, W, 3) uint8 RGB with every instance drawn on it, as in `plot`."""
        raise NotImplementedError

    def draw_tracked(self, image: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """The image with every instance in the colour of its track; numbers: (N,) ids."""
        return draw_outlines(image, self.boxes.astype(np.float64), numbers)

    def explained(self) -> Image:
        """A picture of the instances that also shows how they were grouped, if it can."""
        return self.plot()

    def tracked_keypoints(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Keypoints (N, K, 3) by which a tracker tells instances apart, and their OKS sigmas (K,).

        None for results without keypoints.
        """
        return None

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        """What a plot of tags shows: R names, scores (N, R) and tags (N, R, D).

        The rows are the detections of an instance, such as its keypoints.
        """
        raise NotImplementedError

    def _header(self) -> dict[str, Any]:
        """The fields that the JSON of every task begins with."""
        image = {"file": self.file, "width": self.width, "height": self.height}
        return {"image": image, "model": self.model, "task": self.task}


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise a UserError where reading JSON that does not hold predicted `what` fails."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"this is not JSON of predicted {what} ({type(error).__name__}: {error}); "
            "give a file that `tagwise predict` wrote"
        ) from error


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """Rounded values in float64, so that JSON has 0.91 and not 0.9100000262260437."""
    return np.round(values.astype(np.float64), decimals)


def with_none(values: np.ndarray) -> list:
    """Nested lists with None instead of NaN, which JSON does not have."""
    return np.where(np.isnan(values), None, values).tolist()
