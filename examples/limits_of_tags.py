"""The figures of docs/limits_of_tags.md: where tags fail, each from a small experiment on a CPU.

python examples/limits_of_tags.py [--out FOLDER] [NAME ...]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from ingredient_figures import colour, exact, panels
from matplotlib.figure import Figure
from scipy.spatial import cKDTree
from torch import nn
from torch.nn import functional as F

from tagwise import grouping, losses

# ---------------------------------------------------------------------- too many groups


def crowded(groups: int, near: float | None, dims: int = 2, steps: int = 150) -> float:
    """Share of groups found, of groups of four points at random places of a square of side 1.

    Tags are free and are read with noise .2. near: only groups nearer than this push each other,
    and only points nearer than this may be grouped; None: all.
    """
    random = torch.Generator().manual_seed(0)
    group = torch.arange(groups).repeat_interleave(4)
    place = torch.rand(groups, 2, generator=random)[group]
    place = place + 0.01 * torch.randn(place.shape, generator=random)
    tags = nn.Parameter(0.5 * torch.randn(len(group), dims, generator=random))
    optimizer = torch.optim.Adam([tags], lr=0.05)
    how = {} if near is None else {"place": place, "near": near}
    for _ in range(steps):
        loss = losses.pull_push(tags, group, torch.zeros_like(group), **how)
        optimizer.zero_grad()
        (loss.pull + loss.push).backward()
        optimizer.step()
    read = tags.detach() + 0.2 * torch.randn(tags.shape, generator=random)
    gate = None if near is None else torch.cdist(place, place) < near
    return exact(grouping.group_by_seed(read, bandwidth=1.0, gate=gate).group, group.numpy())


def draw_groups() -> Figure:
    figure, (axis,) = panels(1)
    figure.set_size_inches(6.4, 3.6)
    counts = (5, 10, 20, 50, 100, 200, 400)
    for n, (name, near) in enumerate((("all groups push", None), ("only near groups push", 0.1))):
        values = [100 * crowded(count, near) for count in counts]
        axis.plot(counts, values, "o-", color=colour(n), lw=2, label=name)
    axis.set(xscale="log", xlabel="groups in an image, D = 2", ylabel="groups found, %")
    axis.set(ylim=(-3, 103))
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend(frameon=False)
    return figure


# ---------------------------------------------------------------------- long chains


def chains(count: int, length: int, random: torch.Generator):
    """Features (S, 2, L) and groups (S, 2, L) of pairs of chains that may swap sides once.

    The first feature is 1 where they swap, the second is 0. Chain 0 starts on side 0.
    """
    at = torch.randint(1, length, (count, 1), generator=random)
    swap = torch.rand(count, 1, generator=random) < 0.5
    mark = ((torch.arange(length) == at) & swap).float()
    after = (mark.cumsum(1) > 0).long()
    return torch.stack([mark, torch.zeros_like(mark)], 1), torch.stack([after, 1 - after], 1)


def chain_score(length: int, reach: int, steps: int = 300) -> float:
    """Share of pairs of chains grouped without a mistake, by a network that sees `reach` steps."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv1d(2, 32, 1)]
    for n in range(reach.bit_length() - 1):  # 1 + 1 + 2 + 4 + ... = reach
        step = max(1, 2 ** (n - 1))
        layers += [nn.Conv1d(32, 32, 3, padding=step, dilation=step), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv1d(32, 4, 1))
    optimizer, random = torch.optim.Adam(network.parameters(), 5e-3), torch.Generator()
    random.manual_seed(0)
    for _ in range(steps):
        features, group = chains(32, length, random)
        loss = losses.pull_push(*chain_points(network, features, group))
        optimizer.zero_grad()
        (loss.pull + loss.push).backward()
        optimizer.step()
    with torch.no_grad():
        tags, group, image = chain_points(network, *chains(100, length, random))
    found = grouping.group_by_seed(tags, bandwidth=1.0, image=image).group.reshape(100, -1)
    return float(np.mean([exact(f, g) for f, g in zip(found, group.reshape(100, -1).numpy())]))


