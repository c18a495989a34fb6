"""Standard streams that are full, closed or have a limited encoding."""

import io
import os
import subprocess
import sys

import pytest

from tagwise.console.streams import print_result, streams_guarded

WORK = """
import os, sys
from tagwise.console.streams import print_result, streams_guarded
with streams_guarded():
    print("message", file=sys.stderr, flush=True)
    opened = os.open(os.devnull, os.O_RDONLY)
    assert opened > 2, opened
    print_result(sys.argv[1])
"""


def run(shell, text="figures: 35.1 × 2 – 头", encoding="utf-8", **environment):
    """Run WORK with the redirections of a shell command."""
    command = shell.replace("WORK", '"$PYTHON" -c "$WORK" "$TEXT"')
    variables = {"PYTHON": sys.executable, "WORK": WORK, "TEXT": text, **environment}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        encoding=encoding,
    )


def test_result_goes_to_stdout():
    done = run("WORK")
    assert (done.returncode, done.stdout) == (0, "figures: 35.1 × 2 – 头\n")
    assert done.stderr == "message\n"


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
def test_result_goes_to_stderr_if_stdout_fails(redirection):
    done = run(f"WORK {redirection}")
    lines = done.stderr.splitlines()
    assert lines[:2] == ["message", "figures: 35.1 × 2 – 头"]
    assert lines[2].startswith("tagwise: cannot write to standard output: ")
    assert (done.returncode, len(lines)) == (2, 3)


def test_reader_that_ends_is_not_an_error():
    done = run("WORK | true")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_messages_are_dropped_if_stderr_fails(redirection):
    done = run(f"WORK {redirection}")
    assert (done.returncode, done.stdout) == (0, "figures: 35.1 × 2 – 头\n")


def test_closed_streams_are_replaced():
    assert run("WORK <&- >&- 2>&-").returncode == 2


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", r"\xd7 \u5934"), ("latin-1", r"× \u5934"), ("utf-8", "× 头")],
)
def test_characters_outside_of_the_encoding_are_escaped(encoding, expected):
    done = run("WORK", "a × 头", encoding, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stdout) == (0, f"a {expected}\n")


def test_file_names_that_are_not_utf_8_are_escaped(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    with streams_guarded():
        print_result(os.fsdecode(b"caf\xe9.jpg"))
    assert stdout.buffer.getvalue() == b"caf\\udce9.jpg\n"


def test_stderr_is_restored():
    before = sys.stderr
    with streams_guarded():
        assert sys.stderr is not before
        assert sys.stderr.encoding == before.encoding
    assert sys.stderr is before


def test_help_gives_one_line_if_stdout_fails():
    shell = '"$PYTHON" -m tagwise --help >/dev/full'
    done = run(shell)
    assert done.returncode == 2
    assert done.stderr == "tagwise: cannot write to standard output: No space left on device\n"


def test_exceptions_take_precedence_over_stream_errors(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ZeroDivisionError), streams_guarded():
        print_result(str(1 / 0))
