"""Synthetic scenes of posed figures that overlap, over textured backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tagwise.data.instances import hide_keypoints, inside
from tagwise.data.regions import Size
from tagwise.data.sample import Sample
from tagwise.data.synthetic.pose_prior import GeneratedPoses, RealPoses
from tagwise.data.synthetic.scenes import Scenes, background, paint_textured, random_colour
from tagwise.geometry import keypoint_boxes
from tagwise.skeletons import COCO17, Skeleton, name_words

_FACE = {"nose", "eye", "ear", "head", "top"}
_TORSO = {"shoulder", "hip"}


class SyntheticPoses(Scenes):
    """Synthetic scenes with exact keypoints, with the interface of CocoKeypoints.

    skeleton: any skeleton. length: the number of scenes.
    seed: scene i depends only on (seed, i) and the other arguments.
    size: (width, height) of a scene in pixels. people: the minimum and maximum number of figures.
    tallness: the range of a figure's longer side, as a fraction of the scene's height.
    poses: an .npz file of real COCO-17 poses (see RealPoses); None generates poses.

    Keypoints have v = 2, or 1 where a figure in front hides them. Keypoints outside the scene and
    those that the real pose lacks have v = 0. Areas are those of whole silhouettes.

    >>> scenes = SyntheticPoses(length=3, size=(256, 256))
    >>> scenes[0].image.shape
    (256, 256, 3)
    """

    def __init__(
        self,
        skeleton: Skeleton = COCO17,
        length: int = 1000,
        seed: int = 0,
        size: Size = (512, 512),
        people: tuple[int, int] = (1, 8),
        tallness: tuple[float, float] = (0.25, 0.8),
        poses: str | Path | None = None,
    ) -> None:
        super().__init__(length, seed, size)
        self.skeleton, self.people, self.tallness = skeleton, people, tallness
        if poses is None:
            self.poses = GeneratedPoses(skeleton)
        else:
            self.poses = RealPoses(poses, skeleton, np.random.default_rng(seed))
        self.labelled = self.poses.labelled
        self.category_id = 1
        self._style = _FigureStyle.of(skeleton)

    @property
    def flip(self) -> tuple[int, ...]:
        """For each keypoint type, the type that it becomes in a mirrored image."""
        return self.skeleton.flip

    def labels_of_task(self) -> dict[str, Any]:
        """The task options that follow from the labels."""
        return {"skeleton": self.skeleton.to_dict()}

    def instances(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, K, 3), boxes (N, 4) and areas (N,) of a scene, float32."""
        sample = self.load(index)
        return sample.keypoints, sample.boxes, sample.areas

    def _scene(self, rng: np.random.Generator, index: int) -> Sample:
        width, height = self._size
        image = background(rng, self._size)
        owner = np.zeros((height, width), np.uint8)  # the number of the front figure, 0 for none
        count = int(rng.integers(self.people[0], self.people[1] + 1))
        # Draw from small to large, so that figures in front are larger.
        lengths = np.sort(rng.uniform(*self.tallness, count)) * height
        figures = []
        for number, length in enumerate(lengths, 1):
            keypoints = self._placed(rng, float(length))
            silhouette = self._style.paint(rng, image, keypoints)
            owner[silhouette] = number
            figures.append((keypoints, silhouette))
        return self._labels(image, owner, figures, index)

    def _placed(self, rng: np.random.Generator, length: float) -> np.ndarray:
        """The keypoints (K, 3), in pixels, of a random pose at a random place.

        length: the longer side of the pose in pixels, before it is rotated.
        """
        keypoints = self.poses.draw(rng)
        has = keypoints[:, 2] > 0
        corner, sides = np.split(keypoint_boxes(keypoints[None], least=1e-6)[0], 2)
        keypoints[has, :2] -= corner + sides / 2
        keypoints[has, :2] *= length / sides.max()
        angle = np.radians(rng.normal(0, 12))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        centre = rng.uniform(0.1, 0.9, 2) * self._size
        keypoints[has, :2] = keypoints[has, :2] @ turn + centre
        return keypoints

    def _annotation(self, sample: Sample, n: int) -> dict[str, Any]:
        points = sample.keypoints[n]
        return {
            "category_id": self.category_id,
            "keypoints": [round(float(v), 2) for v in points.ravel()],
            "num_keypoints": int((points[:, 2] > 0).sum()),
        }

    def _categories(self) -> list[dict[str, Any]]:
        return [self.skeleton.to_coco(self.category_id)]

    def _labels(self, image, owner, figures, index: int) -> Sample:
        keypoints, boxes, areas = [], [], []
        for number, (points, silhouette) in enumerate(figures, 1):
            hide_keypoints(points, ~inside(points, self._size))
            x, y = (np.rint(points[:, axis]).astype(int) for axis in (0, 1))
            hidden = (points[:, 2] > 0) & (owner[y, x] > number)
            points[hidden, 2] = 1
            if (points[:, 2] > 0).any():
                keypoints.append(points)
                boxes.append(cv2.boundingRect(silhouette.view(np.uint8)))
                areas.append(max(int(silhouette.sum()), 1))
        count = len(keypoints)
        return Sample(
            image=image,
            keypoints=np.array(keypoints, np.float32).reshape(count, len(self.skeleton), 3),
            boxes=np.array(boxes, np.float32).reshape(count, 4),
            areas=np.array(areas, np.float32),
            ignore=np.zeros(owner.shape, bool),
            labelled=self.labelled.copy(),
            image_id=index + 1,
            file=self.info(index).file,
        )


