"""Everything in `Predictor.stream` besides the network: images/s on one core and on two.

    python benchmarks/pipeline.py [PHOTOS] [--weights people robots] [--count 1280]

The network is replaced by one that returns the maps of an earlier run immediately. Images are JPEG
files of 512 × 384 pixels, scaled from the photos of a folder (by default examples/photos). Nothing
is written. Rows of batch 32 are the pipeline as it is on a GPU, rows of batch 1 as on a CPU. Goals:
180 images/s per core, and 1.8 times as many on two cores as on one. The rows of two processes, of
one core each, say what the machine itself allows: its cores share memory and caches.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import cycle, product
from pathlib import Path

import cv2
from _bench import arguments, at_size, report, verdict

SIZE = (512, 384)
GOAL, SCALING = 180, 1.8
UNIQUE = 40  # different images, at most
EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos", nargs="?", type=Path, default=EXAMPLES)
    parser.add_argument("--weights", nargs="+", default=["people", "robots"])
    parser.add_argument("--count", type=int, default=at_size(1280, 40))
    parser.add_argument("--repeats", type=int, default=at_size(3, 1))
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 1], help="images per batch")
    parser.add_argument("--measure", help="used by the script itself")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(speed(options)))
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder:
        make_images(options.photos, Path(folder))
        cases = product(options.weights, options.batch)
        report("pipeline", [row for case in cases for row in rows(*case, folder, options)])
    if len(cores) < 2:
        print("this machine has one core; the figures for two are missing", file=sys.stderr)


def make_images(photos: Path, folder: Path) -> None:
    """Write the photos as JPEG files of SIZE."""
    files = sorted(photos.glob("*.jpg"))[:UNIQUE]
    if not files:
        raise SystemExit(f"{photos} has no .jpg files")
    for number, file in enumerate(files):
        image = cv2.resize(cv2.imread(str(file)), SIZE, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])


def rows(weights: str, batch: int, folder: str, options) -> list[dict]:
    """The fastest of several runs on one core, on two, and of two processes of one core each."""
    cores, table = sorted(os.sched_getaffinity(0))[:2], []
    command = [sys.executable, __file__, "--measure", folder, "--weights", weights]
    command += ["--batch", str(batch), "--count", str(options.count)]
    ways = {"one core": [cores[:1]], "two cores": [cores], "two processes": [cores[:1], cores[1:]]}
    for name, processes in list(ways.items())[: None if len(cores) > 1 else 1]:
        runs = [measured(command, processes) for _ in range(options.repeats)]
        row = {"model": weights, "batch": batch, "": name}
        row |= max(runs, key=lambda run: run["images/s"])
        if name != "two processes":
            row["goal"] = SCALING * table[0]["images/s"] if table else GOAL
            row["verdict"] = verdict(row["images/s"], row["goal"], at_least=True)
        table.append(row)
    return table


def measured(command: list[str], processes: list[list[int]]) -> dict:
    """Run a command in processes, each on its cores; all measure at the same time."""
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=partial(os.sched_setaffinity, 0, cores),
        )
        for cores in processes
    ]
    for process in started:
        process.stdout.readline()  # it is ready
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [json.loads(process.communicate()[0]) for process in started]
    mean = {name: statistics.mean(each[name] for each in found) for name in found[0]}
    return {**mean, "images/s": sum(each["images/s"] for each in found)}


def speed(options) -> dict:
    """Images per second and CPU ms per image with stored maps."""
    (weights,), (batch,), count = options.weights, options.batch, options.count
    from tagwise import Predictor
    from tagwise.prediction.pipeline import Pipeline, thread_counts
    from tagwise.runtime import keep_freed_memory

    cv2.setNumThreads(0)
    keep_freed_memory()  # as the verb does
    predictor = Predictor(weights, device="cpu", precision="fp32", batch_size=batch)
    threads = thread_counts(batch == 1, predictor.runner.most_networks)
    pipeline = Pipeline(predictor, batch, **threads)
    names = cycle(sorted(Path(options.measure).glob("*.jpg")))
    forward, stored = predictor.runner.forward, []
    predictor.runner.forward = lambda images: stored.append(forward(images)) or stored[-1]
    for _ in pipeline.run_on([next(names) for _ in range(max(4, batch))]):
        pass
    order = cycle(stored)
    predictor.runner.forward = lambda images: next(order)
    files = [next(names) for _ in range(-(-count // batch) * batch)]
    print("ready", flush=True)
    sys.stdin.readline()  # the other process is ready too
    begun, used = time.perf_counter(), time.process_time()
    instances = sum(len(outcome.result) for outcome in pipeline.run_on(files))
    elapsed, used = time.perf_counter() - begun, time.process_time() - used
    return {
        "images/s": len(files) / elapsed,
        "CPU ms per image": 1e3 * used / len(files),
        "instances per image": instances / len(files),
    }


if __name__ == "__main__":
    main()
