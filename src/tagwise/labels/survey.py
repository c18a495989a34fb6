"""The sizes, counts, directions and colours of a labelled set, from which settings follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations

import cv2
import numpy as np

from tagwise.data.coco import CocoKeypoints
from tagwise.data.label_maps import LabelMaps
from tagwise.data.photos import Photos
from tagwise.errors import UserError
from tagwise.label_maps import label_map_instances

_MOST_MAPS = 200  # label maps that are read; they are as large as images
_LOOKS = 24  # images that are read for their colours
_ENOUGH = 20  # instances that a direction or a spread is computed from
_DARK, _GREY = (
    48,
    6,
)  # mean value of a dark image, and mean difference of the channels of a grey one


@dataclass(frozen=True)
class Survey:
    """What the labels and the images of a set have in common.

    sizes: (N, 2) width and height of the images, in pixels. counts: (N,) instances per image.
    sides: (M,) the longer side of each instance's box, in pixels. owners: (M,) its image.
    spread: circular standard deviation, in degrees, of the direction between the two keypoint types
        that turn least; None if it is unknown. Instances that stand upright have 10 to 20 degrees,
        and those that are seen from above more than 60.
    tall: share of the boxes that are higher than wide.
    dark, grey: shares of the images that are dark, and that have no colours.
    """

    sizes: np.ndarray
    counts: np.ndarray
    sides: np.ndarray
    owners: np.ndarray
    spread: float | None = None
    tall: float = 0.5
    dark: float = 0.0
    grey: float = 0.0
    classes: tuple[str, ...] = field(default=())

    @property
    def upright(self) -> bool:
        """Whether instances have a usual direction in the image."""
        return self.spread is not None and self.spread < 60

    def fitted_sides(self, width: float, height: float) -> np.ndarray:
        """(M,) the longer sides of the instances, when images are fitted into width × height."""
        scale = np.minimum(width / self.sizes[:, 0], height / self.sizes[:, 1])
        return self.sides * scale[self.owners]

    def shape(self) -> tuple[float, float]:
        """Width and height, the longer one 1, of a frame that suits the images.

        It is the usual shape of the images, or a square if they are upright and horizontal.
        """
        ratio = np.log(self.sizes[:, 0] / self.sizes[:, 1])
        low, high = np.quantile(ratio, (0.1, 0.9))
        if low < -0.1 and high > 0.1:
            return 1.0, 1.0
        usual = math.exp(float(np.median(ratio)))
        return (1.0, 1 / usual) if usual >= 1 else (usual, 1.0)


def survey(dataset: Photos) -> Survey:
    """Look at all labels of a set and at some of its images.

    Raises UserError if no instance is labelled.
    """
    sizes, boxes = _boxes(dataset)
    every = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    if not len(every):
        raise UserError(f"{dataset.annotations} has no labelled instance; label some images first")
    dark, grey = _colours(dataset)
    return Survey(
        sizes=np.array(sizes, float),
        counts=np.array([len(each) for each in boxes]),
        sides=every[:, 2:].max(1),
        owners=np.repeat(np.arange(len(boxes)), [len(each) for each in boxes]),
        spread=direction_spread(all_keypoints(dataset)) if _has_keypoints(dataset) else None,
        tall=float((every[:, 3] > every[:, 2]).mean()),
        dark=dark,
        grey=grey,
        classes=tuple(getattr(dataset, "classes", ())),
    )


def _has_keypoints(dataset: Photos) -> bool:
    return isinstance(dataset, CocoKeypoints)


def _boxes(dataset: Photos) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
    """The sizes of the images, and the boxes (n, 4) of the instances of each image."""
    chosen = range(len(dataset))
    if isinstance(dataset, LabelMaps):
        chosen = chosen[:: -(-len(dataset) // _MOST_MAPS)]
    sizes, boxes = [], []
    for index in chosen:
        if isinstance(dataset, LabelMaps):
            labels = dataset.label_map(index)
            boxes.append(label_map_instances(labels, int(labels.max(initial=0)))[0].astype(float))
        else:
            labels = dataset.image_labels[index]
            boxes.append(np.array(labels.boxes, float).reshape(-1, 4))
        sizes.append(size_of(dataset, index))
    return sizes, boxes


def size_of(dataset: Photos, index: int) -> tuple[int, int]:
    """Width and height of an image, from the labels or, if they lack it, from the image."""
    known = dataset.size(index)
    if known is not None:
        return known
    height, width = dataset.load(index).image.shape[:2]
    return width, height


def all_keypoints(dataset: CocoKeypoints) -> np.ndarray:
    """The keypoints (M, K, 3) of all instances of a set, in pixels."""
    found = [dataset.instances(index)[0] for index in range(len(dataset))]
    return np.concatenate(found).astype(np.float64)


def direction_spread(keypoints: np.ndarray) -> float | None:
    """The circular standard deviation, in degrees, of the direction that varies least.

    keypoints: (M, K, 3) of M instances. A direction is that from one keypoint type to another.
    Returns None if no two types are labelled together often enough.
    """
    longest = 0.0
    for a, b in combinations(range(keypoints.shape[1]), 2):
        both = (keypoints[:, [a, b], 2] > 0).all(1)
        steps = keypoints[both, b, :2] - keypoints[both, a, :2]
        lengths = np.linalg.norm(steps, axis=1, keepdims=True)
        steps = (steps / np.maximum(lengths, 1e-9))[lengths[:, 0] > 0]
        if len(steps) >= _ENOUGH:
            longest = max(longest, float(np.linalg.norm(steps.mean(0))))
    return math.degrees(math.sqrt(-2 * math.log(min(longest, 1.0)))) if longest else None


def _colours(dataset: Photos) -> tuple[float, float]:
    """The shares of dark and of grey images among some of the images."""
    dark, grey = [], []
    for index in range(len(dataset))[:: -(-len(dataset) // _LOOKS)]:
        try:
            image = dataset.load(index, 4).image
        except UserError:  # reported elsewhere
            continue
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
        dark.append(small.mean() < _DARK)
        grey.append((small.max(2) - small.min(2)).mean() < _GREY)
    return (float(np.mean(dark)), float(np.mean(grey))) if dark else (0.0, 0.0)
