"""People seen by two to four cameras, for `cameras.py`: detected poses, appearance, geometry."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from field_data.report import pair_f1
from matplotlib.figure import Figure

from tagwise.plot.style import axis_colour

MOST, LOOKS, FOCAL, CENTRE = 48, 8, 620.0, np.array([320.0, 240.0])
# A body of height 1 from the front: the keypoint that each COCO keypoint hangs from (-1: the neck),
# the distance, the direction (0: its left, 90: down), and by how many degrees the two angles vary.
PARENT = [-1, 0, 0, 1, 2, -1, -1, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14]
LENGTH = [0.14, 0.04, 0.04, 0.05, 0.05, 0.11, 0.11, 0.17, 0.17, 0.15, 0.15, 0.30, 0.30, *[0.23] * 4]
ANGLE = [-90, -45, -135, 10, 170, 5, 175, 75, 105, 80, 100, 97, 83, 88, 92, 90, 90]
SWING = [8, 5, 5, 5, 5, 5, 5, 30, 30, 45, 45, 5, 5, 20, 20, 20, 20]


class Scenes(NamedTuple):
    """Detections of scenes, padded to MOST; padding has camera and person -1, false ones -1."""

    looks: torch.Tensor  # (S, P, LOOKS) float32, the appearance as a camera sees it
    ray: torch.Tensor  # (S, P, 6) float32, the camera's place in 10 m, and the ray to the person
    edge: torch.Tensor  # (S, P, P) float32, mean epipolar distance in pixels, inf in one camera
    camera: torch.Tensor  # (S, P) int64
    person: torch.Tensor  # (S, P) int64
    pose: torch.Tensor  # (S, P, 17, 2) float32, pixels of an image of 640 x 480, NaN for missing


def make_scenes(count: int, seed: int) -> Scenes:
    scenes = [make_scene(np.random.default_rng([seed, n])) for n in range(count)]
    return Scenes(*(torch.from_numpy(np.stack(values)) for values in zip(*scenes)))


def body(rng) -> np.ndarray:
    """Keypoints (17, 3) in metres of a person somewhere in a square of 6 m; z is up."""
    swing = np.deg2rad(SWING)
    angle, depth = np.deg2rad(ANGLE) + rng.uniform(-swing, swing), rng.uniform(-swing, swing)
    points = np.zeros((18, 3))  # the last is the neck
    for k, parent in enumerate(PARENT):
        step = [np.cos(angle[k]), np.tan(depth[k]), -np.sin(angle[k])]
        points[k] = points[parent] + LENGTH[k] * np.array(step) / np.linalg.norm(step)
    points *= rng.uniform(1.5, 1.9)
    cos, sin = np.cos(turn := rng.uniform(0, 6.3)), np.sin(turn)
    points = points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    points[:, 2] -= points[:, 2].min()
    return points[:17] + np.append(rng.uniform(-3, 3, 2), 0)


def ring(rng, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places (3,) and rotations (3, 3) of cameras around the square that look at its middle."""
    cameras = []
    for azimuth in rng.uniform(0, 6.3) + rng.permutation(6)[:count] * 1.05:
        place = np.array([np.cos(azimuth), np.sin(azimuth), 0]) * rng.uniform(6.5, 8)
        place[2] = rng.uniform(2, 3)
        ahead = np.append(rng.normal(0, 0.5, 2), 0.9) - place
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0, 0, 1]) / np.linalg.norm(ahead[:2])
        cameras.append((place, np.stack([right, np.cross(ahead, right), ahead])))
    return cameras


