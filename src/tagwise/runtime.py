"""What the program runs on: devices and precision, memory, and compiled loops."""

from __future__ import annotations

import ctypes
import io
import os
import pickle
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import torch
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from tagwise.errors import UserError, unknown_name

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameter numbers of mallopt(3)


def find_device(device: str | torch.device = "auto") -> torch.device:
    """The torch device of that name, if it is there. Raises UserError if not.

    >>> find_device("cpu")
    device(type='cpu')
    """
    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError:
        raise unknown_name(
            "device", str(device), ["auto", "cpu", "cuda", "cuda:0", "mps"]
        ) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        have = f"only {count} CUDA GPU(s)" if count else "no CUDA GPU that torch can use"
        raise UserError(f"device {device!r} was asked for, but there is {have}; use --device cpu")
    if found.type == "mps" and not mps:
        raise UserError("device 'mps' was asked for, but there is no Apple GPU; use --device cpu")
    return found


def fastest_precision(device: torch.device) -> str:
    """The precision that "auto" stands for."""
    # torch asks the processor only privately, and early versions not at all.
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and asked() else "fp32"


# ---------------------------------------------------------------------- memory


def keep_freed_memory() -> None:
    """Let glibc keep freed pages for the next allocation; elsewhere nothing happens.

    A network's maps are large enough that glibc gives each back to the system at once, and to
    fault the pages in again for the next layer costs 10 to 20 % of a forward pass.
    """
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


# ---------------------------------------------------------------------- threads


def count_cores() -> int:
    """The number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_torch_in_one_thread() -> None:
    """Let tensor operations of the calling thread run in this thread only.

    Otherwise each of several threads that decode would start as many threads of its own as the
    machine has cores. `torch.set_num_threads` would change the other threads too.
    """
    torch.get_num_threads()  # torch sets the number at its first use in a thread
    with suppress(AttributeError, OSError):  # torch without OpenMP
        ctypes.CDLL(None).omp_set_num_threads(1)


# ---------------------------------------------------------------------- compiled loops


def compiled(**options):
    """numba's njit, cached on disk where a folder for the cache can be written.

    A function is compiled on its first call. Where no cache folder can be written, or the disk is
    full, it is kept in memory; damaged files of the cache are made again. options: of njit.
    """

    def decorate(function):
        dispatcher = njit(nogil=True, **options)(function)
        with suppress(RuntimeError):  # no folder for the cache
            dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


def is_compiled(function) -> bool:
    """Whether an earlier run left this `compiled` function on disk."""
    return isinstance(function._cache, _Cache) and function._cache.on_disk


class _Cache(FunctionCache):
    """numba's cache of a function, of which no file, damaged or not writable, stops a call."""

    def __init__(self, function) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    @property
    def on_disk(self) -> bool:
        return Path(self._cache_file._index_path).exists()

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # unpickling damaged files raises almost anything
            try:
                self.flush()
            except OSError:
                self.disable()
            return None

    def save_overload(self, sig, data):
        with suppress(OSError):
            super().save_overload(sig, data)


class _CheckedFiles(IndexDataCacheFile):
    """The files of a cache with checksums: damaged machine code would end the process."""

    def _dump(self, obj):
        content = super()._dump(obj)
        return content + _checksum(content)  # unpickling stops before it

    def _load_index(self):
        path = Path(self._index_path)
        if path.exists():
            content = io.BytesIO(path.read_bytes())
            pickle.load(content)  # numba's version, which is written apart
            _check(content.read())
        return super()._load_index()

    def _load_data(self, name):
        path = Path(self._data_path(name))
        if path.exists():
            _check(path.read_bytes())
        return super()._load_data(name)


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _check(content: bytes) -> None:
    if content[-4:] != _checksum(content[:-4]):
        raise ValueError("a file of the cache is damaged")
