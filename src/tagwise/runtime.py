"""Devices and precision, memory, and compiled loops.

Only the functions that ask torch import it: files of `tagwise export` are run without it.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import pickle
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.codegen import get_host_cpu_features

from tagwise.errors import UserError, unknown_name

if TYPE_CHECKING:
    import torch

# Values of ONEDNN_MAX_CPU_ISA; there are newer ones, of processors with more instructions.
_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # parameter numbers of mallopt(3)


def find_device(device: str | torch.device = "auto") -> torch.device:
    """Return the torch device of a name. Raises UserError if it is not available.

    >>> find_device("cpu")
    device(type='cpu')
    """
    import torch

    mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise unknown_name(
            "device", str(device), ["auto", "cpu", "cuda", "cuda:0", "mps"]
        ) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        reason = f"torch finds only {count} CUDA GPU(s)" if count else "torch finds no CUDA GPU"
        raise UserError(f"device {device!r} is not available: {reason}; use --device cpu")
    if chosen.type == "mps" and not mps:
        raise UserError("device 'mps' is not available: torch finds no Apple GPU; use --device cpu")
    return chosen


@contextmanager
def current_gpu(device: torch.device) -> Iterator[None]:
    """Make a CUDA device the current one of the calling thread; does nothing for other devices.

    The current device of a new thread is the first one. Pinned memory, events and Triton's kernels
    belong to the current device, whatever the tensors are on.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    with torch.cuda.device(device):
        yield


def fastest_precision(device: torch.device | str) -> str:
    """The precision that "auto" selects: "bf16", "fp16" or "fp32".

    GPUs have fast instructions for fp16 from compute capability 7.0 on, and for bf16 from 8.0 on.
    """
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        version = (9, 0) if torch.version.hip else torch.cuda.get_device_capability(device)
        return "bf16" if version >= (8, 0) else "fp16" if version >= (7, 0) else "fp32"
    return "bf16" if kind == "cpu" and has_bf16() else "fp32"


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16 that convolutions may use.

    ONEDNN_MAX_CPU_ISA in the environment can forbid them; torch knows whether it did when the
    program started. AVX-512 can compute in bf16 without such instructions, but no faster than in
    float32.
    """
    if "+avx512bf16" not in get_host_cpu_features().split(","):
        return False
    if (torch := sys.modules.get("torch")) is None:
        return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_BF16
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build of torch without oneDNN
        return False


# ---------------------------------------------------------------------- memory


def keep_freed_memory() -> None:
    """Let glibc keep freed pages for the next allocation; does nothing with other C libraries.

    The maps of a network are so large that glibc returns the memory of each map to the system as
    soon as it is freed. The page faults of the next layer then take 10 to 20 % of a forward pass.
    All threads share the freed pages; otherwise each that runs a network would keep its own.
    """
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_ARENA_MAX, 1)


# ---------------------------------------------------------------------- threads


def count_cores() -> int:
    """The number of processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def count_threads() -> int:
    """The number of threads of a network in the calling thread, see `share_threads`.

    It is torch's own if torch is loaded, else one per core; OMP_NUM_THREADS sets both.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    number = int(asked) if asked.isdecimal() and int(asked) else count_cores()
    return max(1, number // sharing_threads())


def share_threads(number: int) -> None:
    """Let the calling thread run networks at the same time as others, `number` threads in all.

    Its tensor operations then use their share of torch's threads, and `sharing_threads` returns
    the number. `torch.set_num_threads` would change other threads too.
    """
    _HERE.sharing = number
    if (torch := sys.modules.get("torch")) is not None:
        _use_torch_threads(torch.get_num_threads() // number)


def sharing_threads() -> int:
    """The number of threads that run networks at the same time as the calling one, itself included.

    It is 1 for a thread that has not called `share_threads`.
    """
    return getattr(_HERE, "sharing", 1)


def can_share_threads() -> bool:
    """Whether each thread can have its own number of threads for its networks.

    With torch, it can if torch uses the OpenMP library that is found; a program may have several.
    """
    if (torch := sys.modules.get("torch")) is None:
        return True
    if (library := _openmp()) is None:
        return False
    number = torch.get_num_threads()
    library.omp_set_num_threads(number + 1)
    follows = torch.get_num_threads() == number + 1
    library.omp_set_num_threads(number)
    return follows


def run_torch_in_one_thread() -> None:
    """Let tensor operations of the calling thread run in this thread only.

    Otherwise each of several threads that decode would start as many threads of its own as the
    machine has cores. Does nothing if torch is not loaded.
    """
    if "torch" in sys.modules:
        _use_torch_threads(1)


def end_idle_threads() -> None:
    """Let the threads end that OpenMP keeps for the tensor operations of the calling thread.

    With more threads than cores, OpenMP lets those that wait for each other sleep at once, also
    while another thread runs a network: waking them takes a third of its time. They start again
    with the next tensor operation of the calling thread. Does nothing if torch is not loaded.
    """
    if "torch" in sys.modules and (library := _openmp()) is not None:
        with suppress(AttributeError):  # OpenMP before 5.0
            library.omp_pause_resource_all(_PAUSE_SOFT)


_HERE = threading.local()
_PAUSE_SOFT = 1  # omp_pause_soft in omp.h


def _use_torch_threads(number: int) -> None:
    sys.modules["torch"].get_num_threads()  # torch sets the number at its first use in a thread
    if (library := _openmp()) is not None:
        library.omp_set_num_threads(max(1, number))


def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library of this program, if it has one."""
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "omp_set_num_threads") else None
    except (OSError, TypeError):  # Windows has no library of all symbols
        return None


