"""Runs in shards that are killed or damaged at random. `python tests/faults/shard_kills.py`.

At random moments, with two workers on Ray or in processes: a worker process is killed; an actor is
killed; the command is killed, and continued with --resume. With one worker inside this process:
files of shards are damaged before --resume; the disk is full; and a store fails one read and one
write in ten. Each image must then have exactly one row, equal to that of a plain run. Needs Linux,
tagwise[scale], and root for the full disks.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import tagwise
import tagwise.scale.run
from shard_outputs import assert_same, rows_of
from spots import PIN
from tagwise.errors import UserError
from tagwise.models import create_model, save_model
from tagwise.scale.plan import Shard
from tagwise.scale.processes import Processes
from tagwise.scale.ray_actors import connect, import_ray
from tagwise.scale.shards import Summary
from tagwise.scale.worker import Work, Worker
from tagwise.tasks import PoseTask

OPTIONS = {"device": "cpu", "precision": "fp32"}
SIZE = 3  # images of a shard
STORE = '''
import random
from fsspec.implementations.local import LocalFileSystem

class FlakyFileSystem(LocalFileSystem):
    """Files of this machine at flaky://FOLDER; one read and one write in ten fail."""

    protocol = "flaky"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky:/"))

    def cat_file(self, path, **options):
        self._fail()
        return super().cat_file(path, **options)

    def pipe_file(self, path, value, **options):
        self._fail()
        return super().pipe_file(path, value, **options)

    def _fail(self):
        if random.random() < 0.1:
            raise OSError("the connection was reset")
