"""Heatmaps and tag maps of overlapping people, and the share of keypoints decoded correctly."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tagwise.skeletons import COCO17

# Keypoint, the one it hangs from (None: the neck), and in a person of height 1 the distance, the
# direction in degrees (0 to the right, 90 down) and by how much that differs.
LIMBS = (
    (0, None, 0.14, -90, 8),
    (1, 0, 0.04, -45, 5),
    (2, 0, 0.04, -135, 5),
    (3, 1, 0.05, 10, 5),
    (4, 2, 0.05, 170, 5),
    (5, None, 0.11, 5, 5),
    (6, None, 0.11, 175, 5),
    (7, 5, 0.17, 75, 30),
    (8, 6, 0.17, 105, 30),
    (9, 7, 0.15, 80, 45),
    (10, 8, 0.15, 100, 45),
    (11, 5, 0.30, 97, 5),
    (12, 6, 0.30, 83, 5),
    (13, 11, 0.23, 88, 20),
    (14, 12, 0.23, 92, 20),
    (15, 13, 0.23, 90, 20),
    (16, 14, 0.23, 90, 20),
)
KEYPOINTS = len(LIMBS)


@dataclass(frozen=True)
class PoseScene:
    """heatmaps (1, K, S, S), tags (1, K * D, S, S), keypoints (N, K, 3) x, y, visible in cells."""

    heatmaps: torch.Tensor
    tags: torch.Tensor
    keypoints: np.ndarray


def draw_person(rng, height, neck):
    """(K, 2) x, y of a person of that height."""
    points = np.zeros((KEYPOINTS, 2))
    for keypoint, parent, length, direction, spread in LIMBS:
        angle = np.deg2rad(direction + spread * rng.uniform(-1, 1))
        start = neck if parent is None else points[parent]
        points[keypoint] = start + height * length * np.array([np.cos(angle), np.sin(angle)])
    return points


def draw_people(rng, count, size):
    """(N, K, 3) x, y, visible of people who stand about, and cover and leave one another."""
    people = np.zeros((count, KEYPOINTS, 3))
    tallest = 0.55 if count <= 10 else 0.35
    for person in people:
        height = size * rng.uniform(0.15, tallest)
        neck = rng.uniform((0.2 * height, 0.2 * height), (size - 0.2 * height, size - 0.8 * height))
        person[:, :2] = draw_person(rng, height, neck)
        inside = ((person[:, :2] > 2) & (person[:, :2] < size - 3)).all(1)
        person[:, 2] = inside & (rng.random(KEYPOINTS) < 0.85)
    return people


def pose_scene(seed, people, dim=1, size=96, gap=1.0, scatter=0.25, clutter=0.25):
    """A crowd, and its maps as a network would predict them.

    gap: how far apart people's tags are, at least. scatter: standard deviation of the tags of one
    person. clutter: faint peaks of nobody, as a share of all keypoints there could be.
    """
    rng = np.random.default_rng(seed)
    truth = draw_people(rng, people, size)
    own = gap * np.stack([rng.permutation(people) for _ in range(dim)], 1)
    peaks = [
        (k, *truth[n, k, :2], rng.uniform(0.4, 1), own[n] + scatter * rng.normal(size=dim))
        for n, k in np.argwhere(truth[..., 2] > 0)
    ]
    for _ in range(round(clutter * people * KEYPOINTS)):
        place, score = rng.uniform(3, size - 4, 2), rng.uniform(0.12, 0.35)
        peaks.append((rng.integers(KEYPOINTS), *place, score, rng.uniform(-1, gap * people, dim)))
    heatmaps = np.abs(rng.normal(0, 0.008, (KEYPOINTS, size, size)))
    # Between the peaks tags are anything, but change slowly.
    tags = rng.normal(0, 1, (KEYPOINTS, dim, size // 12, size // 12)).repeat(12, 2).repeat(12, 3)
    drawn = np.full(heatmaps.shape, 0.05)
    line = np.arange(size)
    for k, x, y, score, tag in peaks:
        across, down = np.exp(-((line - x) ** 2) / 8), np.exp(-((line - y) ** 2) / 8)
        spot = score * np.outer(down, across)
        nearest = spot > drawn[k]
        drawn[k][nearest] = spot[nearest]
        tags[k][:, nearest] = tag[:, None]
        heatmaps[k] = np.maximum(heatmaps[k], spot)
    maps = (torch.from_numpy(m.astype(np.float32)) for m in (heatmaps, tags))
    return PoseScene(next(maps)[None], next(maps).flatten(0, 1)[None], truth)


def right_keypoints(keypoints, truth):
    """How many visible keypoints lie within 3 cells, on the right one of the people found.

    Who is who: one to one, so that most are right.
    """
    away = np.linalg.norm(keypoints[:, None, :, :2] - truth[None, :, :, :2], axis=-1)
    right = ((away < 3) & (truth[..., 2] > 0)).sum(-1)
    return int(right[linear_sum_assignment(right, maximize=True)].sum())


def as_coco(scenes, found):
    """COCO ground truth of scenes, and results: found holds (keypoints (N, K, 3), scores) each."""
    truth, results = [], []
    for image, (scene, (keypoints, scores)) in enumerate(zip(scenes, found, strict=True)):
        for person in scene.keypoints:
            seen = person[person[:, 2] > 0, :2]
            width, height = np.ptp(seen, axis=0) if len(seen) else (0, 0)
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "keypoints": (person * [1, 1, 2]).ravel().tolist(),
                    "num_keypoints": len(seen),
                    "bbox": [*person[:, :2].min(0).tolist(), float(width), float(height)],
                    "area": max(0.6 * float(width * height), 1.0),
                    "iscrowd": 0,
                }
            )
        for person, score in zip(np.nan_to_num(keypoints), scores, strict=True):
            row = {"image_id": image, "category_id": 1, "score": float(score)}
            results.append(row | {"keypoints": person.ravel().tolist()})
    images = [{"id": n, "width": 96, "height": 96, "file_name": ""} for n in range(len(scenes))]
    categories = [{"id": 1, "name": "person", **COCO17.to_coco()}]
    return {"images": images, "annotations": truth, "categories": categories}, results
