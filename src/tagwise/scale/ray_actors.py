"""Ray Data: actors that hold a model each, on one machine or on a cluster."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tagwise.console.streams import print_note
from tagwise.errors import UserError, brief, optional
from tagwise.scale.plan import Shard
from tagwise.scale.shards import Summary
from tagwise.scale.worker import Work, Worker

_BLOCKS = 10_000  # shards beyond this number share a block of Ray Data
_TASK_RETRIES = 10  # of a shard whose actor ended; actors start again without a limit
_PAUSE = 3000  # milliseconds before each; Ray takes up to 15 s to notice that a machine is lost
_LONGEST = 200  # characters of a message of Ray
_REPEAT = 60.0  # seconds until the same message is shown again
_TIMEOUT = 10.0  # seconds to reach a cluster
_GONE = {"head": 45.0, "machine": 4.0}  # seconds without an answer; Ray then ends this process
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray sends nothing
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # otherwise it prints advice
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_NOTES = {
    "retries remaining": "an actor does not answer; its shard is tried again",
    "has been marked dead": "a machine does not answer; its shards go to others",
}
"""Parts of messages of Ray, and what is said instead."""


def import_ray() -> Any:
    """Import Ray Data, set to send no usage statistics, and to wait before it tries a shard again.

    Raises UserError if it is missing.
    """
    for name, value in (*_QUIET.items(), ("RAY_task_retry_delay_ms", str(_PAUSE))):
        os.environ.setdefault(name, value)
    ray = optional("ray", "scale", "the engine ray needs Ray")
    optional("ray.data", "scale", "the engine ray needs Ray Data")
    return ray


class RayActors:
    """Actors of Ray Data; connects to the cluster, or starts Ray on this machine.

    workers: number of actors; None is one per GPU, or one per CPU core. device: "auto", "cpu" or
        "cuda". The cluster is the one that Ray is connected to already, or that RAY_ADDRESS names,
        or the one that runs on this machine.
    Raises UserError for a cluster that cannot be reached, that has another version, or that has too
    few GPUs or cores.
    """

    def __init__(self, workers: int | None, device: str) -> None:
        self._ray = import_ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            connect(self._ray)
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        try:
            self.workers, self._cores, self._gpus = share_out(nodes, workers, device)
        except UserError:
            self.close()
            raise

    def run(self, work: Work, shards: Iterable[Shard]) -> Iterator[Summary]:
        """Yield the summaries of shards as they are done.

        Shards of an actor that ends are given to another one. Raises UserError if a shard ends
        several actors.
        """
        data, done = self._ray.data, set()
        rows = [{"number": s.number, "first": s.first, "images": list(s.images)} for s in shards]
        with _quiet(data), _watched(self._ray):
            results = data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
            results = results.map_batches(
                ShardActor,
                fn_constructor_args=(work, "cuda" if self._gpus else "cpu"),
                batch_size=1,
                batch_format="pyarrow",
                compute=data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=2),
                num_cpus=self._cores,
                **({"num_gpus": 1} if self._gpus else {}),
                ray_remote_args_fn=_retries,
            )
            try:
                for batch in results.iter_batches(
                    batch_size=None, batch_format="pyarrow", prefetch_batches=0
                ):
                    for summary in map(Summary.from_json, batch["summary"].to_pylist()):
                        done.add(summary.shard)
                        yield summary
            except self._ray.exceptions.RayError as error:
                missing = next((row["images"][0] for row in rows if row["number"] not in done), "")
                raise UserError(
                    f"Ray stopped the run: {brief(str(error).strip(), 300)}; if an image crashes "
                    f"the actors, it is probably in the shard that begins with {missing}; the same "
                    "command with --resume continues from here"
                ) from error

    @property
    def threads(self) -> int | None:
        """The number of threads of the network in each actor; None on a GPU."""
        return None if self._gpus else self._cores

    def close(self) -> None:
        """End the actors, if Ray was started or connected to by this object."""
        if self._own:
            self._ray.shutdown()


class ShardActor:
    """The class that Ray Data keeps in its actors: a `Worker`, which takes batches of shards."""

    def __init__(self, work: Work, device: str) -> None:
        self._worker = Worker(work, device)

    def __call__(self, batch: Any) -> dict[str, list[str]]:
        """The summaries of the shards in an arrow table, as JSON."""
        shards = [
            Shard(row["number"], row["first"], tuple(row["images"])) for row in batch.to_pylist()
        ]
        return {"summary": [self._worker(shard).to_json() for shard in shards]}


def share_out(
    nodes: Sequence[Mapping[str, float]], workers: int | None, device: str
) -> tuple[int, int, bool]:
    """The number of actors, the CPU cores of each, and whether each has a GPU.

    nodes: the resources of each machine, such as {"CPU": 16, "GPU": 2}. workers, device: see
        `RayActors`. Raises UserError if the machines do not have as much.
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device is {device!r}; with the engine ray, use auto, cpu or cuda")
    if device == "cuda" and not gpus:
        raise UserError("device is 'cuda', and Ray has no GPU; use --device cpu")
    on_gpus = gpus > 0 and device != "cpu"
    most = gpus if on_gpus else sum(cores)
    workers = most if workers is None else workers
    if workers > most or not workers:
        what = "GPUs" if on_gpus else "CPU cores"
        raise UserError(
            f"Ray has {most} {what}, too few for {workers} workers; use fewer --workers"
        )
    if on_gpus:
        return workers, 1, True
    most_cores = range(max(cores), 0, -1)
    each = next(k for k in most_cores if sum(count // k for count in cores) >= workers)
    return workers, each, False


def _retries() -> dict[str, Any]:
    return {"max_restarts": -1, "max_task_retries": _TASK_RETRIES}


def connect(ray: Any, **options: Any) -> None:
    """Connect to the cluster, or start Ray here; options: of `ray.init`.

    What Ray has to say goes to the standard error, in short. Raises UserError if it fails.
    """
    given = os.environ.get("RAY_ADDRESS", "")
    if not _answers(given):
        raise _unreachable(f"nothing answers at {given}")
    noted = "" if given else _noted_address()
    if not given and not (noted and _answers(noted)):
        options = {"address": "local", **options}
    try:
        with _silent(), _kept_signal():
            ray.init(
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **options,
            )
    except Exception as error:  # of many types
        text = str(error)
        if options.get("address") == "local":
            raise UserError(f"cannot start Ray on this machine: {brief(text, 300)}") from error
        if "Version mismatch" not in text:
            raise _unreachable(text) from error
        cluster, here = re.findall(r"Ray: (\S+)\s+Python: (\S+)", text)
        raise UserError(
            f"the cluster has Ray {cluster[0]} on Python {cluster[1]}, and this process has Ray "
            f"{here[0]} on Python {here[1]}; install the same versions"
        ) from error
    _note_messages()


def _note_messages() -> None:
    """Let messages about the cluster, such as a worker that ended, be notes of one line.

    Ray prints them to the standard output, and has no setting for that.
    """
    worker, shown = sys.modules.get("ray._private.worker"), {}

    def note(message: Mapping[str, Any], **_: Any) -> None:
        text, now = _short(message), time.monotonic()
        if now - shown.get(text, -math.inf) > _REPEAT:
            print_note(f"Ray: {text}")
            shown[text] = now

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = note


def _short(message: Mapping[str, Any]) -> str:
    text = " ".join(map(str, message.get("lines", ())))
    known = (said for part, said in _NOTES.items() if part in text)
    return next(known, text[:_LONGEST].partition(". ")[0])


def _answers(address: str) -> bool:
    """Whether something listens at HOST:PORT; where nothing does, Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return True
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT).close()
    except (OSError, OverflowError):
        return False
    return True


def _noted_address() -> str:
    """The address of the cluster that `ray start` started on this machine, "" for none.

    Ray's note of it stays when the cluster is killed.
    """
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    try:
        return Path(folder, "ray", "ray_current_cluster").read_text().strip()
    except (OSError, ValueError):
        return ""


def _unreachable(reason: str) -> UserError:
    return UserError(
        f"cannot reach the Ray cluster ({brief(reason, 300)}); check RAY_ADDRESS, and set "
        "RAY_AUTH_MODE=token if the cluster needs a token"
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what the compiled part of Ray writes to the standard error while it starts."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _kept_signal() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(data: Any) -> Iterator[None]:
    """Let Ray Data print nothing; the run has its own progress bar."""
    context, log = data.DataContext.get_current(), logging.getLogger("ray.data")
    before, level = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        context.enable_progress_bars = before
        log.setLevel(level)


@contextmanager
def _watched(ray: Any) -> Iterator[None]:
    """End this process in one line if Ray has ended, before Ray ends it without any."""
    ended, own = threading.Event(), ray.get_runtime_context()
    addresses = {own.gcs_address: _GONE["head"]}
    for node in ray.nodes():
        if node["NodeID"] == own.get_node_id():
            address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            addresses[address] = _GONE["machine"]
    threading.Thread(target=_watch, args=(addresses, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(addresses: Mapping[str, float], ended: threading.Event, every: float = 1.0) -> None:
    """addresses: HOST:PORT, and after how many seconds without an answer Ray counts as ended."""
    answered = dict.fromkeys(addresses, time.monotonic())
    while not ended.wait(every):
        for address, longest in addresses.items():
            if _answers(address):
                answered[address] = time.monotonic()
            elif time.monotonic() - answered[address] > longest:
                print_note(
                    f"Ray does not answer at {address} any more; the same command with --resume "
                    "continues from here"
                )
                os._exit(2)
