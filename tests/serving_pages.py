"""A server in a process of its own, and pages of it in the system's Chromium."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]


@contextmanager
def running_server(*arguments):
    """Run `tagwise serve` on a free port; yields the process and its address."""
    command = [sys.executable, "-m", "tagwise", "serve", "--no-open", "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        line = process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield process, found.group()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


@contextmanager
def chromium():
    """A browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs the system's chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def until(page, expression, seconds=15.0):
    """Wait until an expression is true in a page.

    `page.wait_for_function` would need `unsafe-eval`, which the page's policy forbids.
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)
