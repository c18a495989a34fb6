"""Synthetic scans of rooms, for `points_3d.py`.

Chairs, tables, boxes, cylinders and balls stand on a floor beside, under and on top of each other.
"""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from tagwise.plot.style import axis_colour

POINTS, SIDE, SCANNERS = 2048, 4.0, np.array([[-1.9, -1.9, 1.8], [1.9, 1.9, 1.8]])


def make_rooms(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (R, POINTS, 3) in metres, z upward, and the object of each (R, POINTS), -1 for floor.

    The floor is SIDE metres wide around x = y = 0.
    """
    rooms = [make_room(np.random.default_rng([seed, n])) for n in range(count)]
    xyz, owner = (torch.from_numpy(np.stack(values)) for values in zip(*rooms))
    return xyz.float(), owner


def make_room(rng) -> tuple[np.ndarray, np.ndarray]:
    """A scan of a room: points (POINTS, 3), and the object of each (POINTS,)."""
    floor = np.append(rng.uniform(-SIDE / 2, SIDE / 2, (6000, 2)), np.zeros((6000, 1)), axis=1)
    parts = [floor]
    for n in range(rng.integers(8, 15)):
        loose = n > 4 and rng.random() < 0.4
        goal = np.append(rng.uniform(-1.5, 1.5, 2), 0)
        if n and rng.random() < 0.7:
            goal[:2] = parts[rng.integers(1, n + 1)][:, :2].mean(axis=0)
        turn = rng.uniform(0, 2 * np.pi)
        origin = np.array([0, 0, 1] if loose else [np.cos(turn), np.sin(turn), 0])
        parts.append(moved(parts[1:], furniture(rng, loose) + goal, origin))
    xyz = np.concatenate(parts)
    owner = np.repeat(np.arange(len(parts)) - 1, [len(part) for part in parts])
    visible = np.any([seen(xyz, scanner) for scanner in SCANNERS], axis=0)
    inside = (abs(xyz[:, :2]) < SIDE / 2).all(axis=1)
    pick = rng.permutation(np.flatnonzero(visible & inside))[:POINTS]
    return xyz[pick] + rng.normal(0, 0.005, (POINTS, 3)), owner[pick]


def moved(others: list, points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The points as they come from 2.4 m away in direction `origin`, until they touch another."""
    far = 2.4
    if others:
        tree, part = cKDTree(np.concatenate(others)), points[::8]
        while (
            far > 0
            and np.isinf(tree.query(part + far * origin, distance_upper_bound=0.04)[0]).all()
        ):
            far -= 0.03
    return points + max(far, 0) * origin if others else points


def furniture(rng, loose: bool) -> np.ndarray:
    """Points (M, 3) of a piece that stands at the origin; loose: a small one to put on others."""
    kind = rng.choice(["box", "cylinder", *(["ball"] if loose else ["table", "chair"])])
    size = rng.uniform(0.12, 0.4, 3) if loose else rng.uniform(0.2, 0.6, 3)
    if kind in ("table", "chair"):
        w, d, h = (*rng.uniform(0.6, 1.1, 2), 0.7) if kind == "table" else (0.42, 0.42, 0.45)
        legs = [(x * w / 2, y * d / 2, h / 2) for x in (-0.9, 0.9) for y in (-0.9, 0.9)]
        parts = [cuboid(rng, leg, (0.05, 0.05, h)) for leg in legs]
        parts.append(cuboid(rng, (0, 0, h), (w, d, 0.04)))
        if kind == "chair":
            parts.append(cuboid(rng, (0, d / 2, 0.7), (w, 0.04, 0.5)))
        points = np.concatenate(parts)
    elif kind == "ball":
        points = cuboid(rng, (0, 0, size[0] / 2), size[[0, 0, 0]], round_axes=3)
    else:
        points = cuboid(rng, (0, 0, size[2] / 2), size, round_axes=2 * (kind == "cylinder"))
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def cuboid(rng, centre, size, round_axes: int = 0) -> np.ndarray:
    """Points (M, 3) on a cuboid, 3,000 per m²; round_axes 2 and 3 make it a cylinder or a ball."""
    area = np.prod(size) / np.array(size)
    axis = rng.choice(3, int(6000 * area.sum()), p=area / area.sum())
    points = rng.uniform(-0.5, 0.5, (len(axis), 3))
    points[np.arange(len(axis)), axis] = rng.choice((-0.5, 0.5), len(axis))
    if round_axes:
        part = points[:, :round_axes]
        part *= abs(part).max(axis=1, keepdims=True) / np.linalg.norm(part, axis=1, keepdims=True)
    return points * size + centre


def seen(xyz: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Which points a scanner at `eye` sees: no other is 10 cm nearer in a cell of 2 degrees."""
    ray = xyz - eye
    far = np.linalg.norm(ray, axis=1)
    angles = np.stack([np.arctan2(ray[:, 1], ray[:, 0]), np.arcsin(ray[:, 2] / far)], axis=1)
    _, cell = np.unique(angles // np.deg2rad(2), axis=0, return_inverse=True)
    nearest = np.full(len(xyz), np.inf)
    np.minimum.at(nearest, cell.reshape(-1), far)
    return far < nearest[cell.reshape(-1)] + 0.1


def save_picture(rooms, groups: dict[str, np.ndarray], out: Path | None) -> None:
    """Draw the fullest room by truth and by methods: groups (R, P) have colours, -1 is grey."""
    if out is None:
        return
    groups, room = {"truth": rooms[1].numpy(), **groups}, int(rooms[1].amax(1).argmax())
    points = rooms[0][room].numpy() @ seen_from(azimuth=-65, height=32)
    points, behind = points[:, :2], np.argsort(points[:, 2])
    figure = Figure(figsize=(3 * len(groups), 2.2), layout="constrained")
    for axis, (name, all_rooms) in zip(figure.subplots(1, len(groups)), groups.items()):
        group = all_rooms[room]
        order = list(dict.fromkeys(group[group >= 0].tolist()))
        colours = [axis_colour(order.index(g)) if g >= 0 else (0.8, 0.8, 0.8) for g in group]
        axis.scatter(*points[behind].T, c=[colours[n] for n in behind], s=6, lw=0)
        axis.set(title=name, aspect=1)
        axis.set_axis_off()
    figure.savefig(out, dpi=100)


def seen_from(azimuth: float, height: float) -> np.ndarray:
    """The axes of a view (3, 3), one per column: right, up, and towards the viewer, in degrees."""
    (a, h) = np.radians([azimuth, height])
    towards = np.array([np.cos(h) * np.cos(a), np.cos(h) * np.sin(a), np.sin(h)])
    right = np.array([-np.sin(a), np.cos(a), 0])
    return np.stack([right, np.cross(towards, right), towards], axis=1)
