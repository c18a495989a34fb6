"""Run Python code where torch is not installed: every finder of modules is made to miss it."""

import os
import subprocess
import sys

# Packages that an environment for ONNX files does not have; see docs/export.md.
MISSING = ("torch", "onnx", "safetensors", "triton")

_HIDE = """
import sys

MISSING = %r

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in MISSING
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def run(code, *arguments, missing=MISSING):
    """Run code with arguments in such a process; returns the finished process."""
    command = [sys.executable, "-c", _HIDE % (missing,) + code, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
