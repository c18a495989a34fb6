"""Contact sheets: several labelled images on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tagwise.data.sample import Sample
from tagwise.geometry import keypoint_boxes
from tagwise.plot.boxes import draw_outlines
from tagwise.plot.masks import neighbour_colours
from tagwise.plot.poses import draw_poses
from tagwise.plot.style import PALETTE, RIM
from tagwise.skeletons import Skeleton

_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class _LabelledPoses:
    """The labels of an image in the form that `draw_poses` takes."""

    keypoints: np.ndarray
    boxes: np.ndarray
    skeleton: Skeleton

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def scores(self) -> np.ndarray:
        return np.ones(len(self))


def draw_sample(sample: Sample, skeleton: Skeleton | None = None) -> np.ndarray:
    """Draw the labels of a sample on a copy of its image: skeletons, masks or boxes.

    Regions that are ignored become darker. skeleton: of the keypoints, if the sample has some.
    Returns (H, W, 3) uint8 RGB.
    """
    image = sample.image.copy()
    if sample.ignore.any() and sample.ignore.shape == image.shape[:2]:
        image[sample.ignore] //= 2
    if skeleton is not None and sample.keypoints.shape[1]:
        poses = _LabelledPoses(sample.keypoints, sample.boxes, skeleton)
        return draw_poses(image, poses, labels=False)
    if sample.labels is not None:
        return _draw_labels(image, sample.labels, len(sample.boxes))
    certain = np.ones(len(sample.boxes))
    return draw_outlines(image, sample.boxes, certain, sample.classes.tolist())


def _draw_labels(image: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Tint the instances of a label map, neighbours in different colours."""
    colours = np.array(PALETTE, np.uint8)[neighbour_colours(labels, count)]
    table = np.concatenate([np.zeros((1, 3), np.uint8), colours])
    inside = labels > 0
    image[inside] = image[inside] // 2 + table[labels[inside]] // 2
    return image


def draw_numbers(sample: Sample, skeleton: Skeleton, side: int = 320) -> np.ndarray | None:
    """Enlarge the instance with the most keypoints, and write the number of each type beside it.

    Returns (side, side, 3) uint8 RGB, or None if the sample has no keypoint.
    """
    if not len(sample.keypoints) or not sample.keypoints.shape[1]:
        return None
    labelled = (sample.keypoints[..., 2] > 0).sum(1)
    keypoints = sample.keypoints[[int(labelled.argmax())]].copy()
    x, y, width, height = keypoint_boxes(keypoints, 4.0)[0]
    scale = 0.7 * side / max(width, height)
    matrix = np.array([[scale, 0, side / 2], [0, scale, side / 2]])
    matrix[:, 2] -= scale * np.array([x + width / 2, y + height / 2])
    canvas = cv2.warpAffine(sample.image, matrix, (side, side), borderValue=RIM)
    keypoints[..., :2] = keypoints[..., :2] * scale + matrix[:, 2]
    boxes = keypoint_boxes(keypoints)
    canvas = draw_poses(canvas, _LabelledPoses(keypoints, boxes, skeleton), labels=False)
    for k, (x, y, v) in enumerate(keypoints[0]):
        if v > 0:
            place = (round(float(x)) + 6, round(float(y)) - 4)
            for colour, thickness in ((RIM, 3), ((255, 255, 255), 1)):
                cv2.putText(canvas, str(k), place, _FONT, 0.5, colour, thickness, cv2.LINE_AA)
    return canvas


def contact_sheet(images: Sequence[np.ndarray], columns: int = 4, width: int = 320) -> np.ndarray:
    """Arrange images in a grid, each fitted into a cell of the shape that most of them have.

    images: each (H, W, 3) uint8 RGB, at least one. width: of a cell, in pixels.
    Returns an image of the same type.
    """
    columns = min(columns, len(images))
    rows, gap = -(-len(images) // columns), 4
    shape = float(np.median([image.shape[0] / image.shape[1] for image in images]))
    height = round(width * float(np.clip(shape, 0.4, 2.0)))
    across, down = columns * (width + gap) - gap, rows * (height + gap) - gap
    sheet = np.full((down, across, 3), 255, np.uint8)
    for n, image in enumerate(images):
        scale = min(width / image.shape[1], height / image.shape[0])
        size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, size, interpolation=method)
        top, left = (n // columns) * (height + gap), (n % columns) * (width + gap)
        top, left = top + (height - size[1]) // 2, left + (width - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    return sheet
