"""Embedding losses, forward and backward: 16 images, 30 people, 17 keypoints, one thread.

    python benchmarks/loss.py

The goals are 4 CPU ms for the loss at the points and 50 for all terms of the pose task. Gathering
the tags from maps of 128 x 128 costs a zero-filled gradient map in addition, whatever the loss. The
reference is the loop over images and people that the published trainers run, in its simplest form.
The second table compares the losses of the literature, with D = 4, also at 100,000 points in 16
images of 30 groups. Its memory is what one forward and backward pass adds to the process's peak.
"""

import subprocess
import sys
from pathlib import Path

import torch
from _bench import arguments, at_size, report, timed, verdict

from tagwise.losses import (
    PRESETS,
    contrastive,
    cosine,
    discriminative,
    focal,
    heatmap_mse,
    pull_push,
    pull_push_dense,
    spatial,
)
from tagwise.skeletons import Skeleton
from tagwise.tasks.pose import PoseTask

IMAGES, PEOPLE, KEYPOINTS, SIDE = at_size((16, 30, 17, 128), (2, 3, 17, 16))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--memory", nargs=2, metavar=("LOSS", "POINTS"), help="of one loss only")
    only = parser.parse_args().memory
    if only:
        print(added_memory(only[0], int(only[1])))
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [*points_rows(), *maps_rows(), *other_rows(), task_row()]
    report("loss", [row | {"": verdict(row["ms"], row.get("goal"))} for row in rows])
    report("embedding_losses", embedding_rows())


def unit_width(tags: torch.Tensor) -> torch.Tensor:
    return tags.new_ones(len(tags))


EMBEDDING = {
    "pull_push": pull_push,
    "discriminative": discriminative,
    "cosine": cosine,
    "contrastive": lambda *points: (contrastive(*points),),
    "spatial": lambda *points: spatial(*points, bandwidth=unit_width(points[0]))[:2],
}


