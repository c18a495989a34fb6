"""Point sets for `losses.py`: the six losses at one set network, and how each is read.

A network gives each point D tag components and two more channels, which only the spatial loss uses:
its learned bandwidth and how good a seed the point is. All losses therefore train the same network.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tagwise import grouping, losses

sys.path.append(str(Path(__file__).parents[1] / "examples"))
import add_to_your_network as particles
import digits

LOSSES = ("exp", "hinge", "discriminative", "spatial", "contrastive", "cosine")
POSITION = " + position"  # ends the name of a loss on tags that start from the position
POSITIONED = tuple(loss + POSITION for loss in ("exp", "hinge", "spatial"))
DIRECTIONS = ("contrastive", "cosine")  # compared on tags of length 1
DIM = 8
# Bandwidths that the grouping search tries; for the spatial loss, times the learned bandwidth.
SCALES = (0.1, 0.15, 0.22, 0.33, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5, 7.0)
MEASURED = (0.06, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0)  # shares of the steps


class Batch(NamedTuple):
    """Points of S sets of P points: what the network takes, and the truth."""

    inputs: Any
    group: Tensor  # (S, P) int64, -1 for none
    type: Tensor | None = None  # (S, P) int64; a group has at most one point of each


class Applied(NamedTuple):
    """What the network says about a batch."""

    output: Tensor  # (S, P, DIM + 2): tags, bandwidth, seed
    other: Tensor  # scalar, the loss of what the network learns besides tags
    used: Tensor  # (S, P) bool, the points that are grouped


def share_exact(found: np.ndarray, true: Tensor) -> float:
    """Share of the true groups that are one found group, point for point; both (S, P)."""
    true = true.numpy()
    together = [
        (group[:, :, None] == group[:, None]) & (group >= 0)[:, :, None] for group in (found, true)
    ]
    right = (together[0] == together[1]).all(2)
    share = (true >= 0) / np.maximum(together[1].sum(2), 1)  # sums to 1 over a true group
    return float((right * share).sum() / share.sum())


@dataclass(frozen=True)
class PointTask:
    """A problem of grouping points, and the network and schedule that solve it.

    network: makes the network for a number of output channels. batch: makes the batch of a step,
    from the step and the seed. held_out: makes a set of points, from "tune" or "test". apply: runs
    the network. steps, lr: of the one-cycle schedule of Adam. score: of found and true groups, both
    (S, P). with_position: makes the same network with tags that start from the position.
    """

    network: Callable[[int], nn.Module]
    batch: Callable[[int, int], Batch]
    held_out: Callable[[str], Batch]
    apply: Callable[[nn.Module, Batch], Applied]
    steps: int
    lr: float
    score: Callable[[np.ndarray, Tensor], float] = share_exact
    with_position: Callable[[int], nn.Module] | None = None


def run_points(task: PointTask, loss: str, seed: int, lr: float, weight: float) -> dict[str, Any]:
    """Train with one loss and measure it; see `losses.Task` for the arguments and the result."""
    torch.manual_seed(seed)
    make = task.with_position if loss.endswith(POSITION) else task.network
    loss = loss.removesuffix(POSITION)
    network = make(DIM + 2)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr * task.lr, total_steps=task.steps)
    held_out = {part: task.held_out(part) for part in ("tune", "test")}
    seconds, curve = 0.0, []
    shares = MEASURED if lr == weight == 1 else (1.0,)  # only the usual runs have a curve
    measured_at = {max(1, round(share * task.steps)) for share in shares}
    for step in range(1, task.steps + 1):
        batch = task.batch(step, seed)
        start = time.process_time()
        found = task.apply(network, batch)
        total = found.other + weight * tag_loss(loss, found.output, batch.group)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        seconds += time.process_time() - start
        if step in measured_at:
            measured = measure(task, network, loss, held_out)
            curve.append([step, measured["score"]])
    return {**measured, "curve": curve, "seconds": round(seconds, 3)}


def tag_loss(loss: str, output: Tensor, group: Tensor) -> Tensor:
    """The loss of the tags with the weights of its paper; output (S, P, DIM + 2), group (S, P)."""
    image = torch.arange(len(group))[:, None].expand_as(group).flatten()
    output, group = output.flatten(0, 1), group.flatten()
    points = output[:, :DIM], group, image
    if loss in ("exp", "hinge"):
        return sum(losses.pull_push(*points, push=loss))
    if loss == "discriminative":
        pull, push, regularise = losses.discriminative(*points)
        return pull + push + 0.001 * regularise
    if loss == "contrastive":
        return losses.contrastive(*points)
    if loss == "cosine":
        return sum(losses.cosine(*points))
    found = losses.spatial(*points, bandwidth=F.softplus(output[:, DIM]))
    seeds = (output[:, DIM + 1].sigmoid() - found.closeness).square()
    return found.overlap + 10 * found.smooth + seeds[group >= 0].mean()


def group_points(loss: str, scale: float, found: Applied, type: Tensor | None) -> np.ndarray:
    """The group of each point (S, P), -1 for none; scale: see `SCALES`."""
    image = torch.arange(len(found.used))[:, None].expand_as(found.used)
    image = torch.where(found.used, image, -1).flatten()
    output = found.output.flatten(0, 1)
    tags, width, seeds = output[:, :DIM], torch.full_like(output[:, 0], scale), None
    if loss in DIRECTIONS:
        tags = F.normalize(tags, dim=1)
    if loss == "spatial":
        width = F.softplus(output[:, DIM]).clamp(min=1e-3) * scale
        seeds = output[:, DIM + 1].sigmoid()
    if type is None:
        groups = grouping.group_by_seed(tags, seeds, bandwidth=width, image=image)
    else:
        radius = float(width.mean())  # one for all points
        groups = grouping.group_by_type(tags, type.flatten(), radius=radius, image=image)
    return groups.group.reshape(found.used.shape)


@torch.no_grad()
def measure(task: PointTask, network: nn.Module, loss: str, held_out: dict[str, Batch]) -> dict:
    """Choose the bandwidth on one set of points, and score it on the other."""
    network.eval()
    found = {part: task.apply(network, batch) for part, batch in held_out.items()}
    network.train()

    def score(part: str, scale: float) -> float:
        batch = held_out[part]
        groups = group_points(loss, scale, found[part], batch.type)
        return float(task.score(groups, batch.group))

    best, tuned = best_of(SCALES, lambda scale: score("tune", scale))
    return {
        "score": score("test", best),
        "tuned": tuned,
        "bandwidth": best,
        "extent": extent(loss, found["test"].output, held_out["test"].group),
    }


def best_of(tried: Sequence, score: Callable[[Any], float]) -> tuple[Any, float]:
    """The setting with the best score, and the score; of equal ones, the middle one."""
    scores = [score(setting) for setting in tried]
    equal = np.flatnonzero(np.isclose(scores, max(scores)))
    return tried[equal[len(equal) // 2]], float(max(scores))


def extent(loss: str, output: Tensor, group: Tensor) -> float:
    """The largest minus the smallest tag of a set, in the widest component; mean over sets."""
    tags = output[..., :DIM]
    tags = F.normalize(tags, dim=2) if loss in DIRECTIONS else tags
    real = (group >= 0)[..., None]
    high = tags.masked_fill(~real, -torch.inf).amax(1)
    low = tags.masked_fill(~real, torch.inf).amin(1)
    return float((high - low).amax(1).mean())


# ---------------------------------------------------------------------------- the tasks


def particle_task(quick: bool = False) -> PointTask:
    """Particles across a detector: two events of examples/add_to_your_network.py, overlaid."""

    def batch(step: int, seed: int, events: int = 16) -> Batch:
        seed = 100_000 * (seed + 1) + step
        hits, layer, particle = particles.make_events(2 * events, seed)
        second = torch.where(particle < 0, -1, particle + particles.PARTICLES)
        both = torch.cat([particle[:events], second[events:]], 1)
        return Batch(overlaid(hits), both, overlaid(layer))

    def overlaid(values: Tensor) -> Tensor:
        return torch.cat(values.chunk(2), 1)

    def apply(network: nn.Module, batch: Batch) -> Applied:
        real, output = network(batch.inputs)
        other = F.binary_cross_entropy_with_logits(real, (batch.group >= 0).float())
        return Applied(output, other, real > 0)

    events = 4 if quick else 120
    return PointTask(
        network=lambda channels: particles.HitNet(tag_dim=channels),
        batch=batch,
        held_out=lambda part: batch(0, 50 if part == "tune" else 60, events),
        apply=apply,
        steps=2 if quick else 300,
        lr=4e-3,
    )


def digit_task(quick: bool = False) -> PointTask:
    """Handwritten digits that form slanted numbers: examples/digits.py."""
    training = digits.make_scenes(40 if quick else 2500, 0, "train")

    def batch(step: int, seed: int) -> Batch:
        random = torch.Generator().manual_seed(100_000 * (seed + 1) + step)
        scenes = training.take(torch.randint(len(training.place), (32,), generator=random))
        return Batch(scenes, scenes.number)

    def held_out(part: str) -> Batch:
        count, seed = (4 if quick else 150), (2 if part == "tune" else 1)
        scenes = digits.make_scenes(count, seed, "test" if part == "test" else "train")
        return Batch(scenes, scenes.number)

    def apply(network: nn.Module, batch: Batch) -> Applied:
        digit, output = network(batch.inputs)
        real = batch.group >= 0
        other = F.cross_entropy(digit[real], batch.inputs.digit[real])
        return Applied(output, other, real)

    return PointTask(
        network=lambda channels: digits.SetNetwork(tag_dim=channels),
        batch=batch,
        held_out=held_out,
        apply=apply,
        steps=2 if quick else 500,
        lr=3e-3,
    )
