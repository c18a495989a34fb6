"""Maps in which people and boxes are planted far apart, and a substitute for a network.

No two peaks, tags or costs are near one another, so that the answer does not depend on the last
digit of a map, which processors round differently.
"""

import numpy as np
import torch

STRIP = 32  # pixels of the longer side that a person has for itself


def plant_people(rng, size, types, dark=None, highest=1.2):
    """(N, K, 3) x, y in pixels of an input (width, height), and the height of the peak there.

    People stand beside each other along the longer side. One keypoint of five is faint, too faint
    to be a peak; those of the type `dark` have none.
    """
    along = int(size[1] > size[0])
    people = np.zeros((size[along] // STRIP, types, 3))
    for number, person in enumerate(people):
        person[:, along] = STRIP * number + rng.uniform(12, STRIP - 12, types)
        person[:, 1 - along] = rng.uniform(8, size[1 - along] - 8, types)
        faint = rng.random(types) < 0.2
        faint[0] = False
        person[:, 2] = np.where(
            faint, rng.uniform(0.05, 0.09, types), rng.uniform(0.4, highest, types)
        )
    if dark is not None:
        people[:, dark, 2] = 0
    return people


def heatmaps_of(people, size, stride):
    """(K, h, w): a Gaussian of 4 pixels at each keypoint."""
    x, y = (np.arange(side // stride) * stride + (stride - 1) / 2 for side in size)
    maps = np.zeros((people.shape[1], len(y), len(x)))
    for person in people:
        for k, (u, v, height) in enumerate(person):
            spot = np.outer(np.exp(-((y - v) ** 2) / 32), np.exp(-((x - u) ** 2) / 32))
            maps[k] = np.maximum(maps[k], height * spot)
    return maps


def tags_of(rng, people, size, stride):
    """(K, h, w): tags of people are 3 apart, all over their strip, and scatter by a twentieth."""
    along = int(size[1] > size[0])
    strips = np.repeat(3.0 * np.arange(len(people)), STRIP // stride)
    shape = (size[1] // stride, size[0] // stride)
    own = np.broadcast_to(strips[:, None] if along else strips, shape)
    return own + rng.normal(0, 0.05, (people.shape[1], *shape))


def planted_people(seed, size, types, strides, **how):
    """Stages of maps (1, C, h, w) of people: heatmaps, and at the first stride tags too.

    size: (width, height) of the input, multiples of 32. types: K. how: of `plant_people`.
    """
    rng = np.random.default_rng(seed)
    people = plant_people(rng, size, types, **how)
    stages = [heatmaps_of(people, size, stride) for stride in strides]
    stages[0] = np.concatenate([stages[0], tags_of(rng, people, size, strides[0])])
    return [torch.from_numpy(stage).float()[None] for stage in stages]


def mirrored(seed, stages, flip):
    """The same stages for the mirror image, slightly different."""
    rng, types, out = np.random.default_rng(seed), len(flip), []
    for stage in stages:
        noisy = stage * (1 + 0.02 * torch.from_numpy(rng.normal(size=stage.shape))).float()
        swap = [*flip, *(types + k for k in flip)][: stage.shape[1]]
        out.append(noisy.flip(3)[:, swap])
    return out


def planted_boxes(seed, size, classes):
    """Corner maps (1, C, h, w) by name, heatmaps as logits: two boxes of every class.

    Corners lie on a grid of 3 cells, tags are 3 apart, and where there is no corner those of
    top-left and bottom-right ones are far from each other.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    maps = {}
    for corner, apart in (("tl", -500.0), ("br", 500.0)):
        maps[f"{corner}_heat"] = rng.uniform(-7, -6, (classes, height, width))
        maps[f"{corner}_tag"] = np.full((1, height, width), apart)
        maps[f"{corner}_off"] = rng.uniform(0.1, 0.9, (2, height, width))
    grid = np.meshgrid(np.arange(1, width - 1, 3), np.arange(1, height - 1, 3))
    cells, middle = np.stack(grid, -1).reshape(-1, 2), (width // 2, height // 2)
    starts = rng.permutation(cells[(cells < middle).all(1)])[: 2 * classes]
    ends = rng.permutation(cells[(cells >= middle).all(1)])[: 2 * classes]
    for number, pair in enumerate(zip(starts, ends)):
        for corner, (x, y) in zip(("tl", "br"), pair):
            maps[f"{corner}_heat"][number % classes, y, x] = rng.uniform(0, 3)
            maps[f"{corner}_tag"][0, y, x] = 3 * number + rng.uniform(-0.1, 0.1)
    return {name: torch.from_numpy(values).float()[None] for name, values in maps.items()}


def replay(answers):
    """A substitute for a network's forward pass, which returns these answers in turn."""
    rest = iter(answers)
    return lambda *_: next(rest)
