"""Synthetic maps of a few people, and results in an order that can be compared."""

import numpy as np
import torch

ORDER = [2, 0, 3, 1]


def pose_maps(seed, people, size, dim, spread):
    """Four types of keypoints; peaks of all people over faint noise, some missing, some spurious.

    The noise has three levels, so that neighbours are often equal, and so is what may be filled in.
    spread: how far tags of one person lie apart; people's tags are whole numbers, some the same.
    """
    rng = np.random.default_rng(seed)
    heatmaps = 0.03 * rng.integers(1, 4, (4, *size))
    tags = rng.normal(0, 3, (4, dim, *size))
    for person in range(people):
        for kind in range(4):
            if rng.random() < 0.8:
                y, x = rng.integers(0, size)
                heatmaps[kind, y, x] = rng.uniform(0.08, 1)
                mean = np.array([2 * person, person // 2, 0])[:dim]
                tags[kind, :, y, x] = mean + rng.normal(0, spread, dim)
    return heatmaps.astype(np.float32), tags.astype(np.float32)


def enlarged(maps):
    """Enlarge maps four times as in the published tests: border cells are repeated."""
    size = [4 * side for side in maps.shape[-2:]]
    batch = torch.from_numpy(maps).reshape(1, -1, *maps.shape[-2:])
    larger = torch.nn.functional.interpolate(batch, size=size, mode="bilinear")
    return larger.reshape(*maps.shape[:-2], *size).numpy()


def people_at_edges(seed, size):
    """Enlarged maps of two people with peaks at the left and lower edge, which are repeated.

    Rounded, so that twins are alike to the last digit.
    """
    rng = np.random.default_rng(seed)
    heatmaps = rng.uniform(0, 0.05, (4, *size)).astype(np.float32)
    tags = rng.normal(0, 4, (4, 2, *size)).astype(np.float32)
    for kind in range(4):
        for x, y, tag in ((0, 2, 1), (3, size[0] - 1, 5)):
            heatmaps[kind, y, x] = rng.uniform(0.5, 1)
            tags[kind, :, y, x] = tag + rng.normal(0, 0.05, 2)
    return enlarged(heatmaps).round(4), enlarged(tags).round(4)


def best_first(keypoints, scores):
    order = np.argsort(-np.round(scores, 6), kind="stable")
    # Of equal scores, by where the keypoints are.
    rows = sorted(order, key=lambda n: (-round(float(scores[n]), 5), keypoints[n].ravel().tolist()))
    return keypoints[rows], scores[rows]
