"""Objects in scans of rooms: points of objects that touch get different tags.

    python examples/points_3d.py [--steps N] [--seed N] [--out PICTURE.png]

A small network of points and voxels says which points of a room (`field_data/rooms.py`) are floor,
and tags the others. DBSCAN and HDBSCAN on positions, tuned on other rooms, are told what is floor.
"""

import numpy as np
import torch
from field_data.report import Table, f1, options, pair_f1, print_table
from field_data.rooms import SIDE, make_rooms, save_picture
from sklearn.cluster import DBSCAN, HDBSCAN
from torch import nn
from torch.nn import functional as F

from tagwise import grouping, losses

CELL, CELLS, SMALLEST = SIDE / 32, torch.tensor([32, 32, 16]), 10  # smaller groups do not count
BASELINES = {
    "DBSCAN": [DBSCAN(eps=a, min_samples=b) for a in (0.06, 0.08, 0.1, 0.12) for b in (1, 4, 8)],
    "HDBSCAN": [HDBSCAN(b, min_samples=a, copy=True) for a in (1, 2, 4) for b in (20, 40, 80)],
}


class RoomNet(nn.Module):
    """Logits (R, P) that points (R, P, 3) belong to an object, and their tags (R, P, D), D >= 3."""

    def __init__(self, tag_dim: int = 4, width: int = 16, start: float = 2.0):
        super().__init__()
        w, self.start = width, start  # tags start from `start` times the position
        self.point = nn.Sequential(nn.Linear(6, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU())
        self.down = nn.ModuleList([conv(w, w), conv(w, 2 * w), conv(2 * w, 4 * w)])
        self.up = nn.ModuleList([conv(6 * w, 2 * w), conv(3 * w, w)])
        self.head = nn.Sequential(nn.Linear(2 * w + 3, 64), nn.ReLU(), nn.Linear(64, 1 + tag_dim))

    def forward(self, xyz: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        place = (xyz + torch.tensor([SIDE / 2, SIDE / 2, 0])) / CELL
        cell = torch.minimum(place.long().clamp(min=0), CELLS - 1)
        point = self.point(torch.cat([xyz, place - cell], 2))
        room = torch.arange(len(xyz))[:, None].expand(cell.shape[:2])
        grid = point.new_zeros(len(xyz), *CELLS.flip(0), point.shape[2])
        grid = grid.index_put((room, *cell.flip(2).unbind(2)), point, accumulate=True)
        grid, levels = grid.permute(0, 4, 1, 2, 3), []
        for n, block in enumerate(self.down):
            grid = block(F.max_pool3d(grid, 2) if n else grid)
            levels.append(grid)
        for block, skip in zip(self.up, levels[-2::-1]):
            grid = block(torch.cat([F.interpolate(grid, scale_factor=2), skip], 1))
        where = (2 * place / CELLS - 1)[:, None, None]
        read = F.grid_sample(grid, where, align_corners=False)[:, :, 0, 0].transpose(1, 2)
        out = self.head(torch.cat([read, point, xyz], 2))
        return out[..., 0], out[..., 1:] + F.pad(self.start * xyz, (0, out.shape[2] - 4))


def conv(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(channels, out, 3, padding=1), nn.BatchNorm3d(out), nn.ReLU())


def tag_loss(tags: torch.Tensor, group: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    loss = losses.discriminative(tags, group, image)
    return loss.pull + loss.push + 0.001 * loss.regularise


def train(rooms, steps: int, loss=tag_loss, seed: int = 0, lr: float = 4e-3) -> RoomNet:
    torch.manual_seed(seed)
    network = RoomNet()
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for step in range(steps):
        pick, mirror = torch.randint(len(rooms[0]), (4,)), 1.0 - 2 * torch.randint(2, (2,))
        xyz, owner = (values[pick] for values in rooms)
        real, tag = network(xyz * F.pad(mirror, (0, 1), value=1.0))
        room = torch.arange(len(pick))[:, None].expand_as(owner)
        tag_part = loss(tag.flatten(0, 1), owner.flatten(), room.flatten())
        total = F.binary_cross_entropy_with_logits(real, (owner >= 0).float()) + tag_part
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: loss {total:.3f}, of the tags {tag_part:.3f}")
    return network.eval()


@torch.no_grad()
def by_tag(network: RoomNet, xyz: torch.Tensor, bandwidth: float = 1.5) -> np.ndarray:
    """The group of each point (R, P), -1 for what the network takes for floor."""
    real, tag = (torch.cat(values) for values in zip(*map(network, xyz.split(8))))
    room = torch.where(real > 0, torch.arange(len(xyz))[:, None], -1)
    groups = grouping.group_by_seed(tag.flatten(0, 1), bandwidth=bandwidth, image=room.flatten())
    return groups.group.reshape(room.shape)


def by_place(method, rooms) -> np.ndarray:
    """The group of each point (R, P) by a method of scikit-learn on the points off the floor."""
    groups = np.full(rooms[1].shape, -1)
    for own, xyz, owner in zip(groups, *(values.numpy() for values in rooms)):
        own[owner >= 0] = method.fit_predict(xyz[owner >= 0])
    return groups


def main(steps: int = 600, rooms: int = 300, tests: int = 50, out=None, seed=0) -> Table:
    """Train, print the table and draw a room. Returns the scores by method."""
    test, tuning, groups = make_rooms(tests, seed=1), make_rooms(20, seed=2), {}
    for name, methods in BASELINES.items():
        best = max(methods, key=lambda m: f1(by_place(m, tuning), tuning[1], least=SMALLEST))
        print("tuned:", best)
        groups[name] = by_place(best, test)
    groups["tags"] = by_tag(train(make_rooms(rooms, seed=0), steps, seed=seed), test[0])
    rows = {n: [f1(g, test[1], least=SMALLEST), pair_f1(g, test[1])] for n, g in groups.items()}
    print_table(["objects found", "pairs of points"], rows)
    save_picture(test, groups, out)
    return rows


if __name__ == "__main__":
    main(**options(__doc__, steps=600))
