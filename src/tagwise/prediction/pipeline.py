"""Reading, the network and decoding as stages that run at the same time.

    read and fit   several threads, and more of them for images that are fetched
    network        one thread, or several on a CPU, a batch each, few batches ahead of decoding
    decode         several threads, each a part of a batch

The caller's thread takes images from its iterator, and yields their outcomes in the same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, islice
from queue import SimpleQueue
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from tagwise.prediction.workers import Workers
from tagwise.runtime import (
    can_share_threads,
    count_cores,
    count_threads,
    end_idle_threads,
    run_torch_in_one_thread,
    share_threads,
)

Image = TypeVar("Image", contravariant=True)
Item = TypeVar("Item")
Maps = TypeVar("Maps")

_Reading = Future[list["Item | BaseException"]]

_AHEAD, _BATCHES_AHEAD = 2, 3  # images, or batches of them, between network and result
_FETCHING = 16  # threads for images that are fetched, which wait most of the time
_MIXED = 4  # batches that are sorted by shape together, so that images of one shape share a batch
_MEMORY = 1 << 30  # bytes of the images that are sorted together
_PART = 32  # images that are decoded together, at least: each call takes time of its own
_CHUNK = 8  # images of a large batch that are read by one thread, for the same reason


class Stages(Protocol[Image, Item, Maps]):
    """The work of a pipeline; each method is called from threads of its own."""

    def prepare(self, image: Image) -> Item:
        """Read an image. An image that cannot be read gives an item without a shape."""

    def fetches(self, image: Image) -> bool:
        """Whether `prepare` mostly waits for an image, as it does for one on a server."""

    def shape(self, item: Item) -> tuple[Any, ...] | None:
        """What the items of a batch have in common; None for an item that has no further stages."""

    def nbytes(self, item: Item) -> int:
        """The bytes that an item takes in memory between reading and decoding."""

    def run(self, items: list[Item]) -> Maps:
        """Run the network on a batch of items of the same shape; several threads may do so."""

    def decode(self, items: list[Item], maps: Maps, first: int) -> None:
        """Finish some items of a batch; `first` is the index of the first of them in the batch."""


@dataclass(frozen=True)
class Pipeline(Generic[Image, Item, Maps]):
    """Runs the stages on many images.

    batch_size: images per call of `run`. readers, networks, decoders: numbers of threads.
    """

    stages: Stages[Image, Item, Maps]
    batch_size: int
    readers: int
    decoders: int
    networks: int = 1

    @property
    def ahead(self) -> int:
        """How many batches a network may have begun before the first of them is decoded."""
        return _AHEAD if self.batch_size == 1 else _BATCHES_AHEAD

    def run_on(self, images: Iterable[Image]) -> Iterator[Item]:
        """Yield the item of each image, in order, while the next ones are being worked on.

        With a batch size of 1, an item that is finished is not held back while more images are
        waited for, such as frames of a camera.

        An exception of a stage is raised at the item that it belongs to; one of `run`, at the first
        item of its batch; one of `images`, after the items of all images before it.
        """
        end_idle_threads()
        images, work = iter(images), _Work(self)
        # Images in work that keep all threads busy; with batches, there are enough.
        least = self.readers + self.networks + 1 if self.batch_size == 1 else 0
        slots: deque[Future[Item]] = deque()
        end: Exception | None = None
        try:
            while True:
                window = self._window(work.largest)
                windows = 2 if work.largest else 1
                while end is None and len(slots) <= max(windows * window, least) - window:
                    taken, end = _take(images, window)
                    if any(map(self.stages.fetches, taken)):
                        least = max(least, _FETCHING + self.ahead)
                    slots.extend(work.start(taken))
                    if slots and slots[0].done():
                        break
                if not slots:
                    break
                yield slots.popleft().result()
        finally:
            work.stop()
        if not isinstance(end, StopIteration):
            raise end

    def _window(self, largest: int) -> int:
        """The number of images that are sorted by shape together.

        largest: bytes of the largest image of the window that was read last, 0 before the first.
        """
        if self.batch_size == 1 or not largest:
            return self.batch_size
        return max(1, min(self.batch_size * _MIXED, _MEMORY // largest))


def thread_counts(on_cpu: bool, most_networks: int = 1) -> dict[str, int]:
    """The numbers of threads of a `Pipeline` for this machine.

    most_networks: how many threads may run the network at the same time, on a CPU. This is faster
        for a small network: threads that work on one image wait for each other at the end of each
        layer, and for any of them that has to share its core.

    On a CPU, networks take most of the cores, and more readers and decoders would be in their way.
    On a GPU, reading takes longer than decoding.
    """
    cores = count_cores()
    half = max(1, cores // 2)
    if not on_cpu:
        return {"readers": min(cores, 16), "decoders": min(half, 8)}
    networks = min(count_threads(), cores, most_networks) if can_share_threads() else 1
    return {"readers": min(half, 2), "decoders": min(half, 8), "networks": networks}


def _take(images: Iterator[Image], count: int) -> tuple[list[Image], Exception | None]:
    """Take images from an iterator; also returns the exception that ended it, if one did."""
    taken: list[Image] = []
    try:
        while len(taken) < count:
            taken.append(next(images))
    except Exception as error:
        return taken, error
    return taken, None


@dataclass(eq=False)
class _Work(Generic[Image, Item, Maps]):
    """The threads of one run, and what they pass on to each other."""

    pipeline: Pipeline[Image, Item, Maps]
    room: SimpleQueue[None] = field(default_factory=SimpleQueue)
    stopped: bool = False
    largest: int = 0  # bytes of the largest item of the window that was read last

    def __post_init__(self) -> None:
        self.stages = self.pipeline.stages
        self.reading = Workers(self.pipeline.readers, "read")
        self.fetching = Workers(_FETCHING, "fetch")
        networks = self.pipeline.networks
        begin = partial(share_threads, networks) if networks > 1 else None
        self.network = Workers(networks, "network", begin)
        self.decoding = Workers(self.pipeline.decoders, "decode", run_torch_in_one_thread)
        for _ in range(self.pipeline.ahead + networks - 1):
            self.room.put(None)

    def start(self, images: Sequence[Image]) -> list[Future[Item]]:
        """Begin to work on some images, and return a future of the item of each."""
        size = min(_CHUNK, -(-len(images) // (2 * self.pipeline.readers)))
        reads = []
        for fetched, alike in groupby(images, self.stages.fetches):
            workers, count = (self.fetching, 1) if fetched else (self.reading, size)
            while chunk := list(islice(alike, count)):
                reads.append(workers.submit(self._prepared, chunk))
        slots: list[Future[Item]] = [Future() for _ in images]
        self.network.submit(self._run, reads, slots)
        return slots

    def _prepared(self, images: Sequence[Image]) -> list[Item | BaseException]:
        """The item of each image, or the exception that was raised instead."""
        found: list[Item | BaseException] = []
        for image in images:
            if self.stopped:
                raise CancelledError
            try:
                found.append(self.stages.prepare(image))
            except BaseException as error:
                found.append(error)
        return found

    def stop(self) -> None:
        """Let all threads end; does not wait, and is safe in a finalizer, see `workers`."""
        self.stopped = True
        for workers in (self.reading, self.fetching, self.network, self.decoding):
            workers.stop()
        self.room.put(None)

    def _run(self, reads: list[_Reading[Item]], slots: list[Future[Item]]) -> None:
        """Run the network on some images once they have been read; called in one of its threads."""
        with _HandOver(*slots):  # nobody waits for this thread, only for the slots
            self._run_batches(reads, slots)

    def _run_batches(self, reads: list[_Reading[Item]], slots: list[Future[Item]]) -> None:
        ready: list[tuple[tuple[Any, ...], Item, Future[Item]]] = []
        largest = 0
        for item, slot in zip(chain.from_iterable(read.result() for read in reads), slots):
            with _HandOver(slot):
                if isinstance(item, BaseException):
                    raise item
                largest = max(largest, self.stages.nbytes(item))
                shape = self.stages.shape(item)
                if shape is None:
                    slot.set_result(item)
                else:
                    ready.append((shape, item, slot))
        self.largest = largest
        ready.sort(key=lambda entry: entry[0])
        for _, alike in groupby(ready, key=lambda entry: entry[0]):
            while batch := list(islice(alike, self.pipeline.batch_size)):
                self._run_batch([item for _, item, _ in batch], [slot for *_, slot in batch])

    def _run_batch(self, items: list[Item], slots: list[Future[Item]]) -> None:
        self.room.get()
        if self.stopped:
            self.room.put(None)  # for all others that wait
            return
        with _HandOver(*slots) as attempt:
            maps = self.stages.run(items)
        if attempt.failed:
            self.room.put(None)
            return
        size = max(-(-len(items) // self.pipeline.decoders), _PART)
        firsts = range(0, len(items), size)
        left = _Countdown(len(firsts), lambda: self.room.put(None))
        for first in firsts:
            part = slice(first, first + size)
            self.decoding.submit(self._decode, items[part], slots[part], maps, first, left)

    def _decode(
        self,
        items: list[Item],
        slots: list[Future[Item]],
        maps: Maps,
        first: int,
        left: _Countdown,
    ) -> None:
        with _HandOver(*slots) as attempt:
            self.stages.decode(items, maps, first)
        if not attempt.failed:
            for item, slot in zip(items, slots):
                slot.set_result(item)
        left.count()


class _HandOver:
    """A context that hands an exception on to the futures that still wait for a result."""

    def __init__(self, *slots: Future[Any]) -> None:
        self.slots, self.failed = slots, False

    def __enter__(self) -> _HandOver:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is not None:
            self.failed = True
            for slot in self.slots:
                if not slot.done():
                    slot.set_exception(error)
        return True


@dataclass
class _Countdown:
    """Calls a function after a number of counts, from any threads."""

    number: int
    then: Callable[[], object]
    lock: Lock = field(default_factory=Lock)

    def count(self) -> None:
        with self.lock:
            self.number -= 1
            done = self.number == 0
        if done:
            self.then()
