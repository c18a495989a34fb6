"""The figures of docs/ingredient.md, each from a small experiment on a CPU.

    python examples/ingredient_figures.py [--out FOLDER] [NAME ...]

Most of them use no network: the optimizer moves the tags themselves ("free tags"), so that the
figures show the effect of the loss only. Each experiment is a function that returns plain numbers,
and `FIGURES` holds the functions that draw them.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from tagwise import grouping, losses
from tagwise.plot import plot_push
from tagwise.plot.style import instance_colour, tidy


def colour(number: int) -> np.ndarray:
    return np.array(instance_colour(number)) / 255 * 0.85


def panels(columns: int, height: float = 3.4) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(min(1.2 + 3.9 * columns, 11), height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        tidy(axis)
    return figure, axes


def free_tags(
    groups: int, points: int, dims: int, steps: int, spread: float = 0.5, lr: float = 0.05, **how
) -> torch.Tensor:
    """Tags (steps + 1, groups * points, dims) as Adam moves them, starting from N(0, spread)."""
    torch.manual_seed(0)
    tags = nn.Parameter(spread * torch.randn(groups * points, dims))
    group = torch.arange(groups).repeat_interleave(points)
    optimizer = torch.optim.Adam([tags], lr=lr)
    path = [tags.detach().clone()]
    for _ in range(steps):
        loss = losses.pull_push(tags, group, torch.zeros_like(group), **how)
        optimizer.zero_grad()
        (loss.pull + loss.push).backward()
        optimizer.step()
        path.append(tags.detach().clone())
    return torch.stack(path)


def exact(group: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true groups that equal a found group."""
    found = {frozenset(np.flatnonzero(group == g).tolist()) for g in set(group.tolist()) - {-1}}
    true = [frozenset(np.flatnonzero(truth == g).tolist()) for g in set(truth.tolist())]
    return sum(g in found for g in true) / len(true)


# ---------------------------------------------------------------------- what the loss does


