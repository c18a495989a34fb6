"""Poses of one image, and their conversion to JSON, COCO results and supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tagwise.data.regions import Size
from tagwise.errors import optional
from tagwise.geometry import keypoint_boxes, present_keypoints
from tagwise.plot.poses import draw_poses
from tagwise.results.base import (
    Result,
    check_finite,
    check_scores,
    header_of,
    reading,
    rounded,
    with_none,
)
from tagwise.results.heads import enclose_heads
from tagwise.results.tables import Row, columns_of
from tagwise.results.yolo import box_numbers, keypoint_numbers
from tagwise.skeletons import Skeleton

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False, repr=False)
class Poses(Result):
    """The poses found in one image, best first.

    keypoints: (N, K, 3) float32, x, y in pixels of the image and score in [0, 1]. A missing
        keypoint is (NaN, NaN, 0).
    scores: (N,) float32 in [0, 1].
    tags: (N, K, D) float32, the tag at each keypoint; NaN where it is missing.
    skeleton: the names of the K keypoint types and the edges between them.
    file, width, height, image, model, frame, time: see `Result`.

    >>> skeleton = Skeleton.from_coco({"name": "pin", "keypoints": ["top", "foot"]})
    >>> poses = Poses(np.array([[[1, 2, 0.9], [1, 9, 0.7]]]), np.array([0.8]), None, skeleton)
    >>> len(poses), poses.boxes.tolist()
    (1, [[1.0, 2.0, 0.0, 7.0]])
    """

    keypoints: np.ndarray
    scores: np.ndarray
    tags: np.ndarray | None
    skeleton: Skeleton
    file: str | None = None
    width: int | None = None
    height: int | None = None
    image: np.ndarray | None = None
    model: str | None = None
    frame: int | None = None
    time: float | None = None

    task: ClassVar[str] = "pose"
    drawing: ClassVar[Callable[..., np.ndarray]] = draw_poses

    def __post_init__(self) -> None:
        K = len(self.skeleton.keypoints)
        keypoints = np.asarray(self.keypoints, np.float32)
        keypoints = keypoints.reshape(-1, K, 3) if keypoints.size == 0 else keypoints
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        N = len(keypoints)
        tags = np.empty((N, K, 0)) if self.tags is None else np.asarray(self.tags)
        if tags.size == 0:
            tags = tags.reshape(N, K, tags.shape[-1] if tags.ndim == 3 else 0)
        if keypoints.shape != (N, K, 3) or scores.shape != (N,) or tags.shape[:2] != (N, K):
            raise ValueError(
                f"keypoints must be (N, {K}, 3), scores (N,) and tags (N, {K}, D), "
                f"not {keypoints.shape}, {scores.shape} and {tags.shape}"
            )
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "tags", tags.astype(np.float32, copy=False))

    def __getitem__(self, which: Any) -> Poses:
        """Select poses with an index, slice, list or boolean mask; always returns Poses."""
        which = np.atleast_1d(np.arange(len(self))[which])
        return replace(
            self, keypoints=self.keypoints[which], scores=self.scores[which], tags=self.tags[which]
        )

    @property
    def _contents(self) -> str:
        return self.skeleton.name

    @property
    def present(self) -> np.ndarray:
        """(N, K) bool, True where a keypoint was found."""
        return present_keypoints(self.keypoints)

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, x, y, width, height around the found keypoints; zeros without any.

        Boxes of people also enclose the head, which is estimated; see `enclose_heads`. The average
        precision of keypoints does not depend on boxes.
        """
        around = keypoint_boxes(self.keypoints)
        return enclose_heads(around, self.keypoints, self.skeleton).astype(np.float32)

    def transform(self, affine: np.ndarray, **changes: Any) -> Poses:
        """Map the poses to the pixels of another image.

        affine: (2, 3) matrix from pixels of this image to pixels of the other image.
        changes: fields to replace as well, such as width and height.
        """
        affine = np.asarray(affine, np.float64)
        keypoints = self.keypoints.copy()
        keypoints[..., :2] = keypoints[..., :2] @ affine[:2, :2].T + affine[:2, 2]
        return replace(self, keypoints=keypoints, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON, in the layout of a `.predictions.json` file.

        Coordinates are rounded to a hundredth of a pixel, scores of keypoints and tags to four
        decimals, and the scores of instances, which rank them, to six.
        """
        instances = [
            {"score": score, "box": box, "keypoints": keypoints, "tags": tags}
            for score, box, keypoints, tags in zip(
                rounded(self.scores, 6).tolist(),
                rounded(self.boxes, 2).tolist(),
                self._plain_keypoints(missing=None),
                with_none(rounded(self.tags, 4)),
            )
        ]
        return {
            **self._header(),
            "keypoints": list(self.skeleton.keypoints),
            "skeleton": [list(edge) for edge in self.skeleton.edges],
            "instances": instances,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any], skeleton: Skeleton | None = None) -> Poses:
        """Create Poses from the output of `to_dict`. Raises UserError for other JSON.

        skeleton: None takes the keypoint types and the edges from the JSON.
        """
        with reading("poses"):
            names, instances = record["keypoints"], record["instances"]
            if skeleton is None:
                edges = [[a + 1, b + 1] for a, b in record.get("skeleton", [])]
                category = {"name": "predicted", "keypoints": names, "skeleton": edges}
                skeleton = Skeleton.from_coco(category)
            keypoints = np.array([i["keypoints"] for i in instances], np.float32)
            keypoints = check_finite(keypoints.reshape(-1, len(names), 3), "keypoints")
            check_scores(keypoints[..., 2])
            tags = [i["tags"] for i in instances] if instances and "tags" in instances[0] else None
            return cls(
                keypoints=keypoints,
                scores=check_scores([i["score"] for i in instances]),
                tags=None if tags is None else check_finite(np.array(tags, np.float32), "tags"),
                skeleton=skeleton,
                **header_of(record),
            )

    @property
    def category_names(self) -> list[str]:
        """The name of the skeleton, for each pose."""
        return [self.skeleton.name] * len(self)

    def columns(self) -> list[str]:
        return columns_of(self.skeleton.keypoints)

    def rows(self) -> list[Row]:
        rows = super().rows()
        for row, keypoints in zip(rows, self._plain_keypoints(missing=None)):
            for name, values in zip(self.skeleton.keypoints, keypoints):
                row |= {f"{name}.{key}": value for key, value in zip(("x", "y", "score"), values)}
        return rows

    def _yolo(self, n: int, size: Size) -> list[tuple[int, list[float]]]:
        keypoints = np.nan_to_num(self.keypoints[n].astype(np.float64))
        keypoints[:, 2] = 2.0 * self.present[n]
        box = box_numbers(self.boxes[n].astype(np.float64), size)
        return [(0, [*box, *keypoint_numbers(keypoints, size)])]

    def to_coco(self, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
        """Convert to COCO results, one dict per instance, with missing keypoints as 0, 0, 0."""
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": [value for keypoint in keypoints for value in keypoint],
                "score": score,
            }
            for keypoints, score in zip(
                self._plain_keypoints(missing=0), rounded(self.scores, 6).tolist()
            )
        ]

    def to_supervision(self) -> supervision.KeyPoints:
        """Convert to `supervision.KeyPoints` with tags in `data`; requires tagwise[viz]."""
        supervision = optional("supervision", "viz", "to_supervision() needs supervision")
        xy = np.nan_to_num(self.keypoints[..., :2])
        class_id = np.zeros(len(self), int)
        return supervision.KeyPoints(
            xy=xy,
            keypoint_confidence=self.keypoints[..., 2],
            detection_confidence=self.scores,
            visible=self.present,
            class_id=class_id,
            data={"tags": self.tags},
        )

    def draw_tracked(self, image: np.ndarray, numbers: Sequence[int]) -> np.ndarray:
        return draw_poses(image, self, numbers=numbers, labels=False)

    def tracked_keypoints(self) -> tuple[np.ndarray, np.ndarray]:
        return self.keypoints, np.array(self.skeleton.sigmas)

    def tag_rows(self) -> tuple[Sequence[str], np.ndarray, np.ndarray]:
        return self.skeleton.keypoints, self.keypoints[..., 2], self.tags

    def _plain_keypoints(self, missing: float | None) -> list[list[list[float | None]]]:
        """[x, y, score] lists with `missing` instead of the coordinates of missing keypoints."""
        rows = rounded(self.keypoints, 2)
        rows[..., 2] = rounded(self.keypoints[..., 2], 4)
        plain = rows.tolist()
        for n, k in zip(*np.nonzero(~self.present)):
            plain[n][k] = [missing, missing, 0]
        return plain
