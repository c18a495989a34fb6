"""Grouping points by tag: CPU time of one thread, and how it grows with the number of points.

    python benchmarks/grouping.py

Tags have D = 8 and are in 500 groups, with centres from N(0, 5) and tags around them from N(0, .1).
Every method below finds the true groups, so that only time is compared. The goal is half a second
for 100,000 points. scikit-learn's DBSCAN is included if it is installed.
"""

import numpy as np
from _bench import arguments, at_size, report, timed, verdict

from tagwise import grouping

GROUPS, DIMS, RADIUS, GOAL = 500, 8, 1.0, 500.0
SIZES = at_size((25_000, 50_000, 100_000, 200_000), (1000,))


def main() -> None:
    arguments(__doc__).parse_args()
    sets = {points: points_in_groups(points) for points in SIZES}
    rows = []
    for name, call in {**ours(), **peers()}.items():
        row = {"grouping": name}
        for points, data in sets.items():
            found = []
            row[f"{points:,}"] = timed(
                lambda data=data, call=call, found=found: found.append(call(*data)),
                *((1, 0) if "sklearn" in name else (3, 1)),
            )
            assert are_equal(found[-1], data[3]), name
        if name in ours():
            row |= {"goal at 100,000": GOAL, "": verdict(row.get("100,000", 0), GOAL)}
        rows.append(row)
    report("grouping", rows)


def points_in_groups(points: int):
    """Tags, types and scores of points in random order, the group of each, and the centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 5, (GROUPS, DIMS))
    own = np.repeat(np.arange(GROUPS), points // GROUPS)
    types = np.tile(np.arange(points // GROUPS), GROUPS)
    order = rng.permutation(points)
    tags = (centres[own] + rng.normal(0, 0.1, (points, DIMS))).astype(np.float32)
    return tags[order], types[order], rng.random(points), own[order], centres


def ours() -> dict:
    """Functions of tags, types, scores, truth and centres that return the group of each point."""
    far = 0.02  # the tags of partners differ by .01, all others by more
    return {
        "group_by_seed": lambda t, k, s, *_: grouping.group_by_seed(t, s, bandwidth=RADIUS).group,
        "group_connected": lambda t, *_: grouping.group_connected(t, radius=RADIUS).group,
        "group_by_type": lambda t, k, s, *_: grouping.group_by_type(t, k, s, radius=RADIUS).group,
        "group_by_reference": lambda t, k, s, o, c: grouping.group_by_reference(t, c).group,
        "the same, gated": lambda t, k, s, o, c: (
            grouping.group_by_reference(t, c, radius=RADIUS, gate=lambda i, j: o[i] == j).group
        ),
        "group_pairs": lambda t, k, s, o, c: o[
            grouping.group_pairs(t, t + far / 2 / DIMS**0.5, radius=far).group
        ],
    }


def peers() -> dict:
    try:
        from sklearn.cluster import DBSCAN
    except ImportError:
        return {}
    return {
        "sklearn DBSCAN": lambda t, *_: DBSCAN(eps=RADIUS, min_samples=1).fit_predict(t),
    }


def are_equal(group: np.ndarray, truth: np.ndarray) -> bool:
    """Whether the groups are the true ones, whatever their numbers."""
    pairs = set(zip(group.tolist(), truth.tolist()))
    return len(pairs) == len(set(truth.tolist())) == len(set(group.tolist()))


if __name__ == "__main__":
    main()
