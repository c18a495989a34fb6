"""OpenVINO graphs in several threads."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino", reason="needs the extra openvino: pip install 'tagwise[openvino]'")

# Each process uses OpenVINO for the first time in two threads at once, and hands over Python's
# lock as often as possible: two of three such processes used to hang, also the thread that waits.
FIRST_USE = """
import sys
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import openvino
import openvino.opset13 as op
from tagwise.models.openvino_graph import OpenVinoGraph

images = op.parameter([1, 3, -1, -1], np.float32)
graph = OpenVinoGraph(Path("relu.xml"), openvino.Model([op.relu(images)], [images]))
sys.setswitchinterval(1e-6)
together, found = Barrier(2), []


def run():
    together.wait()
    found.append(graph(np.full((1, 3, 8, 8), -1, np.float32))[0].sum())


threads = [Thread(target=run) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*found)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_threads_may_use_openvino_for_the_first_time_together(attempt):
    command = [sys.executable, "-c", FIRST_USE]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ran.stdout.split() == ["0.0", "0.0"], ran.stderr