'''


def prepare(folder: Path, count: int) -> dict[str, object]:
    """Photos, two of which are damaged, a model and a store; returns what a plain run finds."""
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.integers(0, 256, (60 + number % 3, 80, 3), np.uint8)
        Image.fromarray(noise).save(folder / "photos" / f"{number:03d}.png")
    for name in ("cut.png", "text.png"):
        (folder / "photos" / name).write_bytes(b"no photo")
    torch.manual_seed(0)
    model = create_model("small", PoseTask(PIN), input_size=(64, 64), width=16)
    with torch.no_grad():
        model.heads["heatmaps"].output.bias += 2.0
    save_model(model, folder / "w.safetensors")
    (folder / "flaky_store.py").write_text(STORE)
    info = folder / "flaky_store-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky-store\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fsspec.specs]\nflaky=flaky_store.FlakyFileSystem\n")
    plain: dict[str, object] = {}
    predictor = tagwise.Predictor("w.safetensors", **OPTIONS)
    for path in sorted((folder / "photos").iterdir()):
        (outcome,) = predictor.outcomes([f"photos/{path.name}"])
        row = (
            str(outcome.error)
            if outcome.error
            else json.loads(json.dumps(outcome.result.to_dict()))
        )
        plain[f"photos/{path.name}"] = row
    return plain


class OneWorker:
    """Runs shards in this process, in place of `Processes`."""

    workers, threads = 1, 1

    def __init__(self, workers: int, device: str) -> None:
        pass

    def run(self, work: Work, shards: Iterable[Shard]) -> Iterator[Summary]:
        return map(Worker(work), shards)

    def close(self) -> None:
        pass


class Runs:
    """Runs in a folder, compared with a plain run.

    faults: what was wrong. engine: a key of ENGINES.
    """

    def __init__(self, folder: Path, plain: dict[str, object], seed: int, engine: str) -> None:
        self.folder, self.plain, self.ray = folder, plain, engine == "Ray"
        self.rng, self.faults, self.number = np.random.default_rng(seed), [], 0
        self.seconds = 0.0
        started = time.monotonic()
        self.run(self.new_folder())
        self.seconds = time.monotonic() - started

    def new_folder(self) -> Path:
        self.number += 1
        return self.folder / f"out {os.getpid()} {self.ray} {self.number}"

    def start(self, out: str | Path, source: str = "photos", resume: bool = False) -> object:
        """Begin a run; its results are computed by `finish`."""
        engine = {"engine": "ray"} if self.ray else {}
        return tagwise.predict(
            source, "w.safetensors", out=out, workers=2, shard_size=SIZE, resume=resume, **engine,
            **OPTIONS,
        )  # fmt: skip

    def run(self, out: Path, resume: bool = False) -> None:
        """A run to its end, whose rows are checked."""
        self.start(out, resume=resume).finish()
        self.check(out, self.plain)

    def check(self, out: Path, plain: dict[str, object]) -> None:
        try:
            assert_same(rows_of(out), plain)
            assert not list(out.rglob("*.partial")), "partial files are left"
        except AssertionError as error:
            self.faults.append(f"{out.name}: {str(error).splitlines()[0]}")

    def killed_inside(self, count: int, kill: Callable[[], bool]) -> int:
        """Runs during which something is killed at random moments, `count` times in all."""
        done = 0
        while done < count:
            out, ended = self.new_folder(), threading.Event()
            moments = np.sort(self.rng.uniform(0, self.seconds, min(5, count - done)))
            kills: list[bool] = []
            thread = threading.Thread(target=_kill_at, args=(moments, kill, ended, kills))
            thread.start()
            try:
                self.run(out)
            except UserError as error:
                self.faults.append(f"{out.name}: {error}")
            ended.set()
            thread.join()
            done += sum(kills)
        return done

    def killed_command(self, count: int) -> int:
        """Commands that are killed at random moments, and continued to their end."""
        done = 0
        while done < count:
            out = self.new_folder()
            for _ in range(min(int(self.rng.integers(1, 6)), count - done)):
                done += self._kill_command(out)
            code = self._command(out).wait()
            if code != 1:  # two images cannot be read
                self.faults.append(f"{out.name}: exit code {code}")
            self.check(out, self.plain)
        return done

    def _command(self, out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tagwise", "predict", "photos", "--weights"]
        command += ["w.safetensors", "--out", str(out), "--workers", "2", "--resume", "--device"]
        command += ["cpu", "--precision", "fp32", "--shard-size", str(SIZE)]
        command += ["--engine", "ray"] if self.ray else []
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=nowhere, stderr=nowhere)

    def _kill_command(self, out: Path) -> bool:
        before, process = len(list(out.glob("done/*.json"))), self._command(out)
        wait = bool(self.rng.integers(4))
        while wait and process.poll() is None and len(list(out.glob("done/*.json"))) == before:
            time.sleep(0.01)
        end = time.monotonic() + self.rng.uniform(0, 1.0 if wait else self.seconds)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def damaged(self, count: int) -> int:
        """Finished runs some of whose files are cut, changed or removed, and that are continued."""
        out = self.new_folder()
        self.run(out)
        for _ in range(count):
            files = [path for path in sorted(out.rglob("shard-*")) if path.is_file()]
            for path in self.rng.choice(files, 3, replace=False):
                content = bytearray(path.read_bytes())
                how = self.rng.integers(3)
                if how == 0:
                    path.unlink()
                    continue
                place = int(self.rng.integers(len(content)))
                content[place] ^= 1 << int(self.rng.integers(8))
                path.write_bytes(content if how == 1 else content[:place])
            self.run(out, resume=True)
        return count

    def full_disks(self, count: int) -> int:
        """Runs on a disk that is too small, which is then enlarged."""
        need = sum(p.stat().st_size for p in self.folder.glob("out */**/*") if p.is_file())
        need //= max(1, self.number - 1)
        for _ in range(count):
            out = self.new_folder()
            out.mkdir()
            size = int(self.rng.uniform(0.05, 0.9) * need) // 4096 * 4096 + 8192
            _mount(out, f"size={size}")
            try:
                try:
                    self.start(out).finish()
                    self.faults.append(f"{out.name}: no error on a disk of {size} bytes")
                except UserError as error:
                    if "cannot write" not in str(error) or "No space left" not in str(error):
                        self.faults.append(f"{out.name}: {error}")
                _mount(out, "remount,size=100m")
                self.run(out, resume=True)
            finally:
                subprocess.run(["umount", str(out)], check=False)
        return count

    def flaky_store(self, count: int) -> int:
        """Runs that read from and write to a store that fails one time in ten."""
        source = f"flaky:/{self.folder}/photos"
        names = {name: f"{source}/{Path(name).name}" for name in self.plain}
        plain = json.loads(json.dumps(self.plain))
        plain = {names[n]: plain[n].replace(n, names[n]) if isinstance(plain[n], str) else {
            **plain[n], "image": {**plain[n]["image"], "file": names[n]}
        } for n in plain}  # fmt: skip
        for _ in range(count):
            out = self.new_folder()
            self.start(f"flaky:/{out}", source).finish()
            self.check(out, plain)
        return count


def _kill_at(
    moments: np.ndarray, kill: Callable[[], bool], ended: threading.Event, kills: list[bool]
) -> None:
    began = time.monotonic()
    for moment in moments:
        if ended.wait(max(0.0, began + moment - time.monotonic())):
            return
        kills.append(kill())


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def kill_process() -> bool:
    """Kill one of the processes that work for this one, of Ray or not."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            name = " ".join(process.cmdline())
            if "ShardActor" in name or "spawn_main" in name:
                process.send_signal(signal.SIGKILL)
                return True
    return False


def kill_actor() -> bool:
    """Let Ray kill one of its actors, which then starts again."""
    import ray

    for number, actor in ray._private.state.actors().items():
        if actor["State"] == "ALIVE" and "ShardActor" in str(actor.get("Name", "")) + str(actor):
            identity = ray.ActorID(bytes.fromhex(number))
            ray._private.worker.global_worker.core_worker.kill_actor(identity, False)
            return True
    return False


def main() -> int:
    """Print what was tried, how often, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="of each")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=list(ENGINES), help="both by default")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        paths = [name, os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        sys.path.insert(0, name)
        plain = prepare(Path(name), options.images)
        for engine, cases in ENGINES.items():
            chosen = [case for case in cases if options.only in case]
            if options.engine in (None, engine) and chosen:
                wrong += tried(engine, chosen, Path(name), plain, options)
    return 1 if wrong else 0


def tried(
    engine: str,
    cases: list[str],
    folder: Path,
    plain: dict[str, object],
    options: argparse.Namespace,
) -> int:
    """Try the cases of an engine, and return the number of faults."""
    if engine == "Ray":
        connect(import_ray(), address="local", num_cpus=2, object_store_memory=200 * 2**20)
    tagwise.scale.run.Processes = OneWorker if engine == "one worker" else Processes
    runs = Runs(folder, plain, options.seed, engine)
    for case in cases:
        before = len(runs.faults)
        done = CASES[case](runs, options.count)
        faults = runs.faults[before:]
        print(f"{engine}: {case:28}{done:5}{len(faults):5} faults", flush=True)
        print("".join(f"    {fault}\n" for fault in faults), end="", flush=True)
    return len(runs.faults)


CASES: dict[str, Callable[[Runs, int], int]] = {
    "worker processes killed": lambda runs, count: runs.killed_inside(count, kill_process),
    "actors killed": lambda runs, count: runs.killed_inside(count, kill_actor),
    "commands killed": Runs.killed_command,
    "damaged shards": Runs.damaged,
    "full disks": Runs.full_disks,
    "flaky stores": Runs.flaky_store,
}
ENGINES = {
    "Ray": ("worker processes killed", "actors killed", "commands killed"),
    "processes": ("worker processes killed", "commands killed"),
    "one worker": ("damaged shards", "full disks", "flaky stores"),
}

if __name__ == "__main__":
    sys.exit(main())
