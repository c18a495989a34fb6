"""The pose decoder of mmpose 1.x: its AssociativeEmbedding codec without UDP."""

import numpy as np

from slow.poses import best_matching, peaks, start


def group(found_peaks, heatmaps, tags, order):
    """Group the peaks of each type into people, in the order of their first keypoints."""
    people = {}
    for k in order:
        cells = found_peaks[k]
        type_tags = [tags[k, :, y, x] for x, y in cells]
        names = list(people)
        if not cells:
            continue
        if not names:
            for tag, cell in zip(type_tags, cells):
                start(people, tag, k, cell)
            continue
        means = [np.mean(people[name].tags, axis=0) for name in names]
        distance = np.array(
            [[np.linalg.norm(t.astype(float) - m) for m in means] for t in type_tags]
        )
        values = np.array([float(heatmaps[k, y, x]) for x, y in cells])
        cost = 100 * np.round(distance) - values[:, None]
        matches = dict(best_matching(cost, distance, 1.0))
        for p, cell in enumerate(cells):
            n = matches.get(p)
            if n is not None and distance[p, n] < 1.0:
                people[names[n]].cells[k] = cell
                people[names[n]].tags.append(type_tags[p])
            else:
                start(people, type_tags[p], k, cell)
    return list(people.values())


def moved(heatmap, x, y):
    """Shift towards the larger neighbour by a quarter cell, except near edges; add half a cell."""
    height, width = heatmap.shape
    across = down = 0
    if 2 <= x <= width - 2 and y >= 1:
        across = np.sign(heatmap[y, x + 1] - heatmap[y, x - 1])
    if 2 <= y <= height - 2 and x >= 1:
        down = np.sign(heatmap[y + 1, x] - heatmap[y - 1, x])
    return x + across / 4 + 0.5, y + down / 4 + 0.5


def decode(heatmaps, tags, order, limit=30):
    """Decode float32 maps (K, H, W), (K, D, H, W) to people (N, K, 3) x, y, score and scores (N,).

    Every person gets every keypoint, some of them where the heatmap is 0 or less. Scores are means
    over all types before that, with missing keypoints as 0. As in the published code, missing
    keypoints are searched in float32, where nearly equal values are equal at large distances.
    """
    types = len(heatmaps)
    found_peaks = [peaks(heatmap, 5, 0.1, 30) for heatmap in heatmaps]
    people = group(found_peaks, heatmaps, tags, order)[:limit]
    out, scores = np.zeros((len(people), types, 3)), np.zeros(len(people))
    for n, person in enumerate(people):
        for k, (x, y) in person.cells.items():
            out[n, k] = *moved(heatmaps[k], x, y), heatmaps[k, y, x]
        scores[n] = out[n, :, 2].mean()
        mean = np.mean([tags[k, :, y, x] for k, (x, y) in person.cells.items()], axis=0)
        for k in set(range(types)) - set(person.cells):
            away = np.sqrt(((tags[k] - mean[:, None, None]) ** 2).sum(0))
            cost = np.float32(100) * np.round(away).astype(np.float32) - heatmaps[k]
            y, x = np.unravel_index(np.argmin(cost), cost.shape)
            out[n, k] = x, y, heatmaps[k, y, x]
    return out, scores
