"""Disks that are full, for tests."""

import resource
from contextlib import contextmanager


@contextmanager
def file_limit(size):
    """No file can grow beyond so many bytes: the system refuses more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
