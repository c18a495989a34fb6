"""Numbers from handwritten digits: tags group points, without an image of the whole scene.

    python examples/digits.py [--out PICTURE.png]

scikit-learn's handwritten digits are laid out as slanted numbers that cross each other. A small set
network takes each digit as a point with a position and 8 x 8 pixels, and lets all points of a scene
attend to each other. It says which digit each point is, and gives it a tag. Digits with similar
tags form a number. The table compares this with DBSCAN on the positions, tuned on the training
scenes.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.cluster import DBSCAN
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from tagwise import grouping, losses
from tagwise.plot.style import PALETTE

NUMBERS, LENGTHS, SIDE, NEAREST = 4, (2, 5), 4.5, 0.6
POINTS = NUMBERS * LENGTHS[1]


class Scenes(NamedTuple):
    """Scenes of POINTS digits each; padding has number -1."""

    place: torch.Tensor  # (S, P, 2) float32, x and y in digit widths, y downward
    pixels: torch.Tensor  # (S, P, 64) float32 in [0, 1], rotated like the number
    digit: torch.Tensor  # (S, P) int64, 0 to 9
    number: torch.Tensor  # (S, P) int64, the number of the scene that a digit belongs to

    def take(self, index) -> "Scenes":
        return Scenes(*(values[index] for values in self))


def make_scenes(count: int, seed: int, part: str) -> Scenes:
    """Scenes of crossing numbers, from the digits of one part of the set: "train" or "test"."""
    rng = np.random.default_rng(seed)
    place, slant, number = _layouts(rng, count)
    images, digits = load_digits(return_X_y=True)
    held_out = np.arange(len(digits)) % 4 == 3
    usable = np.flatnonzero(held_out if part == "test" else ~held_out)
    pick = rng.choice(usable, number.shape)
    pixels = torch.from_numpy(images[pick]).float() / 16
    pixels = _rotated(pixels.reshape(-1, 1, 8, 8), torch.from_numpy(slant).reshape(-1))
    return Scenes(
        torch.from_numpy(place).float(),
        pixels.reshape(*number.shape, 64),
        torch.from_numpy(digits[pick]),
        torch.from_numpy(number),
    )


def _layouts(rng, count: int):
    """Positions, slants and numbers of scenes in which no two digits cover each other."""
    accepted = []
    while sum(len(place) for place, _, _ in accepted) < count:
        shape = (4 * count, NUMBERS, LENGTHS[1])
        length = rng.integers(LENGTHS[0], LENGTHS[1] + 1, shape[:2])[..., None]
        slant = rng.uniform(-1.1, 1.1, (*shape[:2], 1))
        along = np.arange(LENGTHS[1]) - (length - 1) / 2
        place = rng.uniform(-SIDE / 2, SIDE / 2, (*shape[:2], 1, 2))
        place = place + np.stack([along * np.cos(slant), along * np.sin(slant)], axis=3)
        number = np.broadcast_to(np.arange(NUMBERS)[:, None], shape)
        number = np.where(np.arange(LENGTHS[1]) < length, number, -1)
        slant = np.broadcast_to(slant, shape)
        place, slant, number = (
            v.reshape(len(v), POINTS, *v.shape[3:]) for v in (place, slant, number)
        )
        gap = np.linalg.norm(place[:, :, None] - place[:, None], axis=3) + 9 * np.eye(POINTS)
        gap += 9 * ((number < 0)[:, :, None] | (number < 0)[:, None])
        clear = gap.min(axis=(1, 2)) > NEAREST
        accepted.append((place[clear], slant[clear], number[clear]))
    return tuple(np.concatenate(values)[:count] for values in zip(*accepted))


def _rotated(pixels: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Images (N, 1, 8, 8) rotated by angles (N,), and a little smaller so that corners stay in."""
    cos, sin, zero = 1.15 * angle.cos(), 1.15 * angle.sin(), torch.zeros_like(angle)
    inverse = torch.stack([cos, sin, zero, -sin, cos, zero], dim=1).reshape(-1, 2, 3).float()
    grid = F.affine_grid(inverse, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


class SetNetwork(nn.Module):
    """Logits of the digits (S, P, 10) and tags (S, P, D) of points, by attention among them."""

    def __init__(self, width: int = 64, depth: int = 3, tag_dim: int = 4):
        super().__init__()
        self.pixels = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, width))
        self.place = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.mix = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.digit, self.tag = nn.Linear(width, 10), nn.Linear(width, tag_dim)

    def forward(self, scenes: Scenes):
        pixels = self.pixels(scenes.pixels)
        mixed = self.mix(pixels + self.place(scenes.place), src_key_padding_mask=scenes.number < 0)
        return self.digit(pixels), self.tag(mixed)


