"""A simulation of full disks for tests."""

import resource
from contextlib import contextmanager


@contextmanager
def file_limit(size):
    """Limit the size of files in bytes: the system refuses longer files, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
