"""Poses for synthetic figures: real ones from a file of labels, or made up joint by joint."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import numpy as np

from tagwise.data.coco import match_types
from tagwise.errors import UserError
from tagwise.skeletons import COCO17, Skeleton, name_words

# A standing figure seen from the front, by the last word of a name: how far from the middle
# (positive on its own left, the viewer's right), how far down, and how freely it swings (degrees).
_BODY = {
    "top": (0.0, -0.2, 4),
    "nose": (0.0, 0.0, 4),
    "head": (0.0, -0.05, 4),
    "eye": (0.05, -0.04, 3),
    "ear": (0.11, -0.02, 3),
    "neck": (0.0, 0.22, 4),
    "shoulder": (0.25, 0.3, 4),
    "trunk": (0.0, 0.55, 6),
    "elbow": (0.33, 0.68, 45),
    "wrist": (0.36, 1.02, 50),
    "hand": (0.4, 0.95, 45),
    "hip": (0.16, 0.98, 6),
    "knee": (0.18, 1.48, 35),
    "ankle": (0.19, 1.98, 35),
    "foot": (0.22, 1.9, 30),
}
_FREE = 25.0  # degrees, for keypoint types that _BODY does not know
_MIN_LABELLED = 10
_WIDTHS = np.arange(160, 641)


class MadeUpPoses:
    """Poses of any skeleton: a resting figure whose joints swing, each with all beyond it."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.parents, self.swing, rest = _tree(skeleton), [], []
        body = [_BODY.get(_part(name)) for name in skeleton.keypoints]
        if all(body):
            for name, (aside, down, degrees) in zip(skeleton.keypoints, body):
                rest.append((aside * _side(name), down))
                self.swing.append(degrees)
        else:
            rest, self.swing = _fan(self.parents), [_FREE] * len(skeleton)
        self.rest = np.array(rest, float)
        self.labelled = np.ones(len(skeleton), bool)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A pose (K, 3), x, y, v = 2, in no particular unit."""
        turned, pose = {}, self.rest.copy()
        for child, parent in self.parents:
            angle = rng.normal(0, math.radians(self.swing[child]))
            if parent < 0:
                turned[child] = angle
                continue
            turned[child] = turned[parent] + angle
            c, s = math.cos(turned[child]), math.sin(turned[child])
            bone = (self.rest[child] - self.rest[parent]) * rng.uniform(0.8, 1.15)
            pose[child] = pose[parent] + np.array(
                [c * bone[0] - s * bone[1], s * bone[0] + c * bone[1]]
            )
        pose[:, 0] *= rng.uniform(0.5, 1.1)  # turned away from the camera
        return np.column_stack([pose, np.full(len(pose), 2.0)])


class RealPoses:
    """Poses of people in photos, from keypoints of COCO-17 normalised to their images.

    path: an .npz with keypoints (N, 17, 3) in shares of width and height, and v; and optionally
        split (N,), of which only 0, the training part, is used.
    skeleton: the types wanted; those that COCO-17 lacks stay unlabelled.
    count: how many poses to keep, chosen by rng among people with 10 labelled keypoints or more.
    """

    def __init__(self, path: str | Path, skeleton: Skeleton, rng: np.random.Generator, count=4000):
        try:
            with np.load(path) as content:
                keypoints = content["keypoints"]
                split = content["split"] if "split" in content else np.zeros(len(keypoints))
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"{path} is no file of normalised keypoints (.npz): {error}") from None
        if keypoints.ndim != 3 or keypoints.shape[1:] != (len(COCO17), 3):
            raise UserError(f"{path}: keypoints are {keypoints.shape}, not (people, 17, 3)")
        usable = np.flatnonzero(((keypoints[..., 2] > 0).sum(1) >= _MIN_LABELLED) & (split == 0))
        if not len(usable):
            raise UserError(f"{path} has nobody with {_MIN_LABELLED} labelled keypoints")
        chosen = np.sort(rng.permutation(usable)[:count])
        poses = np.stack([_in_pixels(pose) for pose in keypoints[chosen].astype(float)])
        columns = match_types(skeleton, COCO17, {}, Path(path))
        self.labelled = columns >= 0
        self.poses = np.zeros((len(poses), len(skeleton), 3))
        self.poses[:, self.labelled] = poses[:, columns[self.labelled]]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A pose (K, 3), x, y, v, in pixels of its photo."""
        return self.poses[rng.integers(len(self.poses))].copy()


def _in_pixels(pose: np.ndarray) -> np.ndarray:
    """Undo the normalisation of a pose (17, 3) by the unknown size of its image.

    COCO's keypoints were whole pixels of images whose longer side is 640, so that of all widths
    (and heights) the true one is the least that makes every coordinate whole again.
    """
    seen = pose[:, 2] > 0
    sizes = []
    for axis in (0, 1):
        pixels = pose[seen, axis, None] * _WIDTHS
        off = np.abs(pixels - np.rint(pixels)).max(0)
        sizes.append(int(_WIDTHS[off < 0.01][0]) if (off < 0.01).any() else 640)
    pose = pose.copy()
    pose[:, :2] *= sizes
    pose[~seen] = 0
    return pose


def _tree(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Every type once, with the one that it hangs on (-1 for a root), parents first."""
    near: dict[int, list[int]] = {k: [] for k in range(len(skeleton))}
    for a, b in skeleton.edges:
        near[a].append(b)
        near[b].append(a)
    out, seen = [], set()
    for root in skeleton.order:
        queue = deque([(root, -1)] if root not in seen else [])
        seen.add(root)
        while queue:
            child, parent = queue.popleft()
            out.append((child, parent))
            fresh = [other for other in near[child] if other not in seen]
            seen.update(fresh)
            queue.extend((other, child) for other in fresh)
    return out


def _fan(parents: list[tuple[int, int]]) -> np.ndarray:
    """A resting place for each type of an unknown skeleton: a tree whose branches fan out."""
    places, heading = np.zeros((len(parents), 2)), np.zeros(len(parents))
    children: dict[int, list[int]] = {}
    for child, parent in parents:
        children.setdefault(parent, []).append(child)
    for child, parent in parents:
        twins = children[parent]
        # all around the root, within 120 degrees ahead further out
        step = 2 * math.pi / len(twins) if parent < 0 or heading[parent] == 0 else 2.1 / len(twins)
        middle = (twins.index(child) - (len(twins) - 1) / 2) * step
        base = heading[parent] if parent >= 0 else 0.0
        heading[child] = base + middle + 1e-3
        if parent >= 0:
            places[child] = places[parent] + [math.sin(heading[child]), math.cos(heading[child])]
    return places


def _part(name: str) -> str:
    return next((word for word in reversed(name_words(name)) if word in _BODY), "")


def _side(name: str) -> int:
    words = name_words(name)
    return 1 if {"left", "l"} & set(words) else -1 if {"right", "r"} & set(words) else 0
