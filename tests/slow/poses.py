"""The published pose decoders: peaks, one-to-one matching by type, shifts, refinement."""

from itertools import combinations, permutations

import numpy as np

# The order in which the published decoders group the keypoint types of COCO.
COCO_ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]


def peaks(heatmap, window, threshold, most):
    """The (x, y) of cells above the threshold that are maximal in their window, best first."""
    height, width = heatmap.shape
    found = []
    for y in range(height):
        for x in range(width):
            reach = window // 2
            around = heatmap[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
            if heatmap[y, x] > threshold and heatmap[y, x] == around.max():
                found.append((x, y))
    return sorted(found, key=lambda cell: -heatmap[cell[1], cell[0]])[:most]


def every_matching(rows, columns):
    """All ways to match as many rows as possible with distinct columns, as lists of pairs."""
    if rows <= columns:
        for chosen in permutations(range(columns), rows):
            yield list(enumerate(chosen))
    else:
        for chosen in combinations(range(rows), columns):
            for order in permutations(range(columns)):
                yield list(zip(chosen, order))


def best_matching(cost, distance, threshold):
    """The cheapest matching; of equal costs, the one with the least sum of roots of distances.

    Of equal peaks, such as the cells of a plateau, the first joins. In the public code, equal costs
    are decided by the solver. Distances beyond the threshold count as the threshold.
    """

    def price(pairs):
        near = sum(min(distance[pair], threshold) ** 0.5 for pair in pairs)
        group = dict(pair for pair in pairs if distance[pair] < threshold)
        first = [group.get(row, cost.shape[1]) for row in range(len(cost))]
        return round(sum(cost[pair] for pair in pairs), 5), round(near, 9), first

    return min(every_matching(*cost.shape), key=price)


class Person:
    """A group: its keypoints and their tags."""

    def __init__(self):
        self.cells, self.tags = {}, []


def start(people, tag, k, cell):
    """Start a person whose key is the first tag component; an existing person is reused."""
    person = people.setdefault(float(tag[0]), Person())
    person.cells[k] = cell
    person.tags = [tag]


def match(found, heatmaps, tags, order, settings):
    """Group the peaks of each type into people, in the order of their first keypoints.

    tags: (K, D, H, W). Each cell of a plateau is a peak; with equal tags, they start one person.
    """
    people = {}
    for number, k in enumerate(order):
        cells = found[k]
        type_tags = [tags[k, :, y, x].astype(float) for x, y in cells]
        candidates = list(people.values())[: settings["limit"]]
        if settings["stop_when_full"] and len(candidates) == settings["limit"]:
            continue
        if not cells:
            continue
        if number == 0 or not people:
            for tag, cell in zip(type_tags, cells):
                start(people, tag, k, cell)
            continue
        means = [np.mean(person.tags, axis=0) for person in candidates]
        distance, cost = np.zeros((2, len(cells), len(means)))
        for p, (x, y) in enumerate(cells):
            for n, mean in enumerate(means):
                square = (type_tags[p] - mean) ** 2
                square = square.mean() if settings["rms"] else square.sum()
                distance[p, n] = cost[p, n] = np.sqrt(square)
                if settings["rounded"]:
                    cost[p, n] = 100 * np.round(distance[p, n]) - heatmaps[k, y, x]
        matches = dict(best_matching(cost, distance, settings["tag_threshold"]))
        for p, cell in enumerate(cells):
            n = matches.get(p)
            if n is not None and distance[p, n] < settings["tag_threshold"]:
                candidates[n].cells[k] = cell
                candidates[n].tags.append(type_tags[p])
            else:
                start(people, type_tags[p], k, cell)
    return list(people.values())


def shifted(heatmap, x, y, last_row):
    """Shift by half a cell, to count from the edge, and a quarter towards the larger neighbour.

    If both neighbours are equal, the shift is towards the smaller coordinate.
    """
    width = heatmap.shape[1]
    right, left = heatmap[y, min(x + 1, width - 1)], heatmap[y, max(x - 1, 0)]
    below, above = heatmap[min(y + 1, last_row), x], heatmap[max(y - 1, 0), x]
    across, down = 0.25 if right > left else -0.25, 0.25 if below > above else -0.25
    return x + across + 0.5, y + down + 0.5


def decode(heatmaps, tags, order, settings, refine=True, shift=True):
    """Decode maps (K, H, W) and (K, D, H, W) to people (N, K, 3) x, y, score and scores (N,).

    Missing keypoints are zeros. Scores are means over all types before refinement, with missing
    keypoints as 0. Without a shift, x and y are integers.
    """
    types, height, _ = heatmaps.shape
    found = [
        peaks(h, settings["window"], settings["threshold"], settings["most"]) for h in heatmaps
    ]
    people = match(found, heatmaps, tags, order, settings)
    out, scores = np.zeros((len(people), types, 3)), np.zeros(len(people))
    for n, person in enumerate(people):
        for k, (x, y) in person.cells.items():
            xy = shifted(heatmaps[k], x, y, height - 1) if shift else (x, y)
            out[n, k] = *xy, heatmaps[k, y, x]
        scores[n] = out[n, :, 2].mean()
        if not refine:
            continue
        type_tags = [tags[k, :, y, x].astype(float) for k, (x, y) in person.cells.items()]
        mean = np.mean(type_tags, axis=0)
        for k in set(range(types)) - set(person.cells):
            away = np.sqrt(((tags[k].astype(float) - mean[:, None, None]) ** 2).sum(0))
            y, x = np.unravel_index(np.argmax(heatmaps[k] - np.round(away)), away.shape)
            # pose-ae uses the number of types as the number of rows here.
            last = min(height, types) - 1 if settings["rows_are_types"] else height - 1
            if heatmaps[k, y, x] > 0:
                score = 1.0 if settings["filled_score_is_one"] else heatmaps[k, y, x]
                out[n, k] = *shifted(heatmaps[k], x, y, last), score
    return out, scores


HIGHERHRNET = {
    "window": 5,
    "threshold": 0.1,
    "most": 30,
    "rms": False,
    "rounded": True,
    "tag_threshold": 1.0,
    "limit": 30,
    "stop_when_full": False,
    "rows_are_types": False,
    "filled_score_is_one": False,
}
POSEAE = {
    **HIGHERHRNET,
    "window": 3,
    "rms": True,
    "stop_when_full": True,
    "rows_are_types": True,
    "filled_score_is_one": True,
}