def train(network: SetNetwork, scenes: Scenes, steps: int, batch: int = 32) -> None:
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    random = torch.Generator().manual_seed(0)
    for step in range(steps):
        part = scenes.take(torch.randint(len(scenes.place), (batch,), generator=random))
        digit, tag = network(part)
        scene = torch.arange(batch)[:, None].expand_as(part.number)
        apart = losses.pull_push(tag.flatten(0, 1), part.number.flatten(), scene.flatten())
        real = part.number >= 0
        read = F.cross_entropy(digit[real], part.digit[real])
        optimizer.zero_grad()
        (read + apart.pull + apart.push).backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(f"step {step}: digits {read:.3f}, pull {apart.pull:.3f}, push {apart.push:.3f}")


@torch.no_grad()
def predict(network: SetNetwork, scenes: Scenes):
    """The digit read at each point (S, P), its tag (S, P, D), and its group by tag (S, P)."""
    network.eval()
    digit, tag = network(scenes)
    scene = torch.arange(len(tag))[:, None].expand_as(scenes.number)
    scene = torch.where(scenes.number < 0, -1, scene)
    groups = grouping.group_by_seed(tag.flatten(0, 1), bandwidth=1.0, image=scene.flatten())
    return digit.argmax(2), tag, groups.group.reshape(scene.shape)


def by_place(scenes: Scenes, reach: float) -> np.ndarray:
    """The group of each point (S, P) by DBSCAN on the positions, -1 for padding."""
    group = np.full(scenes.number.shape, -1)
    for own, place, number in zip(group, scenes.place.numpy(), scenes.number.numpy()):
        real = number >= 0
        own[real] = DBSCAN(eps=reach, min_samples=1).fit_predict(place[real])
    return group


def tuned_reach(scenes: Scenes) -> float:
    """The eps of DBSCAN that finds most numbers of these scenes."""
    choices = np.arange(0.6, 1.6, 0.05)

    def share(reach: float) -> float:
        return share_found(scenes, by_place(scenes, reach), scenes.digit)

    return max(choices, key=share)


def share_found(scenes: Scenes, group: np.ndarray, read: torch.Tensor) -> float:
    """Share of the numbers whose digits are exactly one group and are all read correctly."""
    correct = total = 0
    for true, own, same in zip(scenes.number.numpy(), group, (read == scenes.digit).numpy()):
        for number in range(NUMBERS):
            digits = true == number
            first = own[digits][0]
            correct += bool(same[digits].all() and np.array_equal(own == first, digits))
            total += 1
    return correct / total


def picture(scenes: Scenes, groups: dict[str, np.ndarray], rows: int = 3) -> Figure:
    """Scenes (rows) by methods of grouping (columns); digits of one group have one colour."""
    figure = Figure(figsize=(3 * len(groups), 3 * rows), layout="constrained")
    axes = figure.subplots(rows, len(groups), squeeze=False)
    for row, column in np.ndindex(axes.shape):
        axis, (name, group) = axes[row, column], list(groups.items())[column]
        for p in np.flatnonzero(scenes.number[row] >= 0):
            ink = scenes.pixels[row, p].reshape(8, 8).numpy()
            colour = np.array(PALETTE[_rank(group[row], p) % len(PALETTE)]) / 255 * 0.85
            x, y = scenes.place[row, p].tolist()
            image = np.dstack([np.broadcast_to(colour, (8, 8, 3)), ink])
            axis.imshow(image, extent=(x - 0.5, x + 0.5, y + 0.5, y - 0.5), interpolation="bicubic")
        places = scenes.place[row][scenes.number[row] >= 0].numpy()
        low, high = places.min() - 0.6, places.max() + 0.6
        axis.set(xlim=(low, high), ylim=(high, low), xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_color("0.85")
        if row == 0:
            axis.set_title(name, fontsize=11)
    return figure


def _rank(group: np.ndarray, point: int) -> int:
    """The rank of a point's group, with groups ordered by their first points."""
    return list(dict.fromkeys(group.tolist())).index(group[point])


def main(
    steps: int = 1500, scenes: int = 4000, tests: int = 250, out: Path | None = None
) -> dict[str, float]:
    """Train, print the table and draw the picture.

    Returns the share of numbers grouped and read, by "places" (DBSCAN) and by "tags".
    """
    torch.manual_seed(0)
    training, test = make_scenes(scenes, 0, "train"), make_scenes(tests, 1, "test")
    network = SetNetwork()
    train(network, training, steps)
    read, _, by_tag = predict(network, test)
    reach = tuned_reach(training.take(slice(tests)))
    near = by_place(test, reach)
    methods = {f"DBSCAN on places, eps {reach:.2f}": near, "tags": by_tag}
    print(f"{(read == test.digit)[test.number >= 0].float().mean():.1%} of digits read correctly")
    print(f"{'numbers':<30}  grouped  grouped and read")
    for name, group in methods.items():
        grouped, exact = share_found(test, group, test.digit), share_found(test, group, read)
        print(f"{name:<30}  {grouped:7.1%}  {exact:7.1%}")
    if out:
        picture(test, methods).savefig(out, dpi=110)
        print(f"written: {out}")
    return {"places": share_found(test, near, read), "tags": share_found(test, by_tag, read)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, help="file for the picture")
    arguments = parser.parse_args()
    main(arguments.steps, out=arguments.out)