def embedding_points(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tags, groups and images of about `count` points in 16 images of 30 groups."""
    group = torch.arange(count // IMAGES) % PEOPLE
    image = torch.arange(IMAGES).repeat_interleave(len(group))
    return torch.randn(len(image), 4, requires_grad=True), group.repeat(IMAGES), image


def embedding_rows() -> list[dict]:
    sizes = IMAGES * PEOPLE * KEYPOINTS, at_size(100_000, 400)
    rows = []
    for name, loss in EMBEDDING.items():
        row = {"loss": name}
        for size, repeats in zip(sizes, (10, 1), strict=True):
            points = embedding_points(size)
            row[f"ms, {size:,}"] = timed(lambda p=points, f=loss: step(p[0], f(*p)), repeats)
            run = [sys.executable, __file__, "--memory", name, str(size)]
            found = subprocess.run(run, capture_output=True, text=True, check=True)
            row[f"MB, {size:,}"] = float(found.stdout)
        rows.append(row)
    return rows


def added_memory(name: str, count: int) -> float:
    """MB that one step adds to the peak memory of this process, after a small step; Linux only."""
    torch.set_num_threads(1)
    small, points = embedding_points(IMAGES * PEOPLE), embedding_points(count)
    step(small[0], EMBEDDING[name](*small))
    Path("/proc/self/clear_refs").write_text("5")  # the peak becomes the present value
    before = memory("VmRSS")
    step(points[0], EMBEDDING[name](*points))
    return (memory("VmHWM") - before) / 1024


def memory(field: str) -> int:
    """A field of this process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def ids(images: int = IMAGES, people: int = PEOPLE) -> tuple[torch.Tensor, torch.Tensor]:
    """The group and the image of every keypoint."""
    shape = (images, people, KEYPOINTS)
    group = torch.arange(people)[None, :, None].expand(shape).reshape(-1)
    return group, torch.arange(images)[:, None, None].expand(shape).reshape(-1)


def points_rows() -> list[dict]:
    group, image = ids()
    rows = []
    for name, how in {"Eq. 1": {}, **PRESETS}.items():
        for dim in (1, 4) if name == "Eq. 1" else (1,):
            tags = torch.randn(len(group), dim, requires_grad=True)
            ms = timed(lambda t=tags, how=how: step(t, pull_push(t, group, image, **how)), 50)
            goal = 4.0 if dim == 1 else None
            rows.append({"work": f"points, {name}, D = {dim}", "ms": ms, "goal": goal})
    tags = torch.randn(len(group), 1, requires_grad=True)
    rows.append({"work": "points, loop over people", "ms": timed(lambda: looped(tags), 5)})
    group, image = ids(1, at_size(1000, 10))
    tags = torch.randn(len(group), 1, requires_grad=True)
    ms = timed(lambda: step(tags, pull_push(tags, group, image)), 10)
    return [*rows, {"work": "points, 1,000 people in one image", "ms": ms}]


def maps_rows() -> list[dict]:
    group, image = ids()
    maps = torch.randn(IMAGES, KEYPOINTS, SIDE, SIDE, requires_grad=True)
    cell = torch.randint(0, SIDE * SIDE, (IMAGES, PEOPLE, KEYPOINTS))
    index = (cell + torch.arange(KEYPOINTS) * SIDE * SIDE).reshape(IMAGES, -1)

    def gathered() -> torch.Tensor:
        return maps.reshape(IMAGES, -1).gather(1, index).reshape(-1, 1)

    whole = timed(lambda: step(maps, pull_push(gathered(), group, image)))
    gather = timed(lambda: step(maps, (gathered().sum(),)))
    return [
        {"work": "gather from maps, then points, D = 1", "ms": whole},
        {"work": "gather from maps only", "ms": gather},
    ]


def other_rows() -> list[dict]:
    tags = torch.randn(4, 4, SIDE, SIDE, requires_grad=True)
    labels = (torch.arange(SIDE) // 16).expand(4, SIDE, SIDE)
    heat = torch.randn(IMAGES, KEYPOINTS, SIDE, SIDE, requires_grad=True)
    target = torch.rand(IMAGES, KEYPOINTS, SIDE, SIDE)
    mask = torch.rand(IMAGES, 1, SIDE, SIDE) > 0.1
    works = {
        "dense, 4 x 128 x 128, D = 4": (tags, lambda: pull_push_dense(tags, labels)),
        "heatmap_mse, 16 x 17 x 128 x 128": (heat, lambda: (heatmap_mse(heat, target, mask),)),
        "focal, 16 x 17 x 128 x 128": (heat, lambda: (focal(heat, target, mask),)),
    }
    return [
        {"work": work, "ms": timed(lambda leaf=leaf, loss=loss: step(leaf, loss()), 10)}
        for work, (leaf, loss) in works.items()
    ]


def task_row() -> dict:
    """All terms of the pose task: heatmaps, pull, push and offsets."""
    names = tuple(f"k{number}" for number in range(KEYPOINTS))
    task = PoseTask(Skeleton("body", names), tag_dim=2, offsets=True)
    group, image = ids()
    count = len(group)
    places = [torch.randint(0, most, (count,)) for most in (KEYPOINTS, SIDE, SIDE)]
    targets = {
        "heatmaps": torch.rand(IMAGES, KEYPOINTS, SIDE, SIDE) ** 8,
        "mask": torch.rand(IMAGES, KEYPOINTS, SIDE, SIDE) > 0.1,
        "points": torch.stack(places, 1),
        "group": group,
        "image": image,
        "weight": torch.ones(count),
        "offset": torch.rand(count, 2) - 0.5,
    }
    outputs = {
        name: torch.randn(IMAGES, head.channels, SIDE, SIDE, requires_grad=True)
        for name, head in task.heads().items()
    }

    def once() -> None:
        for maps in outputs.values():
            maps.grad = None
        task.loss(outputs, targets)["total"].backward()

    ms = timed(once, 7)
    return {"work": "pose task, all terms, D = 2", "ms": ms, "goal": 50.0}


def step(leaf: torch.Tensor, loss: tuple[torch.Tensor, ...]) -> None:
    leaf.grad = None
    sum(loss).backward()


def looped(tags: torch.Tensor) -> None:
    """Eq. 1 in a loop over images and people."""
    total = 0
    for people in tags.view(IMAGES, PEOPLE, KEYPOINTS, -1):
        means = [own.mean(0) for own in people]
        pull = sum((own - mean).square().sum(1).mean() for own, mean in zip(people, means))
        gap = torch.stack(means)[:, None] - torch.stack(means)
        push = torch.exp(gap.square().sum(2) / -2).sum() - PEOPLE
        total = total + pull / PEOPLE + push / PEOPLE**2
    step(tags, (total / IMAGES,))


if __name__ == "__main__":
    main()
