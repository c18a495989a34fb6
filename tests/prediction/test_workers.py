"""Threads that can be told to end from anywhere."""

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest

from tagwise.prediction import workers as module
from tagwise.prediction.workers import Workers


def test_results_and_exceptions_are_in_the_futures():
    workers = Workers(2, "work")
    found = [workers.submit(divmod, 7, n) for n in (0, 1, 2)]
    assert [each.result(30) for each in found[1:]] == [(7, 0), (3, 1)]
    with pytest.raises(ZeroDivisionError):
        found[0].result(30)
    workers.join()


def test_each_thread_begins_once():
    begun = []
    workers = Workers(3, "work", begin=lambda: begun.append(threading.current_thread().name))
    for future in [workers.submit(int) for _ in range(30)]:
        future.result(30)
    workers.join()
    assert sorted(begun) == ["work 0", "work 1", "work 2"]


def test_what_has_begun_is_finished_and_the_rest_is_cancelled():
    workers, begun, go_on = Workers(1, "work"), threading.Event(), threading.Event()
    first = workers.submit(lambda: (begun.set(), go_on.wait(30)))
    second = workers.submit(int)
    assert begun.wait(30)
    workers.stop()
    assert not first.done()
    go_on.set()
    workers.join()
    assert first.result() == (None, True)
    with pytest.raises(CancelledError):
        second.result()


def test_threads_start_with_the_first_function():
    before = threading.active_count()
    workers = Workers(4, "work")
    assert threading.active_count() == before
    workers.join()


def test_threads_start_once_although_several_submit_at_the_same_time():
    workers, begun = Workers(2, "work"), []
    workers._begin = lambda: begun.append(1)
    with module._STARTING:  # all submit before the first can start the threads
        callers = [threading.Thread(target=workers.submit, args=(int,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        while workers._tasks.qsize() < 4:
            time.sleep(0.001)
    for caller in callers:
        caller.join(30)
    workers.join(30)
    assert len(begun) == 2


def test_a_finalizer_may_stop_while_a_task_is_submitted():
    """As the garbage collector does, which may run inside any line of `submit`."""

    class Abandoned:
        def __init__(self):
            self.workers, self.itself = Workers(2, "work"), self
            self.workers.submit(int)

        def __del__(self):
            self.workers.stop()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        workers = Workers(2, "work")
        for _ in range(200):
            Abandoned()
            workers.submit(int)
        assert workers.submit(str).result(30) == ""
        workers.join()
    finally:
        gc.set_threshold(*threshold)


SCRIPT = """
import time
from tagwise.prediction.pipeline import Pipeline

class Slow:
    def prepare(self, image):
        time.sleep(0.01)
        return [image]
    def fetches(self, image):
        return False
    def nbytes(self, item):
        return 8

    def shape(self, item):
        return ()
    def run(self, items):
        time.sleep(0.01)
    def decode(self, items, maps, first):
        pass

results = Pipeline(Slow(), 1, 2, 2).run_on(iter(int, 1))
print(next(results))
"""


def test_threads_that_another_thread_is_starting_are_waited_for(monkeypatch):
    """As at the end of a program, while a stage hands its first item to the next stage."""
    starting, go_on = threading.Event(), threading.Event()

    class SlowToStart(threading.Thread):
        def start(self):
            starting.set()
            assert go_on.wait(30)
            super().start()

    monkeypatch.setattr("tagwise.prediction.workers.Thread", SlowToStart)
    workers = Workers(2, "slow")
    stage = threading.Thread(target=workers.submit, args=(int,))
    stage.start()
    assert starting.wait(30)
    threading.Timer(0.05, go_on.set).start()
    workers.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("slow")]
    stage.join()


def test_a_program_ends_although_a_run_is_open():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[0]\n", "")
