"""Throughput and latency of `POST /predict` against the number of clients, batch size and workers.

    python benchmarks/serving.py --weights people --requests 200

Clients and server share this machine, and talk over the loopback. Each client sends its next photo
when it has the answer to the last one, as `hey -c` does. Goal: at most 1.25 times the CPU time per
image of the library without a server. Elapsed times mean something on an idle machine only. Needs
tagwise[serve] and httpx.
"""

import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import numpy as np
from _bench import arguments, at_size, report, verdict

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "pedestrians.jpg"
SETUPS = ((1, 1), (1, 8), (2, 8))  # workers, batch size
CLIENTS = (1, 4, 16, 64)
GOAL = 1.25


@contextmanager
def server(weights: str, workers: int, batch_size: int):
    """Run a server, and yield its address."""
    command = [sys.executable, "-m", "tagwise", "serve", "--weights", weights, "--port", "0"]
    command += ["--no-open", "--workers", str(workers), "--batch-size", str(batch_size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True)
    try:
        line = process.stderr.readline()
        yield re.search(r"http://\S+", line).group().rstrip("/")
    finally:
        process.terminate()
        process.wait(60)


def load(address: str, clients: int, requests: int) -> tuple[np.ndarray, int, float]:
    """Seconds of each answered request, the number refused with 503, and seconds in all."""
    photo, numbers = PHOTO.read_bytes(), count()
    took: list[float] = []
    refused: list[int] = []

    def work() -> None:
        with httpx.Client(timeout=120) as client:
            while next(numbers) < requests:
                start = time.perf_counter()
                answer = client.post(f"{address}/predict", content=photo)
                if answer.status_code == 503:
                    refused.append(1)
                    time.sleep(float(answer.headers["retry-after"]))
                else:
                    answer.raise_for_status()
                    took.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return np.array(took), len(refused), time.perf_counter() - start


def figure(address: str, name: str) -> float:
    """One figure of the server's /metrics."""
    lines = httpx.get(f"{address}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def direct(weights: str, requests: int) -> tuple[float, float]:
    """Images per second of the library itself, in one process, and its CPU ms per image."""
    from tagwise import Predictor

    predictor, photo = Predictor(weights, device="cpu"), PHOTO.read_bytes()
    predictor(photo)
    start, used = time.perf_counter(), time.process_time()
    for _ in range(requests):
        predictor(photo)
    used = time.process_time() - used
    return requests / (time.perf_counter() - start), 1000 * used / requests


def measure(address: str, workers: int, clients: int, requests: int) -> dict:
    """Figures of one load."""
    names = ("tagwise_images_total", "tagwise_batches_total", "process_cpu_seconds_total")
    before = [figure(address, name) for name in names]
    took, refused, total = load(address, clients, requests)
    images, batches, used = (figure(address, name) - old for name, old in zip(names, before))
    p50, p99 = np.quantile(took, (0.5, 0.99)) * 1000
    return {
        "CPU ms": 1000 * used / images if workers == 1 else None,
        "batch": images / batches,
        "images/s": len(took) / total,
        "p50 ms": p50,
        "p99 ms": p99,
        "refused": refused,
    }


def main() -> None:
    """Print the table, and write it as JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", default="people")
    parser.add_argument("--requests", type=int, default=200)
    given, _ = parser.parse_known_args()
    requests = at_size(given.requests, 4)
    speed, alone = direct(given.weights, requests)
    rows = [{"what": "Predictor, no server", "CPU ms": alone, "images/s": speed}]
    for workers, batch_size in at_size(SETUPS, SETUPS[:1]):
        with server(given.weights, workers, batch_size) as address:
            load(address, 2 * workers, 4 * workers)  # warm up
            for clients in at_size(CLIENTS, (2,)):
                found = measure(address, workers, clients, requests)
                used = found["CPU ms"]
                met = None if used is None else verdict(used, GOAL * alone)
                what = f"workers {workers}, batch size {batch_size}, clients {clients}"
                rows.append({"what": what, **found, "": met})
    report("serving", rows)


if __name__ == "__main__":
    main()
