"""Stages that run at the same time: order, batches, errors, bounds, and ends."""

import threading
import time
from itertools import count

import pytest

from tagwise.prediction import pipeline as module
from tagwise.prediction.pipeline import Pipeline, thread_counts
from tagwise.runtime import sharing_threads


class Squares:
    """Stages whose items are lists: the image, then its square. Images are numbers.

    shape: of a number. fails: (stage, number) pairs that raise.
    """

    def __init__(self, shape=lambda number: 0, fails=()):
        self.of, self.fails = shape, set(fails)
        self.batches, self.prepared = [], []

    def prepare(self, image):
        self.fail("prepare", image)
        self.prepared.append(image)
        time.sleep(0.002 * (image % 3))
        return [image]

    def fetches(self, image):
        return False

    def nbytes(self, item):
        return 8

    def shape(self, item):
        return None if item[0] < 0 else (self.of(item[0]),)

    def run(self, items):
        for (image,) in items:
            self.fail("run", image)
        self.batches.append([image for (image,) in items])
        return [image**2 for (image,) in items]

    def decode(self, items, maps, first):
        for item, square in zip(items, maps[first:]):
            self.fail("decode", item[0])
            item.append(square)

    def fail(self, stage, image):
        if (stage, image) in self.fails:
            raise ZeroDivisionError(f"{stage} {image}")


def pipeline(stages, batch_size=4, readers=3, decoders=2, networks=1):
    return Pipeline(stages, batch_size, readers, decoders, networks)


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("number", [0, 1, 7, 60])
def test_items_keep_the_order_of_the_images(batch_size, number, networks):
    found = list(pipeline(Squares(), batch_size, networks=networks).run_on(range(number)))
    assert found == [[n, n * n] for n in range(number)]


def test_images_of_one_shape_share_batches():
    stages = Squares(shape=lambda number: number % 2)
    assert list(pipeline(stages).run_on(range(68))) == [[n, n * n] for n in range(68)]
    # Until the size of an image is known, only the images of one batch are sorted by shape.
    assert {len(batch) for batch in stages.batches[-8:]} == {4}
    assert all(len({n % 2 for n in batch}) == 1 for batch in stages.batches)


def test_items_without_a_shape_skip_the_network():
    found = list(pipeline(Squares()).run_on([1, -2, 3]))
    assert found == [[1, 1], [-2], [3, 9]]


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("stage", ["prepare", "run", "decode"])
def test_an_exception_is_raised_at_its_item(stage, networks):
    stages, found = Squares(fails=[(stage, 13)]), []
    results = pipeline(stages, batch_size=1, networks=networks).run_on(range(100))
    with pytest.raises(ZeroDivisionError, match=f"{stage} 13"):
        found.extend(results)
    assert found == [[n, n * n] for n in range(13)]


def test_only_one_image_of_a_batch_fails_with_its_reading():
    stages, found = Squares(fails=[("prepare", 13)]), []
    with pytest.raises(ZeroDivisionError):
        found.extend(pipeline(stages, batch_size=64).run_on(range(64)))
    assert found == [[n, n * n] for n in range(13)]
    assert sorted(stages.batches[0]) == [*range(13), *range(14, 64)]


def test_all_readers_read_the_images_of_a_batch():
    stages, together, here = Squares(), threading.Barrier(4), threading.local()
    prepare = stages.prepare

    def wait_for_the_others(image):
        if not hasattr(here, "begun"):
            here.begun = together.wait(timeout=60)
        return prepare(image)

    stages.prepare = wait_for_the_others
    assert len(list(pipeline(stages, batch_size=64, readers=4).run_on(range(64)))) == 64


def test_a_reader_stops_between_two_images_of_a_batch():
    stages, begun, go_on = Squares(), threading.Event(), threading.Event()

    def prepare(image):
        stages.prepared.append(image)
        begun.set()
        go_on.wait(60)

    stages.prepare = prepare
    work = module._Work(pipeline(stages, batch_size=64, readers=1))
    work.start(range(64))
    assert begun.wait(60)
    work.stop()
    go_on.set()
    work.reading.join(60)
    assert stages.prepared == [0]


def test_only_a_part_of_the_batch_fails_with_its_decoding():
    stages, found = Squares(fails=[("decode", 40)]), []
    with pytest.raises(ZeroDivisionError):
        found.extend(pipeline(stages, batch_size=64, decoders=4).run_on(range(64)))
    assert found == [[n, n * n] for n in range(32)]


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_few_images_are_in_memory(batch_size, networks):
    stages = Squares()
    results = pipeline(stages, batch_size, networks=networks).run_on(count())
    for _ in range(10):
        next(results)
    time.sleep(0.2)
    assert len(stages.prepared) <= 10 + 8 * batch_size + 5
    results.close()


