"""Everything in `Predictor.stream` besides the network: images/s on one core and on two.

    python benchmarks/pipeline.py [PHOTOS] [--weights people robots] [--count 400]

The network is replaced by one that returns the maps of an earlier run immediately. Images are JPEG
files of 512 × 384 pixels, scaled from the photos of a folder (by default examples/photos). Nothing
is written. Goals: 180 images/s per core, and 1.8 times as many on two cores as on one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from _bench import arguments, report

SIZE = (512, 384)
GOAL, SCALING = 180, 1.8
UNIQUE = 40  # different images, at most
EXAMPLES = Path(__file__).parents[1] / "examples" / "photos"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos", nargs="?", type=Path, default=EXAMPLES)
    parser.add_argument("--weights", nargs="+", default=["people", "robots"])
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", help="used by the script itself")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(speed(options.weights[0], Path(options.measure), options.count)))
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as folder:
        make_images(options.photos, Path(folder))
        report("pipeline", [row for name in options.weights for row in rows(name, folder, options)])
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


def rows(weights: str, folder: str, options) -> list[dict]:
    """One row per number of cores: the fastest of several runs, each in a process of its own."""
    table = []
    for number in range(1, len(sorted(os.sched_getaffinity(0))[:2]) + 1):
        runs = [measured(weights, folder, options, number) for _ in range(options.repeats)]
        best = max(runs, key=lambda run: run["images/s"])
        goal = GOAL if number == 1 else SCALING * table[0]["images/s"]
        verdict = "met" if best["images/s"] >= goal else "missed"
        table.append({"model": weights, "cores": number, **best, "goal": goal, "": verdict})
    return table


def measured(weights: str, folder: str, options, cores: int) -> dict:
    """Run this script on some of the cores."""
    command = [sys.executable, __file__, "--measure", folder, "--weights", weights]
    command += ["--count", str(options.count)]
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    ran = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )
    return json.loads(ran.stdout)


def speed(weights: str, folder: Path, count: int) -> dict:
    """Images per second and CPU ms per image of `stream` with stored maps."""
    import torch

    from tagwise import Predictor

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    predictor = Predictor(weights, device="cpu", precision="fp32")
    files = sorted(folder.glob("*.jpg"))
    forward, stored = predictor.runner.forward, []
    predictor.runner.forward = lambda images: stored.append(forward(images)) or stored[-1]
    for _ in predictor.stream(files):
        pass
    order = iter(range(10**9))
    predictor.runner.forward = lambda images: stored[next(order) % len(stored)]
    files = (files * (1 + count // len(files)))[:count]
    begun, used = time.perf_counter(), time.process_time()
    instances = sum(len(result) for result in predictor.stream(files))
    elapsed, used = time.perf_counter() - begun, time.process_time() - used
    return {
        "images/s": count / elapsed,
        "CPU ms per image": 1e3 * used / count,
        "instances per image": instances / count,
    }


if __name__ == "__main__":
    main()
