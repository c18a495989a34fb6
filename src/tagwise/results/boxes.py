"""Boxes of one image, found as pairs of corners, and their conversion to JSON and COCO results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tagwise.data.instances import clip_boxes
from tagwise.data.regions import Size
from tagwise.data.transforms import Affine
from tagwise.errors import brief, optional
from tagwise.geometry import to_xyxy
from tagwise.plot.boxes import draw_boxes
from tagwise.results.base import (
    Result,
    check_finite,
    check_scores,
    header_of,
    reading,
    rounded,
    with_none,
)
from tagwise.results.yolo import box_numbers

if TYPE_CHECKING:
    import supervision
    from PIL.Image import Image


@dataclass(frozen=True, eq=False, repr=False)
class Boxes(Result):
    """The objects found in one image as boxes, best first.

    boxes: (N, 4) float32, x, y, width, height in pixels; x = 0 is the left edge of the image.
    scores: (N,) float32 in [0, 1].
    classes: (N,) int64, indices into `names`.
    names: the names of the classes.
    corner_scores: (N, 2) float32, the scores of the top-left and the bottom-right corner.
    tags: (N, 2, D) float32, the tags of both corners.
    file, width, height, image, model, frame, time: see `Result`.

    >>> cells = Boxes(np.array([[10, 20, 30, 40]]), np.array([0.9]), np.array([1]), ("RBC", "WBC"))
    >>> len(cells), cells.to_coco(7, [1, 2])[0]["category_id"]
    (1, 2)
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    corner_scores: np.ndarray | None = None
    tags: np.ndarray | None = None
    file: str | None = None
    width: int | None = None
    height: int | None = None
    image: np.ndarray | None = None
    model: str | None = None
    frame: int | None = None
    time: float | None = None

    task: ClassVar[str] = "corners"
    drawing: ClassVar[Callable[..., np.ndarray]] = draw_boxes

    def __post_init__(self) -> None:
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        N = len(scores)
        boxes = np.asarray(self.boxes, np.float32)
        classes = np.asarray(self.classes, np.int64).reshape(-1)
        given = self.corner_scores
        corner_scores = np.zeros((N, 2)) if given is None else np.asarray(given)
        tags = np.zeros((N, 2, 0)) if self.tags is None else np.asarray(self.tags)
        if N == 0:
            boxes, corner_scores = boxes.reshape(0, 4), corner_scores.reshape(0, 2)
            tags = tags.reshape(0, 2, tags.shape[-1] if tags.ndim == 3 else 0)
        fits = boxes.shape == (N, 4) and classes.shape == (N,) and corner_scores.shape == (N, 2)
        if not fits or tags.ndim != 3 or tags.shape[:2] != (N, 2):
            raise ValueError(
                f"with scores ({N},), boxes must be ({N}, 4), classes ({N},), corner_scores "
                f"({N}, 2) and tags ({N}, 2, D), not {boxes.shape}, {classes.shape}, "
                f"{corner_scores.shape} and {tags.shape}"
            )
        if N and not (classes.min() >= 0 and classes.max() < len(self.names)):
            raise ValueError(f"classes must be from 0 to {len(self.names) - 1}, not {classes}")
        values = {"boxes": boxes, "scores": scores, "classes": classes}
        values |= {"corner_scores": corner_scores.astype(np.float32), "names": tuple(self.names)}
        for name, value in {**values, "tags": tags.astype(np.float32)}.items():
            object.__setattr__(self, name, value)

    def __getitem__(self, which: Any) -> Boxes:
        which = np.atleast_1d(np.arange(len(self))[which])
        picked = ("boxes", "scores", "classes", "corner_scores", "tags")
        return replace(self, **{name: getattr(self, name)[which] for name in picked})

    @property
    def _contents(self) -> str:
        return "/".join(self.names) if len(self.names) < 4 else f"{len(self.names)} classes"

    def transform(self, affine: np.ndarray, **changes: Any) -> Boxes:
        """Map the boxes to the pixels of another image, as the upright box around each moved box.

        affine: (2, 3) matrix from pixels of this image, where (0, 0) is the centre of the top-left
            pixel, to pixels of the other image.
        changes: fields to replace as well; with width and height, boxes are clipped to the image.
        """
        moved = Affine(np.asarray(affine, np.float64)[:2]).boxes(self.boxes.astype(np.float64))
        if changes.get("width") and changes.get("height"):
            moved = clip_boxes(moved, (changes["width"], changes["height"]))
        return replace(self, boxes=moved, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON, in the layout of a `.predictions.json` file.

        Coordinates are rounded to a hundredth of a pixel, corner scores and tags to four decimals,
        and the scores of instances, which rank them, to six.
        """
        columns = {
            "score": rounded(self.scores, 6).tolist(),
            "box": rounded(self.boxes, 2).tolist(),
            "class": [self.names[c] for c in self.classes],
            "class_id": self.classes.tolist(),
            "corner_scores": rounded(self.corner_scores, 4).tolist(),
            "tags": with_none(rounded(self.tags, 4)),
        }
        instances = [dict(zip(columns, row)) for row in zip(*columns.values())]
        return {**self._header(), "classes": list(self.names), "instances": instances}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Boxes:
        """Create Boxes from the output of `to_dict`. Raises UserError for other JSON."""
        with reading("boxes"):
            instances, names = record["instances"], record["classes"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"classes are {brief(names)}; use a list of names")
            columns = {
                name: [instance[key] for instance in instances]
                for name, key in (("boxes", "box"), ("scores", "score"), ("classes", "class_id"))
            }
            for name in ("corner_scores", "tags"):
                if instances and name in instances[0]:
                    values = np.array([i[name] for i in instances], np.float32)
                    columns[name] = check_finite(values, name)
            check_scores(columns.get("corner_scores", []))
            columns["scores"] = check_scores(columns["scores"])
            boxes = np.array(columns["boxes"], np.float32)
            if not np.isfinite(boxes).all():
                raise ValueError("a box is not finite")
            return cls(**{**columns, "boxes": boxes}, names=tuple(names), **header_of(record))

    @property
    def category_names(self) -> list[str]:
        """The name of the class of each box."""
        return [self.names[number] for number in self.classes]

    def _yolo(self, n: int, size: Size) -> list[tuple[int, list[float]]]:
        return [(int(self.classes[n]), box_numbers(self.boxes[n].astype(np.float64), size))]

    def to_coco(
        self, image_id: int = 1, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Convert to COCO results, one dict per box.

        category_ids: the category of each class; by default 1, 2, ... in the order of `names`.
        """
        category_ids = range(1, len(self.names) + 1) if category_ids is None else category_ids
        return [
            {"image_id": image_id, "category_id": category_ids[c], "bbox": box, "score": score}
            for c, box, score in zip(
                self.classes, rounded(self.boxes, 2).tolist(), rounded(self.scores, 6).tolist()
            )
        ]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with tags in `data`; requires tagwise[viz]."""
        supervision = optional("supervision", "viz", "to_supervision() needs supervision")
        names = np.array([self.names[c] for c in self.classes], dtype=object)
        return supervision.Detections(
            xyxy=to_xyxy(self.boxes),
            confidence=self.scores,
            class_id=self.classes,
            data={"class_name": names, "tags": self.tags},
        )

    def explained(self) -> Image:
        """Draw the boxes with their two corners joined, in the colours of the corners' tags."""
        return self.plot(colours="tag", corners=True, labels=False)

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        return ("top-left corner", "bottom-right corner"), self.corner_scores, self.tags
