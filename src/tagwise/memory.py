"""How the C library keeps memory: what a process that runs networks on the CPU wants of it."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameter numbers of mallopt(3)


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
