"""Poses for synthetic figures: real poses from a file, or poses generated joint by joint."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import numpy as np

from tagwise.data.coco import match_types
from tagwise.errors import UserError
from tagwise.skeletons import COCO17, Skeleton, name_words

# A standing figure from the front, by the last matching word of a keypoint's name: the distance
# from the middle (positive on the figure's left, which is the viewer's right), the distance down,
# and the standard deviation of the swing in degrees.
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
_DEFAULT_SWING = 25.0  # degrees, for skeletons with keypoint types that _BODY lacks
_MIN_LABELLED = 10
_WIDTHS = np.arange(160, 641)


class GeneratedPoses:
    """Generated poses of any skeleton.

    The joints of a resting figure are rotated at random. Each rotation moves everything further
    out along the skeleton.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.parents, self.swing, rest = _tree(skeleton), [], []
        body = [_BODY.get(_part(name)) for name in skeleton.keypoints]
        if all(body):
            for name, (aside, down, degrees) in zip(skeleton.keypoints, body):
                rest.append((aside * _side(name), down))
                self.swing.append(degrees)
        else:
            rest, self.swing = _fan(self.parents), [_DEFAULT_SWING] * len(skeleton)
        self.rest = np.array(rest, float)
        self.labelled = np.ones(len(skeleton), bool)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Generate a pose (K, 3), x, y, v = 2, in arbitrary units."""
        angles, pose = {}, self.rest.copy()
        for child, parent in self.parents:
            angle = rng.normal(0, math.radians(self.swing[child]))
            if parent < 0:
                angles[child] = angle
                continue
            angles[child] = angles[parent] + angle
            c, s = math.cos(angles[child]), math.sin(angles[child])
            bone = (self.rest[child] - self.rest[parent]) * rng.uniform(0.8, 1.15)
            pose[child] = pose[parent] + np.array(
                [c * bone[0] - s * bone[1], s * bone[0] + c * bone[1]]
            )
        pose[:, 0] *= rng.uniform(0.5, 1.1)  # imitates a figure turned away from the camera
        return np.column_stack([pose, np.full(len(pose), 2.0)])


class RealPoses:
    """Poses of people in photos, from COCO-17 keypoints normalised by the size of their image.

    path: an .npz file with "keypoints" (N, 17, 3): x as a fraction of the width, y as a fraction
        of the height, and v. An optional "split" (N,) restricts the poses to those with 0, the
        training part.
    skeleton: the wanted keypoint types; those that COCO-17 lacks stay unlabelled.
    count: the maximum number of poses, which rng chooses among people with at least 10 labelled
        keypoints.
    Raises UserError if the file cannot be read, has other contents, or has no such person.
    """

    def __init__(self, path: str | Path, skeleton: Skeleton, rng: np.random.Generator, count=4000):
        try:
            with np.load(path) as content:
                keypoints = content["keypoints"]
                split = content["split"] if "split" in content else np.zeros(len(keypoints))
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{path} is not an .npz file of normalised keypoints: {error}"
            ) from None
        if keypoints.ndim != 3 or keypoints.shape[1:] != (len(COCO17), 3):
            raise UserError(
                f"{path}: keypoints have shape {keypoints.shape}; expected (people, 17, 3)"
            )
        usable = np.flatnonzero(((keypoints[..., 2] > 0).sum(1) >= _MIN_LABELLED) & (split == 0))
        if not len(usable):
            raise UserError(f"{path} contains no person with {_MIN_LABELLED} labelled keypoints")
        chosen = np.sort(rng.permutation(usable)[:count])
        poses = np.stack([_in_pixels(pose) for pose in keypoints[chosen].astype(float)])
        columns = match_types(skeleton, COCO17, {}, Path(path))
        self.labelled = columns >= 0
        self.poses = np.zeros((len(poses), len(skeleton), 3))
        self.poses[:, self.labelled] = poses[:, columns[self.labelled]]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random pose (K, 3), x, y, v, in pixels of its photo."""
        return self.poses[rng.integers(len(self.poses))].copy()


def _in_pixels(pose: np.ndarray) -> np.ndarray:
    """Convert a normalised pose (17, 3) to pixels, without knowing the size of its image.

    COCO's keypoints are whole pixels of images whose longer side is 640. The true width is
    therefore the smallest one that makes every x a whole number, and likewise the height.
    """
    labelled = pose[:, 2] > 0
    sizes = []
    for axis in (0, 1):
        pixels = pose[labelled, axis, None] * _WIDTHS
        off = np.abs(pixels - np.rint(pixels)).max(0)
        sizes.append(int(_WIDTHS[off < 0.01][0]) if (off < 0.01).any() else 640)
    pose = pose.copy()
    pose[:, :2] *= sizes
    pose[~labelled] = 0
    return pose


def _tree(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Each keypoint type once, as (type, parent), parents first; the parent of a root is -1."""
    neighbours: dict[int, list[int]] = {k: [] for k in range(len(skeleton))}
    for a, b in skeleton.edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    out, visited = [], set()
    for root in skeleton.order:
        queue = deque([(root, -1)] if root not in visited else [])
        visited.add(root)
        while queue:
            child, parent = queue.popleft()
            out.append((child, parent))
            fresh = [other for other in neighbours[child] if other not in visited]
            visited.update(fresh)
            queue.extend((other, child) for other in fresh)
    return out


def _fan(parents: list[tuple[int, int]]) -> np.ndarray:
    """Rest positions (K, 2) for an unknown skeleton: a tree whose branches fan out."""
    rest, heading = np.zeros((len(parents), 2)), np.zeros(len(parents))
    children: dict[int, list[int]] = {}
    for child, parent in parents:
        children.setdefault(parent, []).append(child)
    for child, parent in parents:
        siblings = children[parent]
        # The full circle around the root; further out, about 120 degrees ahead.
        spread = 2 * math.pi if parent < 0 or heading[parent] == 0 else 2.1
        step = spread / len(siblings)
        middle = (siblings.index(child) - (len(siblings) - 1) / 2) * step
        base = heading[parent] if parent >= 0 else 0.0
        heading[child] = base + middle + 1e-3
        if parent >= 0:
            rest[child] = rest[parent] + [math.sin(heading[child]), math.cos(heading[child])]
    return rest


def _part(name: str) -> str:
    return next((word for word in reversed(name_words(name)) if word in _BODY), "")


def _side(name: str) -> int:
    words = name_words(name)
    return 1 if {"left", "l"} & set(words) else -1 if {"right", "r"} & set(words) else 0
