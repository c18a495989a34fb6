"""Images per second of `tagwise predict` by the clock, with all cores of the machine.

    python benchmarks/throughput.py [PHOTOS] [--weights people robots] [--count 120]

"plain loop" is what users write without tagwise: read a photo, scale it, run the network as it was
trained, in fp32; it finds no instances. "network alone" runs the network of the predictor on photos
that are fitted already, one after another, with all threads. `tagwise predict` reads, fits, finds
instances, and writes JSON, and by default pictures too. Its goal is 90 % of the network alone.
"exported" is the file of `tagwise export`. Each figure is the best of several runs, which take
turns.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import cv2
from _bench import arguments, at_size, report, verdict
from _predict_runs import plain_loop, predict_run

from tagwise import Predictor
from tagwise.commands.export import export
from tagwise.prediction.sources import find_sources
from tagwise.runtime import count_threads, keep_freed_memory

EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"
GOAL = 0.9


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos", nargs="?", type=Path, default=EXAMPLES)
    parser.add_argument("--weights", nargs="+", default=at_size(["people", "robots"], ["people"]))
    parser.add_argument("--count", type=int, default=120, help="photos of a run")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    keep_freed_memory()  # as the verb does
    photos = sorted(options.photos.glob("*.jpg"))
    if not photos:
        print(f"skipped: {options.photos} has no .jpg files", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in zip(range(at_size(options.count, 2)), cycle(photos)):
            (Path(folder) / f"{number}.jpg").symlink_to(photo.resolve())
        files = sorted(Path(folder).iterdir())
        report(
            "throughput", [row for name in options.weights for row in rows(name, files, options)]
        )
    print(f"{count_threads()} threads")


def rows(weights: str, files: list[Path], options) -> list[dict]:
    """A row for each way to run a model."""
    calls = {("", "plain loop"): partial(plain_loop(weights), files)}
    for name, predictor in predictors(weights, options.precision):
        for what, call in steps(predictor, files).items():
            calls[name, what] = call
    speeds = dict.fromkeys(calls, 0.0)
    for number in range(1 + at_size(options.repeats, 1)):
        for key, call in calls.items():
            begun = time.perf_counter()
            call()
            if number:  # the first round compiles
                speeds[key] = max(speeds[key], len(files) / (time.perf_counter() - begun))
    table, loop = [], speeds["", "plain loop"]
    for (how, what), speed in speeds.items():
        row = {
            "model": weights,
            "how": how,
            "what": what,
            "images/s": speed,
            "of loop": speed / loop,
        }
        if what.startswith("tagwise"):
            share = speed / speeds[how, "network alone"]
            row |= {"of network": share, "goal": GOAL, "": verdict(share, GOAL, at_least=True)}
        table.append(row)
    return table


def predictors(weights: str, precision: str) -> Iterator[tuple[str, Predictor]]:
    """Each program that runs a model, and then its exported file, with its name."""
    runtimes = [name for name in at_size(("torch", "openvino"), ("torch",)) if find_spec(name)]
    for runtime in runtimes:
        made = Predictor(weights, device="cpu", runtime=runtime, precision=precision)
        yield f"{made.runtime} {made.precision}", made
    if not (find_spec("onnx") and find_spec("onnxruntime")):
        return
    with tempfile.TemporaryDirectory() as folder:
        file = export(weights, out=f"{folder}/model.onnx")
        for runtime in runtimes:
            made = Predictor(file, device="cpu", runtime=runtime)
            yield f"exported, {made.runtime} {made.precision}", made


def steps(predictor: Predictor, files: list[Path]) -> dict[str, Callable[[], object]]:
    """The network alone, and `tagwise predict` without and with pictures."""
    fitted = [predictor.prepare(file) for file in files[:40]]
    fitted = [one for one, _ in zip(cycle(fitted), files)]

    def network() -> None:
        for outcome in fitted:
            predictor.run([outcome])

    return {
        "network alone": network,
        "tagwise predict, JSON": partial(predict, predictor, files, False),
        "tagwise predict, JSON and pictures": partial(predict, predictor, files, True),
    }


def predict(predictor: Predictor, files: list[Path], pictures: bool) -> None:
    """Predict all photos."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in predict_run(predictor, list(find_sources(files)), folder, pictures):
            pass


if __name__ == "__main__":
    main()
