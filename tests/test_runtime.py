"""Compiled loops are cached on disk; damaged or missing cache files do not stop a call."""

import gc
import importlib.util
import os
import random
import sys

import pytest

from disks import file_limit
from tagwise.runtime import is_compiled

SOURCE = """
from tagwise.runtime import compiled

@compiled()
def double(x):
    return x * 2

@compiled()
def shifted(x):
    return double(x) + 1
"""


@pytest.fixture
def loops(tmp_path, monkeypatch):
    """A function that imports the loops again, as a new process does."""
    path = tmp_path / "loops.py"
    path.write_text(SOURCE)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported():
        spec = importlib.util.spec_from_file_location("loops", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "loops", module)
        spec.loader.exec_module(module)
        return module

    return imported


def cached(tmp_path):
    return sorted((tmp_path / "__pycache__").glob("*.nb?"))


def hits(function):
    return sum(function.stats.cache_hits.values())


def test_loop_is_compiled_once_for_all_processes(loops, tmp_path):
    module = loops()
    assert not is_compiled(module.shifted)
    assert module.shifted(3) == 7
    assert [path.suffix for path in cached(tmp_path)] == [".nbc", ".nbi"] * 2
    again = loops()
    assert is_compiled(again.shifted)
    assert again.shifted(3) == 7
    assert hits(again.shifted) == 1


def damaged(content):
    rng = random.Random(0)
    yield from (b"", content[: len(content) // 2], content[:-1], bytes(len(content)), b"hello\n")
    yield bytes(rng.randrange(256) for _ in content)
    for _ in range(5):
        start = rng.randrange(len(content))
        yield content[:start] + bytes(min(64, len(content) - start)) + content[start + 64 :]
        yield content[:start] + bytes([content[start] ^ 4]) + content[start + 1 :]


@pytest.mark.parametrize("number", range(4))
def test_damaged_cache_files_are_replaced(loops, tmp_path, number):
    assert loops().shifted(3) == 7
    path = cached(tmp_path)[number]
    content = path.read_bytes()
    for bad in damaged(content):
        path.write_bytes(bad)
        module = loops()
        assert (module.double(3), module.shifted(3)) == (6, 7)
        path = cached(tmp_path)[number]
        again = loops()
        assert (again.double(3), again.shifted(3)) == (6, 7)
        assert hits(again.double) == hits(again.shifted) == 1, "the cache was not repaired"
        path.write_bytes(content)


def test_folder_named_like_a_cache_file_is_tolerated(loops, tmp_path):
    assert loops().double(3) == 6
    for path in cached(tmp_path):
        path.unlink()
        path.mkdir()
        assert loops().double(3) == 6


def test_full_disk_keeps_compiled_loops_in_memory(loops, tmp_path):
    module = loops()
    with file_limit(0):
        assert module.shifted(3) == 7
    assert [path for path in cached(tmp_path) if path.stat().st_size] == []
    assert loops().shifted(3) == 7


def test_cache_is_in_the_folder_of_the_user_if_the_package_is_read_only(
    loops, tmp_path, monkeypatch
):
    (tmp_path / "__pycache__").write_text("not a folder")  # root may write everywhere else
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert loops().shifted(3) == 7
    again = loops()
    assert again.shifted(3) == 7
    assert hits(again.shifted) == 1
    assert list((tmp_path / "user").rglob("*.nbc"))


def test_without_any_folder_loops_are_kept_in_memory(loops, tmp_path, monkeypatch):
    (tmp_path / "__pycache__").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "__pycache__"))
    module = loops()
    assert module.shifted(3) == 7
    assert not is_compiled(module.shifted)


def test_without_a_home_no_folder_is_created(loops, tmp_path, monkeypatch):
    (tmp_path / "__pycache__").write_text("not a folder")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    module = loops()
    assert module.shifted(3) == 7
    assert not is_compiled(module.shifted)
    assert not (tmp_path / "~").exists()


def test_garbage_collection_goes_on_after_compiling(loops):
    assert gc.isenabled()
    module = loops()
    with pytest.raises(Exception, match="No implementation"):
        module.shifted("text")  # does not compile
    assert module.shifted(3) == 7
    assert gc.isenabled()
    gc.disable()
    try:
        assert module.shifted(3.5) == 8
        assert not gc.isenabled()
    finally:
        gc.enable()
