"""The published decoders of poses: peaks, one-to-one matching type by type, shifts, refinement."""

from itertools import combinations, permutations

import numpy as np

# The order in which the published decoders group the keypoint types of COCO.
COCO_ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]


def peaks(heatmap, window, threshold, most):
    """(x, y) of the cells above the threshold that no cell of the window exceeds, best first."""
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
    """All ways to give as many rows as possible a column of their own, as lists of pairs."""
    if rows <= columns:
        for chosen in permutations(range(columns), rows):
            yield list(enumerate(chosen))
    else:
        for chosen in combinations(range(rows), columns):
            for order in permutations(range(columns)):
                yield list(zip(chosen, order))


def best_matching(cost, distance, threshold):
    """The cheapest way; of those that cost the same, the one of the least roots of distances.

    Of peaks all alike, cells of a plateau, the first joins. The public code leaves equal costs to
    its solver. A distance beyond the threshold joins nothing, and counts as the threshold.
    """

    def price(pairs):
        near = sum(min(distance[pair], threshold) ** 0.5 for pair in pairs)
        group = dict(pair for pair in pairs if distance[pair] < threshold)
        first = [group.get(row, cost.shape[1]) for row in range(len(cost))]
        return round(sum(cost[pair] for pair in pairs), 5), round(near, 9), first

    return min(every_matching(*cost.shape), key=price)


class Person:
    """What is known of a group: its keypoints, and the tags that they brought."""

    def __init__(self):
        self.cells, self.tags = {}, []


def start(people, tag, kind, cell):
    """A person named after the first tag component; one of that name is taken up again."""
    person = people.setdefault(float(tag[0]), Person())
    person.cells[kind] = cell
    person.tags = [tag]


def match(found, heatmaps, tags, order, settings):
    """People in the order of their first keypoints, from the peaks of each type; tags (K, D, H, W).

    Cells of a plateau are peaks each, often of one tag: they start one person.
    """
    people = {}
    for number, kind in enumerate(order):
        cells = found[kind]
        own = [tags[kind, :, y, x].astype(float) for x, y in cells]
        open_ones = list(people.values())[: settings["limit"]]
        if settings["stop_when_full"] and len(open_ones) == settings["limit"]:
            continue
        if not cells:
            continue
        if number == 0 or not people:
            for tag, cell in zip(own, cells):
                start(people, tag, kind, cell)
            continue
        means = [np.mean(person.tags, axis=0) for person in open_ones]
        distance, cost = np.zeros((2, len(cells), len(means)))
        for p, (x, y) in enumerate(cells):
            for n, mean in enumerate(means):
                square = (own[p] - mean) ** 2
                square = square.mean() if settings["rms"] else square.sum()
                distance[p, n] = cost[p, n] = np.sqrt(square)
                if settings["rounded"]:
                    cost[p, n] = 100 * np.round(distance[p, n]) - heatmaps[kind, y, x]
        taken = dict(best_matching(cost, distance, settings["tag_threshold"]))
        for p, cell in enumerate(cells):
            n = taken.get(p)
            if n is not None and distance[p, n] < settings["tag_threshold"]:
                open_ones[n].cells[kind] = cell
                open_ones[n].tags.append(own[p])
            else:
                start(people, own[p], kind, cell)
    return list(people.values())


def shifted(heatmap, x, y, last_row):
    """Half a cell on, to count from the cell's edge, and a quarter towards the larger neighbour.

    Where both are equal, towards the smaller coordinate.
    """
    width = heatmap.shape[1]
    right, left = heatmap[y, min(x + 1, width - 1)], heatmap[y, max(x - 1, 0)]
    below, above = heatmap[min(y + 1, last_row), x], heatmap[max(y - 1, 0), x]
    across, down = 0.25 if right > left else -0.25, 0.25 if below > above else -0.25
    return x + across + 0.5, y + down + 0.5


def decode(heatmaps, tags, order, settings, refine=True, shift=True):
    """People (N, K, 3) x, y, score from maps (K, H, W) and (K, D, H, W), and their scores (N,).

    Missing keypoints are zeros. Scores are means over all types, missing ones as 0, as they were
    before refinement. Without a shift, x and y are whole numbers.
    """
    kinds, height, _ = heatmaps.shape
    found = [
        peaks(h, settings["window"], settings["threshold"], settings["most"]) for h in heatmaps
    ]
    people = match(found, heatmaps, tags, order, settings)
    out, scores = np.zeros((len(people), kinds, 3)), np.zeros(len(people))
    for n, person in enumerate(people):
        for k, (x, y) in person.cells.items():
            place = shifted(heatmaps[k], x, y, height - 1) if shift else (x, y)
            out[n, k] = *place, heatmaps[k, y, x]
        scores[n] = out[n, :, 2].mean()
        if not refine:
            continue
        own = [tags[k, :, y, x].astype(float) for k, (x, y) in person.cells.items()]
        mean = np.mean(own, axis=0)
        for k in set(range(kinds)) - set(person.cells):
            away = np.sqrt(((tags[k].astype(float) - mean[:, None, None]) ** 2).sum(0))
            y, x = np.unravel_index(np.argmax(heatmaps[k] - np.round(away)), away.shape)
            # pose-ae takes the number of types for the number of rows here.
            last = min(height, kinds) - 1 if settings["rows_are_types"] else height - 1
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
