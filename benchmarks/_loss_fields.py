"""Three more fields for `losses.py`: the examples of docs/fields.md on a short schedule.

Data, networks and scores are those of examples/points_3d.py, text_lines.py and cameras.py. Their
tags do not start from a position, except with a loss of POSITIONED, as in `_loss_photos.py`.
"""

from __future__ import annotations

from functools import cache, partial

import _loss_points as points  # makes the examples importable
import cameras
import points_3d
import text_lines
import torch
from field_data.report import f1
from torch import Tensor, nn
from torch.nn import functional as F

ROOM_POINTS = 1024  # every other point of a room
TRAIN, TUNE, TEST = 0, 2, 1  # seeds of the data, as in the examples


def picked(count: int, step: int, seed: int, size: int) -> tuple[Tensor, torch.Generator]:
    """The scenes (size,) of `count` for a step, and the generator for what else is random."""
    random = torch.Generator().manual_seed(100_000 * (seed + 1) + step)
    return torch.randint(count, (size,), generator=random), random


@cache
def rooms(count: int, seed: int) -> tuple[Tensor, Tensor]:
    xyz, owner = points_3d.make_rooms(count, seed)  # points are in random order
    return xyz[:, :ROOM_POINTS], owner[:, :ROOM_POINTS]


def room_task(quick: bool = False) -> points.PointTask:
    """Objects in scans of rooms: examples/points_3d.py with half of the points."""
    count, held_out = (2, 2) if quick else (150, 30)

    def batch(step: int, seed: int) -> points.Batch:
        pick, random = picked(count, step, seed, 2)
        mirror = F.pad(1.0 - 2 * torch.randint(2, (2,), generator=random), (0, 1), value=1.0)
        xyz, owner = rooms(count, TRAIN)
        return points.Batch(xyz[pick] * mirror, owner[pick])

    def apply(network: nn.Module, batch: points.Batch) -> points.Applied:
        real, output = map(torch.cat, zip(*map(network, batch.inputs.split(8))))
        other = F.binary_cross_entropy_with_logits(real, (batch.group >= 0).float())
        return points.Applied(output, other, real > 0)

    return points.PointTask(
        network=lambda channels: points_3d.RoomNet(channels, start=0),
        with_position=points_3d.RoomNet,
        batch=batch,
        held_out=lambda part: points.Batch(*rooms(held_out, TUNE if part == "tune" else TEST)),
        apply=apply,
        score=partial(f1, least=points_3d.SMALLEST),
        steps=2 if quick else 200,
        lr=4e-3,
    )


pages = cache(text_lines.make_pages)


def line_task(quick: bool = False) -> points.PointTask:
    """Characters of a line of text: examples/text_lines.py without the words."""
    count, held_out = (4, 2) if quick else (300, 32)

    def batch(step: int, seed: int) -> points.Batch:
        pick, _ = picked(count, step, seed, 4)
        whole = pages(count, TRAIN)
        most = (whole.line[pick] >= 0).sum(1).amax()
        part = text_lines.Pages(*(values[pick, :most] for values in whole))
        return points.Batch(part, part.line)

    def test(part: str) -> points.Batch:
        whole = pages(held_out, TUNE if part == "tune" else TEST)
        return points.Batch(whole, whole.line)

    def apply(network: nn.Module, batch: points.Batch) -> points.Applied:
        _, output = network(batch.inputs)  # the tags of lines
        return points.Applied(output, output.new_zeros(()), batch.group >= 0)

    return points.PointTask(
        network=lambda channels: text_lines.TextNet(channels, start=0),
        with_position=text_lines.TextNet,
        batch=batch,
        held_out=test,
        apply=apply,
        score=partial(f1, iou=0.999),
        steps=2 if quick else 240,
        lr=2e-3,
    )


scenes = cache(cameras.make_scenes)


def camera_task(quick: bool = False) -> points.PointTask:
    """Detections of a person in several cameras: examples/cameras.py."""
    count, held_out = (4, 2) if quick else (1500, 100)

    def batch(step: int, seed: int) -> points.Batch:
        pick, _ = picked(count, step, seed, 16)
        return taken(cameras.Scenes(*(values[pick] for values in scenes(count, TRAIN))))

    def taken(part: cameras.Scenes) -> points.Batch:
        return points.Batch(part, part.person, part.camera)

    def apply(network: nn.Module, batch: points.Batch) -> points.Applied:
        output = network(batch.inputs)
        return points.Applied(output, output.new_zeros(()), batch.type >= 0)

    return points.PointTask(
        network=cameras.ViewNet,
        batch=batch,
        held_out=lambda part: taken(scenes(held_out, TUNE if part == "tune" else TEST)),
        apply=apply,
        score=partial(f1, iou=0.999, least=2),
        steps=2 if quick else 300,
        lr=3e-3,
    )


FIELD_TASKS = {"rooms": room_task, "lines": line_task, "cameras": camera_task}
