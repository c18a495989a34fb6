"""The decoder of poses of mmpose 1.x, as its AssociativeEmbedding codec works with no UDP."""

import numpy as np

from slow.poses import best_matching, peaks, start


def group(found, heatmaps, tags, order):
    """People by name, in the order of their first keypoints, from the peaks of each type."""
    people = {}
    for kind in order:
        cells = found[kind]
        own = [tags[kind, :, y, x] for x, y in cells]
        names = list(people)
        if not cells:
            continue
        if not names:
            for tag, cell in zip(own, cells):
                start(people, tag, kind, cell)
            continue
        means = [np.mean(people[name].tags, axis=0) for name in names]
        distance = np.array([[np.linalg.norm(t.astype(float) - m) for m in means] for t in own])
        values = np.array([float(heatmaps[kind, y, x]) for x, y in cells])
        cost = 100 * np.round(distance) - values[:, None]
        taken = dict(best_matching(cost, distance, 1.0))
        for p, cell in enumerate(cells):
            n = taken.get(p)
            if n is not None and distance[p, n] < 1.0:
                people[names[n]].cells[kind] = cell
                people[names[n]].tags.append(own[p])
            else:
                start(people, own[p], kind, cell)
    return list(people.values())


def moved(heatmap, x, y):
    """A quarter towards the larger neighbour, not near the edges, and half a cell on."""
    height, width = heatmap.shape
    across = down = 0
    if 2 <= x <= width - 2 and y >= 1:
        across = np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    if 2 <= y <= height - 2 and x >= 1:
        down = np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return x + across / 4 + 0.5, y + down / 4 + 0.5


def decode(heatmaps, tags, order, limit=30):
    """People (N, K, 3) x, y, score from float32 maps (K, H, W), (K, D, H, W), and scores (N,).

    Every person gets every keypoint, some of them where the heatmap is 0 or less. Scores are means
    over all types, missing ones as 0, as they were before. As published, missing keypoints are
    looked for in float32, which takes nearly equal values for equal where the distance is large.
    """
    kinds = len(heatmaps)
    found = [peaks(heatmap, 5, 0.1, 30) for heatmap in heatmaps]
    people = group(found, heatmaps, tags, order)[:limit]
    out, scores = np.zeros((len(people), kinds, 3)), np.zeros(len(people))
    for n, person in enumerate(people):
        for k, (x, y) in person.cells.items():
            out[n, k] = *moved(heatmaps[k], x, y), heatmaps[k, y, x]
        scores[n] = out[n, :, 2].mean()
        mean = np.mean([tags[k, :, y, x] for k, (x, y) in person.cells.items()], axis=0)
        for k in set(range(kinds)) - set(person.cells):
            away = np.sqrt(((tags[k] - mean[:, None, None]) ** 2).sum(0))
            cost = np.float32(100) * np.round(away).astype(np.float32) - heatmaps[k]
            y, x = np.unravel_index(np.argmin(cost), cost.shape)
            out[n, k] = x, y, heatmaps[k, y, x]
    return out, scores
