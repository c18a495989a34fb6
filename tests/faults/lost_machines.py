"""Runs on a cluster that loses machines. `python tests/faults/lost_machines.py --count 10`.

A head without cores and two nodes of Ray with one core each, all on this machine. At a random
moment of a run, all processes of a node are killed, and another node joins. Each image must have
exactly one row, equal to that of a plain run. Needs Linux and tagwise[scale].
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from shard_kills import Runs, prepare

from tagwise.errors import UserError
from tagwise.scale.ray_actors import connect, import_ray

PORT = 6391


class Cluster:
    """The processes of a cluster on this machine."""

    def __init__(self) -> None:
        os.environ["RAY_AUTH_MODE"] = "token"  # before Ray is imported
        os.environ["RAY_ADDRESS"] = f"127.0.0.1:{PORT}"
        self.ray = import_ray()
        self.head = self._start("--head", f"--port={PORT}", "--num-cpus=0")
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._wait(self._connect)
        for count in (2, 3):
            self._join()
            self._wait(lambda count=count: sum(n["Alive"] for n in self.ray.nodes()) == count)

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        ray, nowhere = Path(sys.executable).with_name("ray"), subprocess.DEVNULL
        command = [str(ray), "start", "--block", "--object-store-memory", str(150 * 2**20)]
        return subprocess.Popen([*command, *options], stdout=nowhere, stderr=nowhere)

    def _join(self) -> None:
        self.nodes.append(self._start(f"--address=127.0.0.1:{PORT}", "--num-cpus=1"))

    def _connect(self) -> bool:
        with suppress(UserError):
            connect(self.ray)
        return self.ray.is_initialized()

    def _wait(self, done: Callable[[], bool]) -> None:
        for _ in range(100):
            if done():
                return
            time.sleep(1)
        raise SystemExit("the cluster did not start")

    def lose(self) -> bool:
        """Kill a node, and let another one join."""
        _kill(self.nodes.pop(0))
        self._join()
        return True

    def close(self) -> None:
        self.ray.shutdown()
        for process in (*self.nodes, self.head):
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.Error):
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                each.kill()
    process.kill()
    process.wait()


def run_and_lose(runs: Runs, cluster: Cluster) -> int:
    """A run that loses a node at a random moment; returns whether it was still running."""
    lost: list[bool] = []
    moment = float(runs.rng.uniform(0.1, 0.8) * runs.seconds)
    timer = threading.Timer(moment, lambda: lost.append(cluster.lose()))
    timer.start()
    try:
        runs.run(runs.new_folder())
    except UserError as error:
        runs.faults.append(str(error))
    timer.cancel()
    timer.join()
    return len(lost)


def main() -> int:
    """Print what was tried, how often, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        plain = prepare(Path(name), 45)
        cluster = Cluster()
        try:
            runs, done = Runs(Path(name), plain, options.seed, "Ray"), 0
            while done < options.count:
                done += run_and_lose(runs, cluster)
        finally:
            cluster.close()
    print(f"machines lost: {done}, {len(runs.faults)} faults")
    print("".join(f"    {fault}\n" for fault in runs.faults), end="")
    return 1 if runs.faults else 0


if __name__ == "__main__":
    sys.exit(main())
