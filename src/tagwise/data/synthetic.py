"""Scenes made up by the program: figures in poses, one before the other, over textures.

For tests, for first runs without any data, and for pretraining.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tagwise.data.images import shrink
from tagwise.data.instances import hide_keypoints, inside
from tagwise.data.photos import ImageInfo
from tagwise.data.pose_prior import MadeUpPoses, RealPoses
from tagwise.data.regions import Size
from tagwise.data.report import Problem
from tagwise.data.sample import Sample
from tagwise.data.transforms import reduced
from tagwise.skeletons import COCO17, Skeleton, name_words

_FACE = {"nose", "eye", "ear", "head", "top"}
_TORSO = {"shoulder", "hip"}


class SyntheticPoses:
    """Made-up scenes with exact keypoints, as a dataset like CocoKeypoints.

    skeleton: any. length: number of scenes. seed: scene i depends on (seed, i) alone.
    size: (width, height) of a scene in pixels. people: how many figures at least and at most.
    tallness: a figure's longer side as a share of the scene's height.
    poses: an .npz of real COCO-17 poses (see RealPoses); None makes poses up.

    Keypoints have v = 2, or 1 where a figure in front hides them; what lies outside the scene,
    or the real pose lacks, has 0. Areas are those of whole silhouettes.

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
        self.skeleton, self.seed, self.people, self.tallness = skeleton, seed, people, tallness
        self._length, self._size = length, (int(size[0]), int(size[1]))
        if poses is None:
            self.poses = MadeUpPoses(skeleton)
        else:
            self.poses = RealPoses(poses, skeleton, np.random.default_rng(seed))
        self.labelled = self.poses.labelled
        self.category_id = 1
        self.report: list[Problem] = []
        self._look = _Look.of(skeleton)

    def __len__(self) -> int:
        return self._length

    @property
    def ids(self) -> list[int]:
        """The image ids: the scenes' numbers from 1."""
        return list(range(1, self._length + 1))

    def info(self, index: int) -> ImageInfo:
        """The file name that `save` gives a scene, and its size."""
        return ImageInfo(f"{index + 1:06d}.png", *self._size)

    @property
    def flip(self) -> tuple[int, ...]:
        """The type that each keypoint type becomes in a mirror."""
        return self.skeleton.flip

    def labels_of_task(self) -> dict[str, Any]:
        """The options of a task that the labels settle."""
        return {"skeleton": self.skeleton.to_dict()}

    def size(self, index: int) -> Size:
        """Width and height in pixels."""
        return self._size

    def instances(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (N, K, 3), boxes (N, 4) and areas (N,) of a scene, float32."""
        sample = self.load(index)
        return sample.keypoints, sample.boxes, sample.areas

    def __getitem__(self, index: int) -> Sample:
        return self.load(index)

    def load(self, index: int, reduce: int = 1) -> Sample:
        """Draw a scene; reduce (1, 2, 4 or 8) shrinks it."""
        if not 0 <= index < self._length:
            raise IndexError(f"scene {index} of {self._length}")
        rng = np.random.default_rng((self.seed, index))
        sample = self._scene(rng, index)
        sample.image = shrink(sample.image, reduce)
        return reduced(sample, reduce)

    def _scene(self, rng: np.random.Generator, index: int) -> Sample:
        width, height = self._size
        image = background(rng, self._size)
        owner = np.zeros((height, width), np.uint8)  # which figure is in front, 0 for none
        count = int(rng.integers(self.people[0], self.people[1] + 1))
        # nearer figures are larger, and drawn later
        tall = np.sort(rng.uniform(*self.tallness, count)) * height
        figures = []
        for number, length in enumerate(tall, 1):
            keypoints = self._placed(rng, float(length))
            silhouette = self._look.paint(rng, image, keypoints)
            owner[silhouette] = number
            figures.append((keypoints, silhouette))
        return self._labels(image, owner, figures, index)

    def _placed(self, rng: np.random.Generator, length: float) -> np.ndarray:
        """A random pose of this length at a random place; its keypoints (K, 3) in pixels."""
        keypoints = self.poses.draw(rng)
        has = keypoints[:, 2] > 0
        xy = keypoints[has, :2]
        low, high = xy.min(0), xy.max(0)
        keypoints[has, :2] = (xy - (low + high) / 2) * (length / max((high - low).max(), 1e-6))
        angle = np.radians(rng.normal(0, 12))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        place = rng.uniform(0.1, 0.9, 2) * self._size
        keypoints[has, :2] = keypoints[has, :2] @ turn + place
        return keypoints

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

    def to_coco(self) -> dict[str, Any]:
        """All scenes' labels as the content of a COCO annotation file."""
        images, annotations = [], []
        for index in range(len(self)):
            file, width, height = self.info(index)
            images.append({"id": index + 1, "file_name": file, "width": width, "height": height})
            for points, box, area in zip(*self.instances(index)):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index + 1,
                        "category_id": self.category_id,
                        "iscrowd": 0,
                        "keypoints": [round(float(v), 2) for v in points.ravel()],
                        "num_keypoints": int((points[:, 2] > 0).sum()),
                        "bbox": [float(v) for v in box],
                        "area": float(area),
                    }
                )
        categories = [self.skeleton.to_coco(self.category_id)]
        return {"images": images, "annotations": annotations, "categories": categories}

    def save(self, folder: str | Path) -> Path:
        """Write images/*.png and annotations.json into a folder; returns the JSON's path."""
        folder = Path(folder)
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for index in range(len(self)):
            file = folder / "images" / self.info(index).file
            cv2.imwrite(str(file), cv2.cvtColor(self.load(index).image, cv2.COLOR_RGB2BGR))
        path = folder / "annotations.json"
        path.write_text(json.dumps(self.to_coco()))
        return path