# ---------------------------------------------------------------------- compiled loops


def compiled(**options):
    """Decorate a function with numba's njit, with a cache on disk if a folder for it is writable.

    The function is compiled on its first call. The cache is next to the source file, or in the
    user's cache folder if that is not writable. If none is writable, or the disk is full, the
    function is kept in memory only; damaged cache files are replaced.

    options: the options of njit. Helpers of one or two loops are `inline="always"`: numba takes
    longer to compile a function of its own. Slices that are assigned to slices, sorts, medians and
    maxima of arrays take one or two seconds each; loops compile in a tenth of that.
    Division by zero gives inf or NaN, as in numpy.
    """

    def decorate(function):
        options.update(nogil=True, error_model="numpy", no_cfunc_wrapper=True)
        dispatcher = njit(**options)(function)
        if options.get("inline") != "always" and _has_cache_folder(function):
            with suppress(RuntimeError):  # no cache folder is writable
                dispatcher._cache = _Cache(function)
        return dispatcher

    return decorate


def _has_cache_folder(function) -> bool:
    """Whether numba may look for a folder. Without a home, it would create one with the name ~."""
    folders = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    if folders or os.path.expanduser("~") != "~":
        return True
    folder = Path(function.__code__.co_filename).parent
    cache = folder / "__pycache__"
    return os.access(cache if cache.exists() else folder, os.W_OK) and not cache.is_file()


class _PausedCollection(event.Listener):
    """Pauses the garbage collector while numba compiles, which creates millions of objects.

    numba holds its lock while it compiles, so only one thread at a time is here.
    """

    def __init__(self) -> None:
        self.depth, self.was_enabled = 0, False

    def on_start(self, event) -> None:
        if self.depth == 0:
            self.was_enabled = gc.isenabled()
            gc.disable()
        self.depth += 1

    def on_end(self, event) -> None:
        self.depth -= 1
        if self.depth == 0 and self.was_enabled:
            gc.enable()


event.register("numba:compile", _PausedCollection())


def is_compiled(function) -> bool:
    """Whether this `compiled` function is in the cache on disk."""
    return isinstance(function._cache, _Cache) and function._cache.on_disk


class _Cache(FunctionCache):
    """numba's cache of a function; cache files that are damaged or not writable cause no error."""

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
        except Exception:  # unpickling damaged files raises errors of almost any type
            try:
                self.flush()
            except OSError:
                self.disable()
            return None

    def save_overload(self, sig, data):
        with suppress(OSError):
            super().save_overload(sig, data)


class _CheckedFiles(IndexDataCacheFile):
    """Cache files with checksums, because damaged machine code would crash the process."""

    def _dump(self, obj):
        content = super()._dump(obj)
        return content + _checksum(content)  # unpickling stops before the checksum

    def _load_index(self):
        path = Path(self._index_path)
        if path.exists():
            content = io.BytesIO(path.read_bytes())
            pickle.load(content)  # numba's version, which is a separate pickle
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
        raise ValueError("a cache file is damaged")