@dataclass(frozen=True)
class _FigureStyle:
    """How the figures of a skeleton are drawn.

    Limbs are capsules. A skeleton that has the types for them gets a torso and a head as well.

    limbs: the edges to draw. sides: the brightness of each type: 1, or less for left types. Left
    limbs are darker, because nothing else in a synthetic figure distinguishes left from right.
    face: the types that the head is drawn around. torso: the four types that it spans, or none.
    """

    limbs: tuple[tuple[int, int], ...]
    sides: tuple[float, ...]
    face: tuple[int, ...]
    torso: tuple[int, ...]

    @classmethod
    def of(cls, skeleton: Skeleton) -> _FigureStyle:
        words = [set(name_words(name)) for name in skeleton.keypoints]
        face = tuple(k for k, w in enumerate(words) if w & _FACE)
        torso = tuple(k for k, w in enumerate(words) if w & _TORSO)
        limbs = tuple(e for e in skeleton.edges if not (set(e) & set(face) and len(face) > 2))
        sides = tuple(0.55 if "left" in w else 1.0 for w in words)
        return cls(limbs, sides, face, torso if len(torso) == 4 else ())

    def paint(self, rng: np.random.Generator, image: np.ndarray, keypoints: np.ndarray):
        """Draw a figure (K, 3) into the image (H, W, 3) in place; return its mask (H, W) bool."""
        has = keypoints[:, 2] > 0
        span = keypoint_boxes(keypoints[None])[0, 2:].max()
        thick = max(2, round(span * rng.uniform(0.05, 0.09)))
        layer, mask = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
        at = [(int(x), int(y)) for x, y in np.rint(np.clip(keypoints[:, :2], -1e4, 1e4))]
        shirt, skin = np.array(random_colour(rng)), np.array(random_colour(rng))
        if self.torso and has[list(self.torso)].all():
            hull = cv2.convexHull(np.array([at[k] for k in self.torso], np.int32))
            for canvas, colour in ((layer, shirt), (mask, [255])):
                cv2.fillConvexPoly(canvas, hull, [float(v) for v in colour])
        for a, b in self.limbs:
            if has[a] and has[b]:
                shade = min(self.sides[a], self.sides[b])
                base = skin if a % 2 else shirt
                cv2.line(mask, at[a], at[b], 255, thick)
                cv2.line(layer, at[a], at[b], [float(v) for v in base * shade * 0.8], thick)
                light = [float(v) for v in np.minimum(base * shade * 1.25, 255)]
                cv2.line(layer, at[a], at[b], light, max(1, thick // 2), cv2.LINE_AA)
        self._head(layer, mask, at, has, thick, skin)
        for k in np.flatnonzero(has):  # dots, so that each type has its own appearance
            radius = max(1, thick // 3)
            cv2.circle(mask, at[k], radius, 255, -1)
            dot = np.array([90 + 40 * (k % 4), 60 + 35 * (k % 5), 230 - 30 * (k % 6)])
            cv2.circle(layer, at[k], radius, [float(v) for v in dot], -1)
        paint_textured(rng, image, layer, mask)
        return mask > 0

    def _head(self, layer, mask, at, has, thick: int, skin: np.ndarray) -> None:
        face = [at[k] for k in self.face if has[k]]
        if not face:
            return
        centre = tuple(int(v) for v in np.mean(face, 0))
        spread = max(np.hypot(x - centre[0], y - centre[1]) for x, y in face)
        radius = int(min(max(spread * 1.2, thick), 3 * thick))
        for canvas, colour in ((layer, skin), (mask, [255])):
            cv2.circle(canvas, centre, radius, [float(v) for v in colour], -1)
