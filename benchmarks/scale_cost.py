"""What predicting millions of images would take: hours, machine-hours, and what is full first.

    OMP_NUM_THREADS=1 python benchmarks/scale_cost.py [PHOTOS] [--weights people robots]

Measures on this machine, in CPU time of one core: one image from JPEG file to JSON, and decoding
the JPEG file alone; and how many images a process reads per second from a store that answers each
request after LATENCY seconds with SPEED bytes per second. Then computes, for the machines in KINDS,
the time for 1, 10 and 100 million images, and simulates machines that stop without warning.

Goal: a process reads from the store as fast as its core predicts.

Assumes what is not measured: that cores scale evenly (docs/scale.md has the figure for two), that a
machine's network carries what its vendor states, and that the store and the driver keep up, whose
limits are printed beside it. No GPU is in the model, since none was measured.
"""

import heapq
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from _bench import arguments, at_size, report, verdict
from pipeline import EXAMPLES, make_images

import tagwise
from tagwise.prediction.sources import find_sources

LATENCY, SPEED = 0.04, 20e6  # seconds, and bytes per second, of one answer of the store
STORE_REQUESTS = 5500  # per second and prefix, which Amazon S3 documents
SHARD = 1000  # images that are lost at most when a machine stops
RESTART = 180.0  # seconds until another machine has taken its place and loaded the model
STOPS = (0.0, 0.01, 0.05, 0.2)  # stops per machine and hour; spot machines rarely exceed 0.05
IMAGES = (1e6, 1e7, 1e8)


@dataclass(frozen=True)
class Kind:
    """A kind of machine. gigabits: of its network, per second."""

    name: str
    cores: int
    gigabits: float


KINDS = (
    Kind("this machine", 2, 1.0),
    Kind("16 cores (as c7a.4xlarge)", 16, 12.5),
    Kind("64 cores (as c7a.16xlarge)", 64, 25.0),
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("photos", nargs="?", type=Path, default=EXAMPLES)
    parser.add_argument("--weights", nargs="+", default=["people", "robots"])
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    count = at_size(options.count, 4)
    with tempfile.TemporaryDirectory() as folder:
        make_images(options.photos, Path(folder))
        files = repeated(sorted(Path(folder).glob("*.jpg")), count)
        size = float(np.mean([file.stat().st_size for file in files]))
        decode = cpu_seconds(lambda: [cv2.imread(str(file)) for file in files]) / count
        stored = store_rate(files)
        rows = []
        for weights in options.weights:
            whole = cpu_seconds(lambda weights=weights: predict_all(files, weights)) / count
            rows += [hours(kind, weights, whole, decode, size, stored) for kind in KINDS]
    report("scale_cost", rows)
    report("scale_stops", [stopping(rate, at_size(1e7, 1e4)) for rate in STOPS])


# ---------------------------------------------------------------------- what is measured


def repeated(files: list[Path], count: int) -> list[Path]:
    """Links to some files under other names, since a file that is given twice is predicted once."""
    links = [file.with_name(f"{n:05d}.jpg") for n, file in zip(range(count), cycle(files))]
    for link, file in zip(links, cycle(files)):
        link.symlink_to(file)
    return links


def cpu_seconds(call) -> float:
    """CPU seconds of a second call; the first one compiles and warms up."""
    call()
    begun = time.process_time()
    call()
    return time.process_time() - begun


def predict_all(files: list[Path], weights: str) -> None:
    run = tagwise.predict(files, weights, device="cpu", stream=True)
    assert len([result.to_dict() for result in run]) == len(files)


def store_rate(files: list[Path]) -> float:
    """Images per second that one process reads from the slow store; the network takes no time."""
    predictor = tagwise.Predictor("robots", device="cpu", runtime="torch", precision="fp32")
    forward, stored = predictor.runner.forward, []
    predictor.runner.forward = lambda images: stored.append(forward(images)) or stored[-1]
    predictor(files[0])
    predictor.runner.forward = lambda images: stored[0]
    with slow_store() as address:
        images = [source.image for source in find_sources([f"{address}{file}" for file in files])]
        begun = time.perf_counter()
        count = sum(1 for _ in predictor.stream(images))
        return count / (time.perf_counter() - begun)


@contextmanager
def slow_store() -> Iterator[str]:
    """A server of files, in a process of its own, that answers as slowly as a far one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    process = get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        process.kill()
        server.server_close()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = Path(self.path).read_bytes()
        time.sleep(LATENCY + len(content) / SPEED)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words) -> None:
        """Print nothing."""


# ---------------------------------------------------------------------- what follows from that


def hours(
    kind: Kind, weights: str, whole: float, decode: float, size: float, stored: float
) -> dict:
    """One row: the rate of a machine of a kind, its limits in images per second, and the times.

    whole, decode: CPU seconds per image, of everything and of decoding alone. size: bytes of an
    image. stored: images per second that a process reads from the store.
    """
    limits = {
        "cores": kind.cores / whole,
        "network": kind.gigabits * 1e9 / 8 / size,
        "reading": kind.cores * stored,
    }
    rate = min(limits.values())
    row = {"model": weights, "machine": kind.name, "images/s": rate}
    row["full first"] = min(limits, key=limits.get)
    row["reads as fast as it predicts"] = verdict(stored, 1 / whole, at_least=True)
    row["decoding, %"] = 100 * decode / whole
    row |= {f"hours for {count / 1e6:g} M": count / rate / 3600 for count in IMAGES}
    return row | {"machines until the store is full": STORE_REQUESTS / rate}


def stopping(stops: float, images: float, machines: int = 50, rate: float = 100.0) -> dict:
    """Simulate a run on machines that stop, each `stops` times per hour, at random moments.

    A machine that stops loses the shard that it works on, which another one does again.
    """
    rng = np.random.default_rng(0)
    left, lost, seconds = int(images / SHARD), 0, SHARD / rate
    free = [(0.0, number) for number in range(machines)]
    stop = [rng.exponential(3600 / stops) if stops else np.inf for _ in free]
    ends = []
    while left:
        begun, number = heapq.heappop(free)
        end = begun + seconds
        if stop[number] < end:
            lost += 1
            end = max(stop[number], begun) + RESTART
            stop[number] = end + rng.exponential(3600 / stops)
        else:
            left -= 1
            ends.append(end)
        heapq.heappush(free, (end, number))
    ideal = images / rate / machines
    return {
        "stops per machine and hour": stops,
        "hours": max(ends) / 3600,
        "longer by, %": 100 * (max(ends) / ideal - 1),
        "stops": lost,
        "images done twice, %": 100 * lost * SHARD / 2 / images,
    }


if __name__ == "__main__":
    main()