def draw_loss() -> Figure:
    """Tags of five groups of six points by step, with pull only, push only, and both."""
    figure, axes = panels(3)
    names = ("pull only", "push only", "both")
    for axis, name, weights in zip(axes, names, ((1, 0), (0, 1), (1, 1))):
        path = weighted_tags(*weights)
        for p in range(path.shape[1]):
            axis.plot(path[:, p], color=colour(p // 6), lw=1, alpha=0.8)
        axis.set(title=name, xlabel="step")
    axes[0].set_ylabel("tag")
    return figure


def weighted_tags(pull: float, push: float, steps: int = 150) -> np.ndarray:
    """Free tags (steps + 1, 30), D = 1, of five groups; pull, push: weights of the two terms."""
    torch.manual_seed(3)
    tags = nn.Parameter(torch.randn(30, 1))
    group = torch.arange(30) // 6
    optimizer = torch.optim.Adam([tags], lr=0.05)
    path = [tags.detach().clone()]
    for _ in range(steps):
        loss = losses.pull_push(tags, group, torch.zeros_like(group))
        optimizer.zero_grad()
        (pull * loss.pull + push * loss.push).backward()
        optimizer.step()
        path.append(tags.detach().clone())
    return torch.stack(path)[..., 0].numpy()


# ---------------------------------------------------------------------- exp or hinge


def nearest_gaps(path: torch.Tensor, points: int) -> np.ndarray:
    """Distance (steps + 1,) between the mean tags of the nearest two groups."""
    means = path.unflatten(1, (-1, points)).mean(2)
    return np.array([torch.pdist(m).min().item() for m in means])


def exp_and_hinge(steps: int = 600) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each form, by step: distance of the nearest two of twelve groups, extent of all tags."""
    out = {}
    for name, how in (
        ("exp, σ = 1", {}),
        ("hinge, m = 1", {"push": "hinge"}),
        ("hinge, m = 3", {"push": "hinge", "margin": 3.0}),
    ):
        path = free_tags(12, 4, 2, steps, **how)
        extent = (path.amax(1) - path.amin(1)).amax(1).numpy()
        out[name] = nearest_gaps(path, 4), extent
    return out


def draw_exp_or_hinge() -> Figure:
    figure, axes = panels(2)
    for n, (name, (gap, extent)) in enumerate(exp_and_hinge().items()):
        axes[0].plot(gap, color=colour(n), lw=2, label=name)
        axes[1].plot(extent, color=colour(n), lw=2, label=name)
    axes[0].set(xlabel="step", ylabel="distance between the nearest two groups")
    axes[1].set(xlabel="step", ylabel="extent of all tags")
    axes[0].legend(frameon=False)
    return figure


# ---------------------------------------------------------------------- equal tags


def escape(form: str, starts: np.ndarray, limit: int = 3000) -> np.ndarray:
    """Steps of gradient descent (rate .1) until two groups are 1 apart.

    starts: initial distances of the two.
    """
    out = []
    for start in starts:
        tags = nn.Parameter(torch.tensor([[0.0], [float(start)]], dtype=torch.float64))
        group, image = torch.tensor([0, 1]), torch.tensor([0, 0])
        for step in range(limit + 1):
            if (tags[1] - tags[0]).abs() >= 0.999 or step == limit:
                break
            (slope,) = torch.autograd.grad(
                losses.pull_push(tags, group, image, push=form).push, tags
            )
            with torch.no_grad():
                tags -= 0.1 * slope
        out.append(step)
    return np.array(out)


def collapse(weights: np.ndarray, steps: int = 400) -> np.ndarray:
    """Mean distance of groups after training one linear layer on noisy features, by pull's weight.

    Four groups; a feature is that of its group plus noise half as large, so that pull is
    satisfied only where all tags are one.
    """
    torch.manual_seed(0)
    group = torch.arange(4).repeat_interleave(25)
    centres = torch.randn(4, 8)
    features = centres[group] + 0.5 * torch.randn(100, 8)
    out = []
    for weight in weights:
        torch.manual_seed(1)
        layer = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
        for _ in range(steps):
            loss = losses.pull_push(layer(features), group, torch.zeros_like(group))
            optimizer.zero_grad()
            (float(weight) * loss.pull + loss.push).backward()
            optimizer.step()
        means = layer(features).detach().unflatten(0, (4, 25)).mean(1)
        out.append(torch.pdist(means).mean().item())
    return np.array(out)


def draw_collapse() -> Figure:
    figure, axes = panels(2)
    starts, weights = 10.0 ** np.arange(-6, 0), 2.0 ** np.arange(-4, 7)
    for n, form in enumerate(("exp", "hinge")):
        axes[0].plot(starts, escape(form, starts), "o-", color=colour(n), lw=2, label=form)
    axes[0].set(xscale="log", xlabel="initial distance between two groups")
    axes[0].set_ylabel("steps until they are 1 apart")
    axes[0].legend(frameon=False)
    axes[1].plot(weights, collapse(weights), "o-", color=colour(3), lw=2)
    axes[1].set(xscale="log", xlabel="weight of pull, push = 1", ylim=(0, None))
    axes[1].set_ylabel("final mean distance of groups")
    return figure


# ---------------------------------------------------------------------- how many dimensions


def crowding(groups: int, dims: int, steps: int = 150) -> float:
    """Share of groups found when free tags are read with noise .2 after a number of steps."""
    points = 4
    path = free_tags(groups, points, dims, steps)
    noise = 0.2 * np.random.default_rng(0).normal(size=path[-1].shape)
    found = grouping.group_by_seed(path[-1].numpy() + noise, bandwidth=1.0)
    return exact(found.group, np.repeat(np.arange(groups), points))


def draw_dimensions() -> Figure:
    figure, (axis,) = panels(1)
    figure.set_size_inches(6.4, 3.6)
    counts = (2, 5, 10, 20, 50, 100, 200)
    for n, dims in enumerate((1, 2, 4, 8)):
        values = [100 * crowding(count, dims) for count in counts]
        axis.plot(counts, values, "o-", color=colour(n), lw=2, label=f"D = {dims}")
    axis.set(xscale="log", xlabel="groups in an image", ylabel="groups found, %", ylim=(-3, 103))
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    axis.legend(frameon=False)
    return figure


# ---------------------------------------------------------------------- bandwidth and margin


def noisy_tags(scatter: float, groups: int = 40, points: int = 12, dims: int = 2):
    """Tags of groups on a grid with spacing 2, scattered around it, and their true groups."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(groups), points)
    centres = 2.0 * np.stack([np.arange(groups) % 7, np.arange(groups) // 7], axis=1)
    return centres[truth] + scatter * rng.normal(size=(len(truth), dims)), truth


def draw_bandwidth() -> Figure:
    figure, axes = panels(3)
    reaches = np.linspace(0.1, 2.4, 47)
    ways = (
        ("group_by_seed", lambda tags, r: grouping.group_by_seed(tags, bandwidth=r)),
        ("group_connected", lambda tags, r: grouping.group_connected(tags, radius=r)),
    )
    for axis, (name, way) in zip(axes, ways):
        for n, scatter in enumerate((0.1, 0.2, 0.3)):
            tags, truth = noisy_tags(scatter)
            values = [100 * exact(way(tags, r).group, truth) for r in reaches]
            axis.plot(reaches, values, color=colour(n), lw=2, label=f"scatter {scatter}")
        axis.set(title=name, xlabel="bandwidth or radius", ylabel="groups found, %")
    axes[0].legend(frameon=False)
    share, wrong = margins()
    axes[2].bar(share, wrong, width=0.085, color=colour(4))
    axes[2].set(title="margin", xlabel="margin of a point", ylabel="in the wrong group, %")
    return figure


def margins() -> tuple[np.ndarray, np.ndarray]:
    """Margins, in bins of .1, and the share of points in the wrong group in each, in percent."""
    tags, truth = noisy_tags(0.5, points=200)
    centres = 2.0 * np.stack([np.arange(40) % 7, np.arange(40) // 7], axis=1)
    groups = grouping.group_by_reference(tags, centres)
    bins = np.clip((groups.margin * 10).astype(int), 0, 19)
    wrong = np.bincount(bins, groups.group != truth, 20) / np.maximum(np.bincount(bins), 1)
    return np.arange(20) / 10 + 0.05, 100 * wrong


# ---------------------------------------------------------------------- tag plots


def draw_tag_plots() -> Figure:
    """Four examples of tag plots; rows are the points of a group, each group has a colour."""
    rng = np.random.default_rng(4)
    rows = np.arange(12)
    plain = np.array([0.0, 1.6, 3.4, 5.0])[:, None] + 0.06 * rng.normal(size=(4, 12))
    near, loose, stray = plain.copy(), plain.copy(), plain.copy()
    near[2] = near[1] + 0.15 + 0.06 * rng.normal(size=12)
    loose[1, 6:] += 0.9
    loose[3] += 0.3 * np.sin(rows) + 0.35 * rng.normal(size=12)
    stray[0, 8] = stray[2, 8]
    figure, axes = panels(4)
    names = ("correct", "pushed too little", "pulled too little", "one misplaced point")
    for axis, name, tags in zip(axes, names, (plain, near, loose, stray)):
        for n, values in enumerate(tags):
            axis.plot(values, rows, "-", color=colour(n), lw=1.2, alpha=0.6)
            axis.scatter(
                values, rows, s=34, color=[colour(n)], edgecolors="white", lw=0.7, zorder=3
            )
        axis.set(title=name, xlabel="tag", yticks=[], xlim=(-0.8, 6.2))
    axes[0].set_ylabel("points of a group")
    return figure


# ---------------------------------------------------------------------- half precision


def rounded(dtype: torch.dtype, sizes: np.ndarray) -> list[float]:
    """Share of 40 groups found when their tags are rounded to a dtype.

    sizes: values around which the tags are, on a grid with spacing 2.
    """
    tags, truth = noisy_tags(0.1)
    out = []
    for size in sizes:
        stored = torch.from_numpy(tags + size).to(dtype)
        out.append(exact(grouping.group_by_seed(stored, bandwidth=1.0).group, truth))
    return out


def draw_precision() -> Figure:
    figure, (axis,) = panels(1)
    figure.set_size_inches(6.4, 3.6)
    sizes = 2.0 ** np.arange(2, 15)
    for n, (name, dtype) in enumerate(
        (("bfloat16", torch.bfloat16), ("float16", torch.float16), ("float32", torch.float32))
    ):
        values = 100 * np.array(rounded(dtype, sizes))
        axis.plot(sizes, values, "o-", color=colour(n), lw=2, label=name)
    axis.set(xscale="log", xlabel="size of the tags", ylabel="groups found, %", ylim=(-3, 103))
    axis.legend(frameon=False)
    return figure


FIGURES = {
    "loss": draw_loss,
    "push": plot_push,
    "exp_or_hinge": draw_exp_or_hinge,
    "collapse": draw_collapse,
    "dimensions": draw_dimensions,
    "bandwidth": draw_bandwidth,
    "tag_plots": draw_tag_plots,
    "precision": draw_precision,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = f"of {', '.join(FIGURES)}; all by default"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        path = arguments.out / ("push.png" if name == "push" else f"ingredient_{name}.png")
        FIGURES[name]().savefig(path, dpi=110, metadata={"Software": None})
        print(path)


if __name__ == "__main__":
    main()