def background(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A texture (height, width, 3) uint8: coloured clouds of several sizes, and some shapes."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for cells, share in ((3, 0.5), (8, 0.3), (40, 0.2)):
        grid = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        cloud = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR)
        image = cv2.scaleAdd(cloud, share, image)
    for _ in range(rng.integers(0, 12)):
        a, b = (tuple(int(v) for v in rng.integers(0, size)) for _ in range(2))
        colour, kind = _colour(rng), rng.integers(3)
        if kind == 0:
            cv2.line(image, a, b, colour, int(rng.integers(1, 12)), cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(image, a, b, colour, int(rng.integers(1, 6)))
        else:
            cv2.circle(image, a, int(rng.integers(4, 40)), colour, -1, cv2.LINE_AA)
    return image


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(int(v) for v in rng.integers(30, 256, 3))


@dataclass(frozen=True)
class _Look:
    """How a figure of a skeleton is drawn: limbs as capsules, a torso and a head where it has one.

    limbs: edges. sides: for each type 1, or less for left ones, whose limbs are darker: made-up
    figures have no front or back that would tell left from right.
    """

    limbs: tuple[tuple[int, int], ...]
    sides: tuple[float, ...]
    face: tuple[int, ...]
    torso: tuple[int, ...]

    @classmethod
    def of(cls, skeleton: Skeleton) -> _Look:
        words = [set(name_words(name)) for name in skeleton.keypoints]
        face = tuple(k for k, w in enumerate(words) if w & _FACE)
        torso = tuple(k for k, w in enumerate(words) if w & _TORSO)
        limbs = tuple(e for e in skeleton.edges if not (set(e) & set(face) and len(face) > 2))
        sides = tuple(0.55 if "left" in w else 1.0 for w in words)
        return cls(limbs, sides, face, torso if len(torso) == 4 else ())

    def paint(self, rng: np.random.Generator, image: np.ndarray, keypoints: np.ndarray):
        """Draw a figure (K, 3) into the image (H, W, 3) in place; returns its mask (H, W) bool."""
        has = keypoints[:, 2] > 0
        span = np.ptp(keypoints[has, :2], axis=0).max()
        thick = max(2, round(span * rng.uniform(0.05, 0.09)))
        layer, mask = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
        at = [(int(x), int(y)) for x, y in np.rint(np.clip(keypoints[:, :2], -1e4, 1e4))]
        shirt, skin = np.array(_colour(rng)), np.array(_colour(rng))
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
        for k in np.flatnonzero(has):  # a joint shows, so that every type has some look of its own
            radius = max(1, thick // 3)
            cv2.circle(mask, at[k], radius, 255, -1)
            dot = np.array([90 + 40 * (k % 4), 60 + 35 * (k % 5), 230 - 30 * (k % 6)])
            cv2.circle(layer, at[k], radius, [float(v) for v in dot], -1)
        _textured(rng, image, layer, mask)
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


def _textured(rng: np.random.Generator, image: np.ndarray, layer: np.ndarray, mask: np.ndarray):
    """Copy a figure's layer into the image where its mask is, roughened by a texture."""
    x, y, w, h = cv2.boundingRect(mask)
    if not w or not h:
        return
    cut = np.s_[y : y + h, x : x + w]
    grain = rng.integers(96, 160, (max(2, h // 4), max(2, w // 4)), np.uint8)
    grain = cv2.resize(grain, (w, h), interpolation=cv2.INTER_LINEAR)
    rough = cv2.multiply(layer[cut], cv2.merge([grain] * 3), scale=1 / 128)
    cv2.copyTo(rough, mask[cut], image[cut])
