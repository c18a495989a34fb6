"""A first prediction compiles every loop for one combination of argument types only."""

import subprocess
import sys
from pathlib import Path

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "basketball1.jpg"
PREDICT = """
import sys
from numba.core.dispatcher import Dispatcher
from tagwise import predict

for weights in ("people", "robots", "bees", "blood", "nuclei"):
    predict(sys.argv[1], weights, out=sys.argv[2]).finish()
for name, module in sorted(sys.modules.items()):
    for value in vars(module).values() if name.startswith("tagwise.") else ():
        if isinstance(value, Dispatcher) and value.__module__ == name and value.signatures:
            print(value.__name__, len(value.signatures))
"""


def test_shipped_models_compile_each_loop_once(tmp_path):
    call = [sys.executable, "-c", PREDICT, PHOTO, tmp_path]
    output = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    counts = dict(line.split() for line in output.splitlines())
    assert {"scan_peaks", "match_by_sweeps", "shares", "grow"} <= counts.keys()
    assert {name: count for name, count in counts.items() if count != "1"} == {}