def make_scene(rng) -> tuple[np.ndarray, ...]:
    """The fields of `Scenes` for one scene.

    People wear the clothes of one of two teams, each camera has its own colours, and one detection
    in ten is missing. People who are mostly hidden are missing too. A few detections are false.
    """
    bodies = [body(rng) for _ in range(rng.integers(5, 11))]
    teams = rng.normal(size=(2, LOOKS))[rng.integers(2, size=len(bodies))]
    looks, cameras = teams + 0.4 * rng.normal(size=teams.shape), ring(rng, rng.integers(2, 5))
    found = []
    for n, (place, rotation) in enumerate(cameras):
        tint, boxes = 0.3 * rng.normal(size=LOOKS), []
        people = [*enumerate(bodies), *((-1, body(rng)) for _ in range(rng.binomial(2, 0.3)))]
        for person, xyz in sorted(people, key=lambda p: np.linalg.norm(p[1].mean(0) - place)):
            inner = (xyz - place) @ rotation.T
            pose = inner[:, :2] / inner[:, 2:] * FOCAL + CENTRE + rng.normal(0, 8, (17, 2))
            hidden = [((pose > low) & (pose < high)).all(1) for low, high in boxes]
            hidden = np.any([rng.random(17) < 0.1, *hidden], axis=0)
            hidden |= (abs(pose - CENTRE) > CENTRE).any(1)
            boxes.append((pose.min(0), pose.max(0)))
            if hidden.mean() > 0.6 or rng.random() < 0.1:
                continue
            own = looks[person] if person >= 0 else rng.normal(size=LOOKS)
            ray = (np.append(np.nanmean(pose, 0) - CENTRE, FOCAL) / FOCAL) @ rotation
            pose[hidden] = np.nan
            found.append(
                (own + tint + 0.4 * rng.normal(size=LOOKS), [*place / 10, *ray], n, person, pose)
            )
    look, ray, camera, person, pose = map(np.array, zip(*found[:MOST]))
    edge = epipolar(pose, camera, cameras)
    spare = MOST - len(camera)
    pad = [
        np.pad(v.astype(np.float32), ((0, spare), *[(0, 0)] * (v.ndim - 1))) for v in (look, ray)
    ]
    edge = np.pad(edge, (0, spare), constant_values=np.inf).astype(np.float32)
    ids = [np.pad(v, (0, spare), constant_values=-1) for v in (camera, person)]
    pose = np.pad(pose, ((0, spare), (0, 0), (0, 0)), constant_values=np.nan)
    return *pad, edge, *ids, pose.astype(np.float32)


def epipolar(pose, camera, cameras) -> np.ndarray:
    """Mean distance (P, P) of keypoints to the epipolar lines of each other, in pixels."""
    edge = np.full((len(pose), len(pose)), np.inf)
    for a, (place, rotation) in enumerate(cameras):
        for b, (other, turned) in enumerate(cameras):
            if a != b:
                first, second = np.flatnonzero(camera == a), np.flatnonzero(camera == b)
                ray = (
                    np.append((pose[first] - CENTRE) / FOCAL, np.ones((len(first), 17, 1)), 2)
                    @ rotation
                )
                line = np.cross(place - other, ray) @ turned.T
                point = np.append((pose[second] - CENTRE) / FOCAL, np.ones((len(second), 17, 1)), 2)
                away = abs(np.einsum("ikc,jkc->ijk", line, point)) / np.linalg.norm(
                    line[:, None, :, :2], axis=3
                )
                both = np.isfinite(away).sum(2)
                edge[np.ix_(first, second)] = (
                    FOCAL * np.nansum(away, 2) / np.where(both, both, np.nan)
                )
    edge = (edge + edge.T) / 2
    return np.where(np.isnan(edge), np.inf, edge)


def save_picture(scenes: Scenes, groups: dict[str, np.ndarray], out: Path) -> None:
    """Draw a scene by truth and by methods (rows) in its three cameras; groups are (S, P).

    It is the scene in which the methods except the last, the baselines, make most mistakes. A group
    has the colour of the person that most of its detections show; the others in it are dotted.
    """
    truth, baselines = scenes.person.numpy(), list(groups.values())[:-1]
    groups = {"truth": truth, **groups}
    scene = min(
        np.flatnonzero(scenes.camera.amax(dim=1) == 2),
        key=lambda n: sum(pair_f1(found[[n]], truth[[n]]) for found in baselines),
    )
    figure = Figure(figsize=(9, 2.3 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 3, squeeze=False)
    for line, (name, group) in zip(axes, groups.items()):
        person = persons_of(group[scene], truth[scene])
        for camera, axis in enumerate(line):
            axis.set(title=f"{name}, camera {camera + 1}", xlim=(0, 640), ylim=(480, 0), aspect=1)
            axis.set(xticks=[], yticks=[])
            for n in np.flatnonzero(scenes.camera[scene] == camera).tolist():
                own, pose = person[n], scenes.pose[scene, n].numpy()
                style = {"lw": 2} if own == truth[scene][n] else {"lw": 1.5, "ls": ":"}
                colour = axis_colour(own) if own >= 0 else (0.8, 0.8, 0.8)
                for k, parent in enumerate(PARENT):
                    if parent >= 0:
                        axis.plot(*pose[[k, parent]].T, color=colour, **style)
    figure.savefig(out, dpi=80)


def persons_of(group: np.ndarray, truth: np.ndarray) -> list[int]:
    """The person of each detection by its group: that of most of the group's detections."""
    return [
        int(np.bincount(truth[group == own] + 1).argmax()) - 1 if own >= 0 else -1 for own in group
    ]
