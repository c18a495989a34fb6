"""The base class of results."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from PIL import Image

from tagwise.data.images import read_image
from tagwise.data.pictures import check_size
from tagwise.data.regions import Size
from tagwise.errors import UserError, brief, unknown_name
from tagwise.files import whole_file
from tagwise.plot.boxes import draw_outlines
from tagwise.plot.window import show_picture
from tagwise.results.pictures import write_picture
from tagwise.results.tables import Row, columns_of, data_frame, table_row, write_csv, write_parquet
from tagwise.results.yolo import yolo_line

if TYPE_CHECKING:
    import pandas


class Result:
    """The instances found in one image, best first.

    A result is a sequence whose items are results of one instance each.

    scores: (N,) float32 in [0, 1]. boxes: (N, 4) float32, x, y, width, height in pixels.
    file, width, height: the file and the size of the image, or None if unknown.
    image: (height, width, 3) uint8 RGB, kept so that `plot()` needs no arguments, or None.
    model: the name of the model that found the instances, or None.
    frame, time: of a frame of a video, its number, from 0, and its time in seconds; else None.
        `file` is then the video.
    task: the value of "task" in the JSON of the result.
    drawing: the function of `tagwise.plot` that draws results of this class.
    """

    task: ClassVar[str]
    drawing: ClassVar[Callable[..., np.ndarray]]
    scores: np.ndarray
    boxes: np.ndarray
    file: str | None
    width: int | None
    height: int | None
    image: np.ndarray | None
    model: str | None
    frame: int | None
    time: float | None

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

    # ------------------------------------------------------------------ pictures

    def plot(
        self,
        image: np.ndarray | None = None,
        *,
        line_width: float | None = None,
        labels: bool = True,
        conf: bool = True,
        **style: Any,
    ) -> Image.Image:
        """Draw the instances on their image, each in its own colour.

        image: (H, W, 3) uint8 RGB. By default, the image that the result holds, or the image read
            again from its file, or a black image if neither exists.
        line_width: in pixels; by default, it depends on the sizes of the image and the instances.
        labels: write a text at each instance: its class, if the model has several, and its score.
        conf: include the score in that text.
        style: further arguments of the drawing function in `tagwise.plot`: `draw_poses`,
            `draw_boxes` or `draw_masks`. Raises UserError for one that it does not have.
        """
        if line_width is not None:
            style["width"] = line_width
        known = list(inspect.signature(type(self).drawing).parameters)[2:]
        for name in style:
            if name not in known:
                names = ["line_width", *(each for each in known if each != "width")]
                raise unknown_name("argument of plot()", name, names)
        canvas = self._canvas() if image is None else image
        return Image.fromarray(self.draw(canvas, labels=labels, conf=conf, **style))

    def save(self, path: str | Path, **style: Any) -> Path:
        """Write the picture that `plot(**style)` draws, in the format of the suffix.

        The file appears complete or not at all. Returns its path. Raises UserError if it cannot be
        written.
        """
        return write_picture(self.plot(**style), path)

    def show(self, **style: Any) -> None:
        """Show the picture that `plot(**style)` draws: in a notebook, or in a window.

        Returns once the window is closed. Raises UserError if there is no display.
        """
        show_picture(self.plot(**style), f"{self.file or 'image'} - tagwise")

    def crop(self, margin: float = 0.0) -> list[Image.Image]:
        """Cut out each instance: the part of the image in its box, as one picture per instance.

        margin: what is added on each side, as a share of the longer side of the box. Parts of a
        box outside of the image are left out; a picture has at least one pixel.
        """
        if not margin >= 0:
            raise UserError(f"margin is {margin!r}; use a share of the box, 0 or more")
        image = self._canvas()
        height, width = image.shape[:2]
        pictures = []
        for x, y, w, h in self.boxes.astype(np.float64):
            more = margin * max(w, h)
            left, right = _span(x - more, x + w + more, width)
            top, bottom = _span(y - more, y + h + more, height)
            pictures.append(Image.fromarray(image[top:bottom, left:right]))
        return pictures

    def _canvas(self) -> np.ndarray:
        """The image of the result, see `plot`."""
        if self.image is not None:
            return self.image
        if self.file and self.frame is None and os.path.exists(self.file):
            return read_image(self.file)
        if not self.width or not self.height:
            raise ValueError("this result has no image and no size: give plot(image)")
        return np.zeros((self.height, self.width, 3), np.uint8)

    # ------------------------------------------------------------------ tables and label files

    @property
    def category_names(self) -> list[str]:
        """The name of the class of each instance."""
        raise NotImplementedError

    def columns(self) -> list[str]:
        """The names of the columns of `rows`, see `columns_of`."""
        return columns_of(())

    def rows(self) -> list[Row]:
        """One dict per instance, with the columns of `to_df`."""
        return [
            table_row(self.file, self.frame, n, name, score=score, box=box)
            for n, (name, score, box) in enumerate(
                zip(
                    self.category_names,
                    rounded(self.scores, 6).tolist(),
                    rounded(self.boxes, 2).tolist(),
                )
            )
        ]

    def to_df(self, library: str = "pandas") -> pandas.DataFrame:
        """Convert to a data frame with one row per instance; needs tagwise[tables].

        library: "pandas", or "polars" if it is installed.
        Columns: image, frame, instance (its number on the image), category, track, score, box_x,
        box_y, box_width, box_height, area of a mask, and NAME.x, NAME.y, NAME.score of each
        keypoint type. Coordinates are pixels.
        """
        return data_frame(self.columns(), self.rows(), library)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of `to_df` as a CSV file in UTF-8, and return its path."""
        return write_csv(self.columns(), self.rows(), path)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the table of `to_df` as a Parquet file, and return its path."""
        return write_parquet(self.columns(), self.rows(), path)

    def to_yolo(self, path: str | Path, conf: bool = False) -> Path:
        """Write a label file of Ultralytics YOLO: one line per instance, and return its path.

        A line has the number of the class, then fractions of the image: the box as x and y of its
        centre, width and height, and for poses x, y and visibility (2, or 0 0 0 for a missing
        keypoint) of each keypoint. For masks it has the outline instead, one line per part.
        conf: add the score to each line.
        """
        if not self.width or not self.height:
            raise UserError("YOLO labels are fractions of the image, and its size is unknown")
        size = (self.width, self.height)
        lines = [
            yolo_line(number, [*values, score] if conf else values)
            for n, score in enumerate(rounded(self.scores, 6).tolist())
            for number, values in self._yolo(n, size)
        ]
        path = Path(path)
        with whole_file(path) as file:
            file.write("".join(lines).encode())
        return path

    def _yolo(self, n: int, size: Size) -> list[tuple[int, list[float]]]:
        """The class and the numbers of each line for instance n."""
        raise NotImplementedError

    # ------------------------------------------------------------------ what tasks define

    @property
    def _contents(self) -> str:
        """A short description of the instances for `repr`."""
        raise NotImplementedError

    def draw(self, image: np.ndarray, **style: Any) -> np.ndarray:
        """Draw every instance on a copy of an image (H, W, 3) uint8 RGB, as in `plot`."""
        return type(self).drawing(image, self, **style)

    def draw_tracked(self, image: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        """Draw every instance in the colour of its track; numbers: (N,), the ids of the tracks."""
        return draw_outlines(image, self.boxes.astype(np.float64), self.scores, numbers)

    def explained(self) -> Image.Image:
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
        frame = {} if self.frame is None else {"frame": self.frame, "time": _seconds(self.time)}
        image = {"file": self.file, "width": self.width, "height": self.height}
        return {**frame, "image": image, "model": self.model, "task": self.task}


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
    """Read the fields file, width, height, model, frame and time of a result's JSON.

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
    frame, time = record.get("frame"), record.get("time")
    if frame is not None and (type(frame) is not int or frame < 0):
        raise ValueError(f"frame is {brief(frame)}; use a whole number, 0 or more")
    if time is not None and not (type(time) in (int, float) and np.isfinite(time)):
        raise ValueError(f"time is {brief(time)}; use seconds")
    return {**found, "width": size[0], "height": size[1], "frame": frame, "time": time}


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


def _span(low: float, high: float, side: int) -> tuple[int, int]:
    """The pixels from `low` to `high` that are in an image, at least one."""
    start = min(max(int(np.floor(low)), 0), side - 1)
    return start, max(min(int(np.ceil(high)), side), start + 1)


def _seconds(time: float | None) -> float | None:
    return None if time is None else round(time, 4)