@pytest.mark.parametrize(("share", "most"), [(1 / 5, 5), (1 / 100, 32), (3, 1)])
def test_fewer_images_are_in_memory_if_they_are_large(share, most):
    """most: images that are sorted by shape together; twice as many are in work."""
    stages = Squares()
    stages.nbytes = lambda item: int(module._MEMORY * share)
    results = pipeline(stages, batch_size=8, readers=1).run_on(count())
    for _ in range(100):
        next(results)
    time.sleep(0.2)
    assert most <= len(stages.prepared) - 100 <= 2 * most + 3
    results.close()


def test_one_large_image_does_not_make_later_batches_small():
    stages = Squares()
    stages.nbytes = lambda item: module._MEMORY if item == [20] else 8
    assert len(list(pipeline(stages, batch_size=8).run_on(range(400)))) == 400
    assert [len(batch) for batch in stages.batches[-10:]] == [8] * 10


def test_networks_run_at_the_same_time():
    """None returns before three run, each in a thread that knows of the two others."""
    stages, together, sharing = Squares(), threading.Barrier(3), set()
    run = stages.run

    def at_once(items):
        sharing.add(sharing_threads())
        together.wait(timeout=60)
        return run(items)

    stages.run = at_once
    found = list(pipeline(stages, batch_size=1, networks=3).run_on(range(30)))
    assert found == [[n, n * n] for n in range(30)]
    assert sharing == {3}


@pytest.mark.parametrize(
    ("threads", "cores", "networks"), [(1, 4, 1), (4, 4, 4), (4, 2, 2), (32, 64, 8)]
)
def test_the_number_of_networks_follows_the_machine(monkeypatch, threads, cores, networks):
    monkeypatch.setattr(module, "count_threads", lambda: threads)
    monkeypatch.setattr(module, "count_cores", lambda: cores)
    monkeypatch.setattr(module, "can_share_threads", lambda: True)
    assert thread_counts(on_cpu=True, most_networks=8)["networks"] == networks
    assert thread_counts(on_cpu=True)["networks"] == 1
    assert "networks" not in thread_counts(on_cpu=False)
    monkeypatch.setattr(module, "can_share_threads", lambda: False)
    assert thread_counts(on_cpu=True, most_networks=8)["networks"] == 1


@pytest.mark.parametrize("networks", [1, 3])
def test_the_network_waits_for_decoding(networks):
    stages, go_on = Squares(), threading.Event()
    decode = stages.decode
    stages.decode = lambda *arguments: (go_on.wait(30), decode(*arguments))
    results = pipeline(stages, batch_size=2, networks=networks).run_on(range(40))
    first = threading.Thread(target=lambda: next(results))
    first.start()
    time.sleep(0.2)
    assert len(stages.batches) <= 2 + networks
    go_on.set()
    first.join()
    results.close()


def test_images_are_taken_in_the_callers_thread():
    def images():
        for number in range(20):
            threads.add(threading.get_ident())
            yield number

    threads = set()
    list(pipeline(Squares()).run_on(images()))
    assert threads == {threading.get_ident()}


def test_results_of_a_camera_are_not_held_back():
    """Frames come more slowly than results; twelve could be in memory, and few are."""
    taken, behind = [], []

    def frames():
        for number in range(40):
            time.sleep(0.02)
            taken.append(number)
            yield number

    for number, _ in enumerate(pipeline(Squares(), batch_size=1, networks=8).run_on(frames())):
        behind.append(len(taken) - number)
    assert sorted(behind)[20] <= 6


def test_an_exception_of_the_iterator_is_raised():
    def images():
        yield from range(3)
        raise KeyError("camera")

    found = []
    with pytest.raises(KeyError):
        found.extend(pipeline(Squares()).run_on(images()))
    assert found == [[0, 0], [1, 1], [2, 4]]


@pytest.mark.parametrize("networks", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_threads_end_with_an_abandoned_run(networks, batch_size):
    """No two images have the same shape, so that many batches wait for decoding."""
    stages, before = Squares(shape=lambda number: number), threading.active_count()
    stages.decode = lambda *arguments: time.sleep(0.05)
    results = pipeline(stages, batch_size, networks=networks).run_on(count())
    next(results)
    del results
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_images_that_are_fetched_wait_at_the_same_time():
    """No image is there before eight are asked for, which the three readers cannot do."""
    asked, enough = count(1), threading.Event()

    class Fetched(Squares):
        def fetches(self, image):
            return True

        def prepare(self, image):
            if next(asked) >= 8:
                enough.set()
            assert enough.wait(timeout=60)
            return [image]

    stages = Fetched()
    assert list(pipeline(stages, 1).run_on(range(32))) == [[n, n * n] for n in range(32)]
