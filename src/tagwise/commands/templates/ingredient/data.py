"""The scenes (place 1 of 5): replace `make_scene` by a function that reads yours.

The scenes here are points on straight threads that cross. Each point has a position and
a direction, as an edge detector gives them, both with errors. Some points are noise.
The question is which points are on one thread.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

FEATURES = 4  # numbers per point: x, y, and the cosine and sine of twice the angle


class Scene(NamedTuple):
    """The P points of one scene; P may differ between scenes."""

    features: Tensor  # (P, FEATURES) float32, about -1 to 1
    group: Tensor  # (P,) int64, any number for each group, -1 for noise


class Batch(NamedTuple):
    """B scenes, padded to the same number of points P."""

    features: Tensor  # (B, P, FEATURES), 0 in the padding
    group: Tensor  # (B, P), -1 for noise and in the padding
    used: Tensor  # (B, P) bool, False in the padding


def make_scene(seed: int) -> Scene:
    """Three to five threads with 8 to 12 points each, and four points of noise."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random)

    threads, noise = int(torch.randint(3, 6, (), generator=random)), 4
    size = torch.randint(8, 13, (threads,), generator=random)
    group = torch.repeat_interleave(torch.arange(threads), size)
    angle = (math.pi * uniform(threads))[group]
    direction = torch.stack([angle.cos(), angle.sin()], 1)
    middle = (uniform(threads, 2) - 0.5)[group]
    place = middle + 1.2 * (uniform(len(group), 1) - 0.5) * direction
    place = place + 0.01 * torch.randn(place.shape, generator=random)

    place = torch.cat([place, 2 * uniform(noise, 2) - 1])
    angle = torch.cat([angle, math.pi * uniform(noise)])
    angle = angle + 0.05 * torch.randn(angle.shape, generator=random)
    group = torch.cat([group, torch.full((noise,), -1)])
    # An angle and its opposite are the same direction: twice the angle has one value.
    turned = torch.stack([(2 * angle).cos(), (2 * angle).sin()], 1)
    return Scene(torch.cat([place, turned], 1), group)


class Scenes(Dataset[Scene]):
    """A data set of scenes. Different first seeds give training and test scenes."""

    def __init__(self, count: int, first_seed: int = 0) -> None:
        self.scenes = [make_scene(first_seed + number) for number in range(count)]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Scene:
        return self.scenes[index]


def stack(scenes: Sequence[Scene]) -> Batch:
    """Pad scenes to the largest number of points; the `collate_fn` of a DataLoader."""
    most = max(len(scene.group) for scene in scenes)
    features = torch.zeros(len(scenes), most, FEATURES)
    group = torch.full((len(scenes), most), -1)
    used = torch.zeros(len(scenes), most, dtype=torch.bool)
    for row, scene in enumerate(scenes):
        count = len(scene.group)
        features[row, :count] = scene.features
        group[row, :count] = scene.group
        used[row, :count] = True
    return Batch(features, group, used)
