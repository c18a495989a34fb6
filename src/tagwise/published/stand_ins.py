"""Substitutes for the objects that training programs store next to the weights.

With them, a checkpoint can be read without running the code of those programs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

# Classes and functions that the checkpoints of trainers name: arrays, loss histories, dates, paths.
# `getattr` occurs with mmengine's HistoryBuffer, which stores its own methods.
OBJECTS = (
    "argparse.Namespace",
    "builtins.getattr",
    "builtins.list",
    "builtins.slice",
    "datetime.datetime",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # Python 3.13
    "pathlib._local.WindowsPath",
)
# Types of dict, most of them for settings.
DICTS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
)


class IgnoredObject:
    """Replaces an object of a checkpoint: accepts any arguments and state, and stores nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __new__(cls, *_: Any, **__: Any) -> IgnoredObject:
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


class PlainDict:
    """Replaces a dict type. Creates an OrderedDict, which torch allows a checkpoint to fill."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict:
        return OrderedDict()


def stand_ins() -> list[type]:
    """A class for each name in OBJECTS and DICTS, for `torch.serialization.safe_globals`.

    torch then uses these classes for a checkpoint with such names: numpy, mmengine and the others
    are not called and need not be installed. All other names are still refused.
    """
    return [_named(n, IgnoredObject) for n in OBJECTS] + [_named(n, PlainDict) for n in DICTS]


def _named(path: str, base: type) -> type:
    module, name = path.rsplit(".", 1)
    return type(name, (base,), {"__module__": module})
