"""The cost of `tagwise predict` besides the network: CPU time of each step per photo, in ms.

    python benchmarks/predict.py PHOTOS [--weights people] [--count 60] [--precision fp32]

The goals are that all other steps take at most 10 % of the time of the forward pass with JSON files
alone, and at most 15 % with pictures too.
"""

import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from itertools import islice

import cv2
import torch
from _bench import arguments, report
from _predict_runs import predict_run

from tagwise.prediction import outputs, predictor
from tagwise.prediction.predictor import Predictor
from tagwise.prediction.run import PredictRun
from tagwise.prediction.sources import find_sources
from tagwise.runtime import keep_freed_memory

GOALS = {False: 0.10, True: 0.15}  # without and with pictures


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos")
    parser.add_argument("--weights", default="people")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--flip", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_memory()  # as the verb does

    model = Predictor(options.weights, device="cpu", precision=options.precision, flip=options.flip)
    sources = list(islice(find_sources(options.photos), options.count))
    clock, table = Clock(), []
    with watched(clock, model):
        for poses in run(model, sources[:3], pictures=True):  # compiles and warms up
            poses.to_dict()
        for pictures in GOALS:
            clock.start()
            instances = 0
            for poses in run(model, sources, pictures):
                instances += len(poses)
                clock.lap()
            table += rows(clock, len(sources), instances, pictures)
    report("predict", table)


def run(model: Predictor, sources: list, pictures: bool) -> PredictRun:
    model.threshold = 0.2
    return predict_run(model, sources, tempfile.mkdtemp(), pictures)


class Clock:
    """CPU seconds of each step and of each photo; a step is timed in the thread that runs it."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        self.steps.clear()
        self.total: list[float] = []
        self.last = time.process_time()

    def lap(self) -> None:
        now = time.process_time()
        self.total.append(now - self.last)
        self.last = now

    def timed(self, name: str, function):
        def call(*args, **kwargs):
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.steps[name].append(time.thread_time() - start)

        return call


@contextmanager
def watched(clock: Clock, model: Predictor):
    """Time the steps of a prediction by wrapping the functions that do them."""
    steps = [
        (predictor, "read_image", "read the photo"),
        (predictor.Affine, "image", "fit it to the input"),
        (model.runner, "forward", "network"),
        (type(model.task), "decode", "peaks and grouping"),
        (type(model.task).result, "plot", "draw the picture"),
        (outputs, "encode_jpeg", "encode the picture"),
        (outputs.Predictions, "save", "save, drawing included"),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in steps]
    for owner, name, label in steps:
        setattr(owner, name, clock.timed(label, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def rows(clock: Clock, photos: int, instances: int, pictures: bool) -> list[dict]:
    """One row per step, then the sum. With flips, every pass is a call of its own."""
    network = sum(clock.steps["network"])
    table = []
    for step, times in clock.steps.items():
        table.append(
            {
                "step": step,
                "median ms": 1e3 * statistics.median(times),
                "ms per photo": 1e3 * sum(times) / photos,
                "share of network": sum(times) / network,
            }
        )
    total = sum(clock.total)
    others = (total - network) / network
    goal = GOALS[pictures]
    verdict = "met" if others <= goal else "missed"
    files = "JSON and pictures" if pictures else "JSON alone"
    table += [
        {
            "step": "all",
            "median ms": 1e3 * statistics.median(clock.total),
            "ms per photo": 1e3 * total / photos,
            "share of network": total / network,
        },
        {
            "step": f"all except the network, {files}, goal {goal:.0%}: {verdict}",
            "ms per photo": 1e3 * (total - network) / photos,
            "share of network": others,
        },
        {"step": f"({photos} photos, {instances} instances)"},
    ]
    return table


if __name__ == "__main__":
    main()