def chain_points(network: nn.Module, features: torch.Tensor, group: torch.Tensor):
    """Tags (P, 2), groups (P,) and images (P,) of all points of chains."""
    tags = network(features).unflatten(1, (2, 2)).permute(0, 1, 3, 2)
    image = torch.arange(len(group))[:, None, None].expand_as(group)
    return tags.flatten(0, 2), group.flatten(), image.flatten()


def draw_chains() -> Figure:
    figure, (axis,) = panels(1)
    figure.set_size_inches(6.4, 3.6)
    lengths = (4, 8, 16, 32, 64, 128)
    for n, reach in enumerate((4, 16, 64)):
        values = [100 * chain_score(length, reach) for length in lengths]
        axis.plot(lengths, values, "o-", color=colour(n), lw=2, label=f"the network sees {reach}")
    axis.set(xscale="log", xlabel="points of a chain", ylabel="chains found, %", ylim=(-3, 103))
    axis.set_xticks(lengths, lengths)
    axis.minorticks_off()
    axis.legend(frameon=False)
    return figure


# ---------------------------------------------------------------------- groups that touch


def touching(groups: int, gap: float, side: int = 96, stride: int = 4, steps: int = 200) -> float:
    """Share of objects found with an IoU above .5 in an image that they fill.

    Objects are the cells of random points, apart by `gap` pixels. Their tags are free in a map at
    a stride, as a network's are, and are read between its cells by interpolation.
    """
    random = np.random.default_rng(0)
    pixels = np.indices((side, side)).reshape(2, -1).T
    distance, nearest = cKDTree(random.uniform(0, side, (groups, 2))).query(pixels, k=2)
    labels = np.where(distance[:, 1] - distance[:, 0] < gap, -1, nearest[:, 0])
    group, image = torch.from_numpy(labels), torch.zeros(len(labels), dtype=torch.long)
    torch.manual_seed(0)
    tags = nn.Parameter(0.5 * torch.randn(1, 4, side // stride, side // stride))
    optimizer = torch.optim.Adam([tags], lr=0.05)
    for _ in range(steps):
        fine = F.interpolate(tags, scale_factor=stride, mode="bilinear")[0].flatten(1).T
        loss = losses.pull_push(fine, group, image)
        optimizer.zero_grad()
        (loss.pull + loss.push).backward()
        optimizer.step()
    used = np.flatnonzero(labels >= 0)
    found = grouping.group_by_seed(fine.detach()[used], bandwidth=1.0).group
    return objects_found(found, labels[used])


def objects_found(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of true objects that have a found group with an IoU above .5."""
    shared = np.zeros((truth.max() + 1, found.max() + 2))
    np.add.at(shared, (truth, found), 1)
    sizes = shared.sum(axis=1, keepdims=True)
    share = shared / np.maximum(sizes + shared.sum(axis=0) - shared, 1)
    return float((share[sizes[:, 0] > 0, :-1] > 0.5).any(axis=1).mean())


def draw_touching() -> Figure:
    figure, (axis,) = panels(1)
    figure.set_size_inches(6.4, 3.6)
    counts = np.array((12, 25, 50, 100, 200, 400))
    widths = 96 / 4 / np.sqrt(counts)
    for n, (name, gap) in enumerate((("touching everywhere", 0), ("4 pixels apart", 4))):
        values = [100 * touching(int(count), gap) for count in counts]
        axis.plot(widths, values, "o-", color=colour(n), lw=2, label=name)
    axis.set(xlabel="width of an object in cells of the tag map", ylabel="objects found, %")
    axis.set(ylim=(-3, 103))
    axis.legend(frameon=False)
    return figure


FIGURES = {"groups": draw_groups, "chains": draw_chains, "touching": draw_touching}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = f"of {', '.join(FIGURES)}; all by default"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        path = arguments.out / f"limits_{name}.png"
        FIGURES[name]().savefig(path, dpi=110, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main()
