"""How well found groups match true ones, and the table of it, for every field."""

import argparse
from pathlib import Path

import numpy as np

# Scores by method, one per column.
Table = dict[str, list[float]]


def f1(groups, truth, iou: float = 0.5, least: int = 1) -> float:
    """F1 of true groups found with an intersection over union above `iou`, over all scenes.

    groups, truth: arrays (P,) of integers per scene, -1 for no group. iou: at least .5, so that a
    group can match one other only; with .999, a group counts where it is exact. least: groups of
    fewer points are not counted on either side.
    """
    hits = total = 0
    for own, true in zip(groups, truth):
        own, true = np.asarray(own), np.asarray(true)
        shared = np.zeros((true.max() + 2, own.max() + 2))
        np.add.at(shared, (true, own), 1)  # -1 is the last row and column
        size, other = shared.sum(axis=1, keepdims=True), shared.sum(axis=0)
        share = shared / np.maximum(size + other - shared, 1)
        rows, columns = size[:-1, 0] >= least, other[:-1] >= least
        hits += (share[:-1, :-1][rows][:, columns] > iou).sum()
        total += rows.sum() + columns.sum()
    return 2 * hits / max(total, 1)


def pair_f1(groups, truth) -> float:
    """F1 of the pairs of points that are in one group, over all scenes; arguments as in `f1`."""
    both = found = real = 0
    for own, true in zip(groups, truth):
        own, true = np.asarray(own), np.asarray(true)
        first, second = np.triu_indices(len(own), 1)
        joined = (own[first] == own[second]) & (own[first] >= 0)
        right = (true[first] == true[second]) & (true[first] >= 0)
        both, found, real = both + (joined & right).sum(), found + joined.sum(), real + right.sum()
    return 2 * both / max(found + real, 1)


def print_table(columns: list[str], rows: Table) -> None:
    """Print percentages, one method per row."""
    width = max(map(len, rows))
    print(" " * width, *columns, sep="  ")
    for name, values in rows.items():
        cells = (f"{value:{len(column)}.1%}" for value, column in zip(values, columns))
        print(f"{name:<{width}}", *cells, sep="  ")


def options(doc: str, steps: int, **files: str) -> dict:
    """The options of the command line: --steps, --seed, --out, and files by name with a text."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--steps", type=int, default=steps, help="steps of training")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training")
    parser.add_argument("--out", type=Path, help="file for the picture")
    for name, text in files.items():
        parser.add_argument(f"--{name}", type=Path, help=text)
    return vars(parser.parse_args())
