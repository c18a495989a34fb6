"""Which loss for tags? The losses of `tagwise.losses` compared on the same problems.

    OMP_NUM_THREADS=1 python benchmarks/losses.py [--data DATA] [--only TASK ...] [--report]

Data, network, schedule and grouping search are equal for all losses. The grouping and its bandwidth
are chosen on one part of the held-out data, and scored on another. Each run adds a line to --out,
and runs that are in the file already are skipped, so that an interrupted benchmark continues.
--report only prints the table of these lines, and writes it and the figure into docs/which_loss.md.

DATA holds blood/, nuclei/ and robots/; without it, these tasks are left out. The losses are run
with three seeds at the usual learning rate and weight. They are then run with one seed at a grid of
both, and with all seeds at the best place of the grid. On lines and cameras, the grid has learning
rates only; on photos, one of the two changes at a time.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _bench import arguments
from _loss_fields import FIELD_TASKS
from _loss_photos import PHOTO_TASKS, at_smallest_size, run_photos
from _loss_points import LOSSES, POSITIONED, digit_task, particle_task, run_points
from _loss_table import FACTORS, Key, Runs, best_factors, write_report

from tagwise.files import append_line

SEEDS = (0, 1, 2)
OUT = Path(__file__).with_suffix(".jsonl")

# A task takes a loss, a seed, and factors of the usual learning rate and weight of the tag loss.
# It returns "score" in [0, 1], "tuned" (the score that chose the bandwidth), "bandwidth" (of the
# grouping), "curve" ([step, score] pairs), "extent" (largest minus smallest tag of an image) and
# "seconds" (CPU time of the training steps).
Task = Callable[[str, int, float, float], dict[str, Any]]


POINT_TASKS = {"particles": particle_task, "digits": digit_task, **FIELD_TASKS}
PLACED = (*PHOTO_TASKS, "rooms", "lines")  # tasks that are also run with POSITIONED losses
# Factors of learning rate and weight. Lines and cameras have no loss besides that of the tags, and
# Adam does not depend on the scale of a loss, so that its weight has no effect.
RATES = tuple((lr, 1.0) for lr in FACTORS)
RATES_AND_WEIGHTS = tuple((lr, weight) for lr in FACTORS for weight in FACTORS)
RATES_OR_WEIGHTS = tuple(factors for factors in RATES_AND_WEIGHTS if 1.0 in factors)
GRIDS = dict.fromkeys(("particles", "digits", "rooms"), RATES_AND_WEIGHTS)
GRIDS |= dict.fromkeys(("lines", "cameras"), RATES)
GRIDS |= dict.fromkeys(PHOTO_TASKS, RATES_OR_WEIGHTS)


def tasks(options: Namespace) -> dict[str, Task]:
    """The tasks to run, by name."""
    found = {name: partial(run_points, make(options.quick)) for name, make in POINT_TASKS.items()}
    for name, task in PHOTO_TASKS.items() if options.data else ():
        task = at_smallest_size(task) if options.quick else task
        found[name] = partial(run_photos, task, options.data)
    return {name: task for name, task in found.items() if name in (options.only or found)}


def plan(names: list[str], chosen: list[str], runs: Runs) -> Iterator[Key]:
    """The runs in their order. The last ones depend on the results of those before."""
    losses = [loss for loss in chosen if loss in LOSSES]
    own = {name: chosen if name in PLACED else losses for name in names}
    grids = [name for name in names if name in GRIDS]
    for seed in SEEDS:
        for name in names:
            yield from (Key(name, loss, seed) for loss in own[name])
    for name in grids:
        for factors in GRIDS[name]:
            yield from (Key(name, loss, 0, *factors) for loss in losses)
    for name in grids:
        for seed in SEEDS:
            yield from (Key(name, loss, seed, *best_factors(runs, name, loss)) for loss in losses)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the photos and labels")
    parser.add_argument("--only", nargs="+", metavar="TASK", help="run these tasks only")
    every = (*LOSSES, *POSITIONED)
    parser.add_argument("--losses", nargs="+", choices=every, default=every, metavar="LOSS")
    parser.add_argument("--out", type=Path, default=OUT, help="file with a line for each run")
    parser.add_argument("--report", action="store_true", help="run nothing, write table and figure")
    parser.add_argument("--page", type=Path, help="the page to write them to")
    options = parser.parse_args()
    runs = Runs.read(options.out)
    if options.report:
        print(write_report(runs, options.page or Path(__file__).parents[1] / "docs/which_loss.md"))
        return
    torch.set_num_threads(1)
    found = tasks(options)
    unknown = set(options.only or ()) - set(found)
    if unknown:
        parser.error(f"there is no task {min(unknown)}; use {', '.join(found)}")
    for key in plan(list(found), options.losses, runs):
        if key in runs:
            continue
        result = found[key.task](key.loss, key.seed, key.lr, key.weight)
        row = {**key._asdict(), **result}
        append_line(options.out, row)
        runs.add(row)
        print(f"{' '.join(map(str, key))}: {100 * row['score']:.1f}", flush=True)


if __name__ == "__main__":
    main()
