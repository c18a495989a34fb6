"""What training programs keep beside the weights, read past without running any of their code."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

# Classes and functions that the checkpoints of trainers name: arrays, losses so far, dates, paths.
# `getattr` comes with mmengine's HistoryBuffer, which keeps its own methods.
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
# Kinds of dict, most of them settings.
DICTS = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "yacs.config.CfgNode",
)


class Forgetful:
    """Stands for an object of a checkpoint: takes whatever that is made of, and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __new__(cls, *_: Any, **__: Any) -> Forgetful:
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        pass


class PlainDict:
    """Stands for a kind of dict. Becomes one that torch lets a checkpoint fill."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict:
        return OrderedDict()


def stand_ins() -> list[type]:
    """A class for each of these names, for `torch.serialization.safe_globals`.

    A checkpoint that names them is then read without them: numpy, mmengine and the rest are neither
    called nor even there. All other names stay refused.
    """
    return [_named(n, Forgetful) for n in OBJECTS] + [_named(n, PlainDict) for n in DICTS]


def _named(path: str, base: type) -> type:
    module, name = path.rsplit(".", 1)
    return type(name, (base,), {"__module__": module})
