"""Masks of one image, as a label map, and their conversion to JSON, COCO results and polygons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tagwise.data.regions import Size
from tagwise.errors import optional
from tagwise.geometry import to_xyxy
from tagwise.label_maps import decode_labels, encode_labels, label_map_instances
from tagwise.plot.masks import draw_masks
from tagwise.results.base import (
    Result,
    check_finite,
    check_scores,
    header_of,
    reading,
    rounded,
    with_none,
)
from tagwise.results.tables import Row
from tagwise.results.yolo import fractions
from tagwise.runtime import compiled

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, repr=False)
class Masks(Result):
    """The instances found in one image as masks, best first.

    labels: (H, W) int32 label map; n + 1 is instance n, 0 is the background.
    scores: (N,) float32 in [0, 1].
    tags: (N, D) float32, the mean tag of each instance.
    file, width, height, image, model, frame, time: see `Result`.

    >>> cells = Masks(np.array([[1, 1, 0, 2]]), np.array([0.9, 0.8]))
    >>> cells.boxes.tolist(), cells.areas.tolist()
    ([[0.0, 0.0, 2.0, 1.0], [3.0, 0.0, 1.0, 1.0]], [2.0, 1.0])
    """

    labels: np.ndarray
    scores: np.ndarray
    tags: np.ndarray | None = None
    file: str | None = None
    width: int | None = None
    height: int | None = None
    image: np.ndarray | None = None
    model: str | None = None
    frame: int | None = None
    time: float | None = None

    task: ClassVar[str] = "pixels"
    drawing: ClassVar[Callable[..., np.ndarray]] = draw_masks

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        N = len(scores)
        tags = np.zeros((N, 0)) if self.tags is None else np.asarray(self.tags)
        if labels.ndim != 2 or labels.dtype.kind not in "iu" or tags.shape[:1] != (N,):
            raise ValueError(
                f"with scores ({N},), labels must be (H, W) integers and tags ({N}, D), not "
                f"{labels.dtype} {labels.shape} and {tags.shape}"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() <= N:
            raise ValueError(f"labels must be from 0 to {N}, not {labels.min()} to {labels.max()}")
        given = {"height": self.height, "width": self.width}
        for (name, value), side in zip(given.items(), labels.shape):
            if value not in (None, side):
                raise ValueError(f"{name} is {value}, but labels are {labels.shape}")
            object.__setattr__(self, name, side)
        object.__setattr__(self, "labels", labels.astype(np.int32, copy=False))
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "tags", tags.astype(np.float32, copy=False))

    def __getitem__(self, which: Any) -> Masks:
        which = np.atleast_1d(np.arange(len(self))[which])
        numbers = np.zeros(len(self) + 1, np.int32)
        numbers[which + 1] = np.arange(1, len(which) + 1)
        return replace(
            self, labels=numbers[self.labels], scores=self.scores[which], tags=self.tags[which]
        )

    @property
    def _contents(self) -> str:
        return "masks"

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, tight boxes x, y, width, height; x = 0 is the left edge of the image."""
        return label_map_instances(self.labels, len(self))[0]

    @property
    def areas(self) -> np.ndarray:
        """(N,) float32, in pixels."""
        return label_map_instances(self.labels, len(self))[1]

    def mask(self, n: int) -> np.ndarray:
        """(H, W) bool, the pixels of instance n."""
        return self.labels == range(len(self))[n] + 1

    def polygons(self) -> list[list[np.ndarray]]:
        """The outlines of each instance, as one polygon per connected part.

        A polygon is (M, 2) float32, x, y along the edges of pixels; x = 0 is the left edge of the
        image, as in COCO. Holes have no outline.
        """
        boxes = self.boxes.astype(int)
        return [_outlines(self.labels, n + 1, box) for n, box in enumerate(boxes)]

    def transform(self, affine: np.ndarray, **changes: Any) -> Masks:
        """Map the masks to the pixels of another image, by nearest neighbour.

        affine: (2, 3) matrix from pixels of this image, where (0, 0) is the centre of the top-left
            pixel, to pixels of the other image.
        changes: fields to replace as well; width and height are the size of the other image, by
            default that of this one.
        """
        import cv2

        changes = {"width": self.width, "height": self.height, **changes}
        size = (int(changes["width"]), int(changes["height"]))
        matrix = np.asarray(affine, np.float64)[:2]
        labels = cv2.warpAffine(self.labels, matrix, size, flags=cv2.INTER_NEAREST)
        return replace(self, labels=labels, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON, in the layout of a `.predictions.json` file.

        Masks are compressed COCO RLEs. Tags are rounded to four decimals and scores to six.
        """
        columns = {
            "score": rounded(self.scores, 6).tolist(),
            "box": self.boxes.tolist(),
            "area": self.areas.tolist(),
            "mask": encode_labels(self.labels, len(self)),
            "tags": with_none(rounded(self.tags, 4)),
        }
        instances = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return {**self._header(), "instances": instances}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Masks:
        """Create Masks from the output of `to_dict`. Raises UserError for other JSON."""
        with reading("masks"):
            instances, header = record["instances"], header_of(record)
            tags = [instance.get("tags", []) for instance in instances]
            return cls(
                decode_labels(
                    [instance["mask"] for instance in instances],
                    (header["height"], header["width"]),
                ),
                check_scores([instance["score"] for instance in instances]),
                check_finite(np.array(tags, np.float32).reshape(len(instances), -1), "tags")
                if instances
                else None,
                **header,
            )

    @property
    def category_names(self) -> list[str]:
        """The word "instance" for each mask, since there are no classes."""
        return ["instance"] * len(self)

    def rows(self) -> list[Row]:
        return [{**row, "area": area} for row, area in zip(super().rows(), self.areas.tolist())]

    def _yolo(self, n: int, size: Size) -> list[tuple[int, list[float]]]:
        outlines = _outlines(self.labels, n + 1, self.boxes[n].astype(int))
        return [(0, fractions(outline, size)) for outline in outlines]

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """Convert to COCO results, one dict per instance with a "segmentation" (RLE) and a box."""
        masks, scores = encode_labels(self.labels, len(self)), rounded(self.scores, 6)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": mask,
                "bbox": box,
                "score": score,
            }
            for mask, box, score in zip(masks, self.boxes.tolist(), scores.tolist())
        ]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with masks, and tags in `data`.

        Requires tagwise[viz].
        """
        supervision = optional("supervision", "viz", "to_supervision() needs supervision")
        return supervision.Detections(
            xyxy=to_xyxy(self.boxes),
            mask=self.labels == np.arange(1, len(self) + 1)[:, None, None],
            confidence=self.scores,
            data={"tags": self.tags},
        )

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        return ("mean of the pixels",), self.scores[:, None], self.tags[:, None]


def _outlines(labels: np.ndarray, label: int, box: np.ndarray) -> list[np.ndarray]:
    """The outer outlines of the pixels of one label in its box, along the edges of the pixels.

    OpenCV's contours run through the centres of pixels. The mask is therefore drawn on a grid of
    twice the resolution, whose odd coordinates are pixels and whose even coordinates are the edges
    between them, and dilated by one. Its contours then follow the edges, except at inner corners,
    which they cut with a diagonal step of one cell.
    """
    import cv2

    x, y, width, height = box
    grid = np.zeros((2 * height + 1, 2 * width + 1), np.uint8)
    grid[1::2, 1::2] = labels[y : y + height, x : x + width] == label
    grid = cv2.dilate(grid, np.ones((3, 3), np.uint8))
    found, _ = cv2.findContours(grid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [_squared(np.ascontiguousarray(part[:, 0]), x, y) for part in found]


@compiled()
def _squared(points, x, y):
    """Replace each diagonal step of one cell in a closed contour (M, 2) int32 by a corner.

    The corner has even coordinates. The ends of the step, the only points with an odd coordinate,
    are then on straight lines and are removed. Coordinates are halved and shifted by x, y; float32.
    """
    kept, count = np.empty((2 * len(points), 2), np.float32), 0
    for m in range(len(points)):
        x1, y1 = points[m, 0], points[m, 1]
        x2, y2 = points[(m + 1) % len(points), 0], points[(m + 1) % len(points), 1]
        if x1 % 2 == 0 and y1 % 2 == 0:
            kept[count, 0], kept[count, 1] = x1 / 2 + x, y1 / 2 + y
            count += 1
        if abs(x2 - x1) == 1 and abs(y2 - y1) == 1:
            kept[count, 0] = (x1 if x1 % 2 == 0 else x2) / 2 + x
            kept[count, 1] = (y1 if y1 % 2 == 0 else y2) / 2 + y
            count += 1
    return kept[:count].copy()
