"""Signals end a loop between two items; outside of loops they raise immediately."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from tagwise.console.interrupts import Interrupted, signals_handled, stop_requested, stoppable

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def handlers():
    """Python's own handlers, which every test must leave as they were.

    A process that runs in the background may have been started to ignore signals.
    """
    before = [signal.getsignal(number) for number in NUMBERS]
    usual = [signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]
    for number, handler in zip(NUMBERS, usual):
        signal.signal(number, handler)
    yield
    found = [signal.getsignal(number) for number in NUMBERS]
    for number, handler in zip(NUMBERS, before):
        signal.signal(number, handler)
    assert found == usual


def run_loop(body):
    """Return the items of a stoppable loop whose body finished, and the exception."""
    done = []

    def loop():
        for item in stoppable(range(5)):
            body(item)
            done.append(item)

    with pytest.raises(KeyboardInterrupt) as ended:
        loop()
    return done, ended.value


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_loop_ends_after_the_item_in_which_a_signal_arrives(number, capfd):
    with signals_handled():
        done, error = run_loop(lambda item: send(*[number] * (item == 2)))
        assert stop_requested() == number
    assert not stop_requested()
    assert done == [0, 1, 2]
    assert isinstance(error, Interrupted)
    assert "press Ctrl-C again" in capfd.readouterr().err


def test_second_signal_raises_inside_the_item():
    with signals_handled():
        done, _ = run_loop(lambda item: send(signal.SIGTERM, signal.SIGINT))
    assert done == []


def test_first_signal_outside_of_a_loop_raises():
    with signals_handled():
        assert list(stoppable("ab")) == ["a", "b"]
        with pytest.raises(Interrupted):
            send(signal.SIGINT)


def test_dropped_exception_ends_the_next_loop():
    """A callback of a compiled function can drop the exception."""
    with signals_handled():
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            next(stoppable(range(5)))


def test_nested_loops_end():
    with signals_handled():
        done, _ = run_loop(lambda item: [send(signal.SIGINT) for _ in stoppable(range(3))])
    assert done == []


def test_failed_loop_does_not_delay_signals():
    with signals_handled():
        with pytest.raises(ZeroDivisionError):
            sum(1 / item for item in stoppable([0]))
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_without_handlers_python_raises_keyboard_interrupt():
    done, error = run_loop(lambda item: send(signal.SIGINT))
    assert done == []
    assert not isinstance(error, Interrupted)


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_handled():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop_requested()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_do_not_change_the_handlers():
    def work():
        before = signal.getsignal(signal.SIGINT)
        with signals_handled():
            same.append(signal.getsignal(signal.SIGINT) is before)

    same = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert same == [True]


FORKED = """
import os, signal, time
from tagwise.console.interrupts import signals_handled
with signals_handled():
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGINT)  # ignored: its owner receives it too
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_processes_end_on_sigterm_only():
    run = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == (f"{-signal.SIGTERM}\n", "")
