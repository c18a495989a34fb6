"""The same person in several cameras: tags that agree across views.

    python examples/cameras.py [--steps N] [--seed N] [--out PICTURE.png]

Two to four calibrated cameras see a group of people (`field_data/people.py`). A network is given
the appearance of every detection, the ray to it, and how well each two detections of different
cameras fit by epipolar geometry. The baselines match cameras by the Hungarian method, on the
epipolar distance alone and with the appearance; both are tuned on other scenes.
"""

from itertools import product

import numpy as np
import torch
from field_data.people import LOOKS, Scenes, make_scenes, save_picture
from field_data.report import Table, f1, options, pair_f1, print_table
from scipy.optimize import linear_sum_assignment
from torch import nn

from tagwise import grouping, losses

torch.backends.mha.set_fastpath_enabled(False)  # in eval mode it takes a float mask for a bool one


class ViewNet(nn.Module):
    """Tags (S, P, D) of detections, by attention that the geometry of each pair guides."""

    def __init__(self, tag_dim: int = 4, width: int = 64, depth: int = 3, heads: int = 4):
        super().__init__()
        self.own = nn.Sequential(nn.Linear(LOOKS + 6, width), nn.ReLU(), nn.Linear(width, width))
        hidden = (nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.pair = nn.Sequential(*hidden, nn.Linear(32, depth * heads))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
            for _ in range(depth)
        )
        self.tag = nn.Linear(width, tag_dim)

    def forward(self, scenes: Scenes) -> torch.Tensor:
        away, unlike = scenes.edge.clamp(max=200), torch.cdist(scenes.looks, scenes.looks)
        near = [(-away / reach).exp() for reach in (5, 15)]
        pair = torch.stack([*near, away.log1p(), scenes.edge.isfinite().float(), unlike], 3)
        bias = self.pair(pair).masked_fill((scenes.camera < 0)[:, None, :, None], -1e4)
        x = self.own(torch.cat([scenes.looks, scenes.ray], 2))
        for layer, part in zip(self.layers, bias.chunk(len(self.layers), dim=3)):
            x = layer(x, src_mask=part.permute(0, 3, 1, 2).flatten(0, 1))
        return self.tag(x)


def tag_loss(tags: torch.Tensor, group: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return sum(losses.pull_push(tags, group, image))


def train(scenes: Scenes, steps: int, loss=tag_loss, seed: int = 0, lr: float = 3e-3) -> ViewNet:
    torch.manual_seed(seed)
    network = ViewNet()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for step in range(steps):
        pick = torch.randint(len(scenes.person), (32,))
        part = Scenes(*(values[pick] for values in scenes))
        scene = torch.arange(len(pick))[:, None].expand_as(part.person)
        total = loss(network(part).flatten(0, 1), part.person.flatten(), scene.flatten())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step}: loss {total:.3f}")
    return network


@torch.no_grad()
def by_tag(network: ViewNet, scenes: Scenes, radius: float = 1.0) -> np.ndarray:
    """The group of each detection (S, P), with at most one detection of each camera."""
    tags, cameras = network(scenes).flatten(0, 1), scenes.camera.flatten()
    scene = torch.arange(len(scenes.camera))[:, None].expand_as(scenes.camera).flatten()
    scene = torch.where(cameras < 0, -1, scene)
    groups = grouping.group_by_type(tags, cameras, radius=radius, image=scene)
    return groups.group.reshape(scenes.camera.shape)


def by_matching(scenes: Scenes, limit: float, weight: float) -> np.ndarray:
    """Groups (S, P) by the Hungarian method: each camera in turn is matched to the groups so far.

    The cost is the epipolar distance + weight * distance in appearance, its mean over a group, and
    must be below the limit.
    """
    groups = np.full(scenes.camera.shape, -1)
    for own, look, edge, camera in zip(groups, *(scenes[n].numpy() for n in (0, 2, 3))):
        cost = edge + weight * np.linalg.norm(look[:, None] - look, axis=2)
        for n in range(camera.max() + 1):
            new, known = np.flatnonzero(camera == n), np.unique(own[own >= 0])
            own[new] = n * len(own) + np.arange(len(new))
            if len(known) and len(new):
                costs = np.stack([cost[new][:, own == g].mean(axis=1) for g in known], axis=1)
                rows, columns = linear_sum_assignment(np.minimum(costs, limit))
                good = costs[rows, columns] < limit
                own[new[rows[good]]] = known[columns[good]]
    return groups


def main(steps: int = 1500, scenes: int = 3000, tests: int = 200, out=None, seed=0) -> Table:
    """Train, print the table and draw a scene. Returns the scores by method."""
    test, tuning, groups = make_scenes(tests, seed=1), make_scenes(min(tests, 60), seed=2), {}
    for name, weights in (("epipolar", [0]), ("epipolar + looks", [1, 2, 4, 8])):
        ways = product(range(8, 42, 2), weights)
        best = max(ways, key=lambda w: f1(by_matching(tuning, *w), tuning.person, 0.999, 2))
        print("tuned limit and weight of appearance:", *best)
        groups[name] = by_matching(test, *best)
    groups["tags"] = by_tag(train(make_scenes(scenes, seed=0), steps, seed=seed), test)
    rows = {n: [f1(g, test.person, 0.999, 2), pair_f1(g, test.person)] for n, g in groups.items()}
    print_table(["people found", "pairs"], rows)
    if out:
        save_picture(test, groups, out)
    return rows


if __name__ == "__main__":
    main(**options(__doc__, steps=1500))
