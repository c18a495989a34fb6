"""Scanning a pickle for what it would create or call, without executing it.

torch reads checkpoints without running their code (`weights_only=True`), but a malicious checkpoint
can still crash it or exhaust the memory, for example with tuples nested a million deep, or a
`bytearray` of any size. Every pickle is therefore scanned first.
"""

from __future__ import annotations

import re
from pickletools import genops
from typing import BinaryIO

import torch

from tagwise.published.stand_ins import DICTS, OBJECTS

_MAX_DEPTH = 100  # of nested tuples; hashing much deeper ones overflows the stack
_MAX_STACK = 200_000  # values on the stack of the pickle machine

# The names that checkpoints use. Of the names that torch allows, those for bytearrays and for
# tensors of other layouts are excluded.
_KNOWN = {
    "_codecs.encode",
    "builtins.complex",
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.Size",
    "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch.device",
    "torch.nn.parameter.Parameter",
    *OBJECTS,
    *DICTS,
}
_STORAGE = re.compile(r"torch\.(cuda\.)?[A-Z]\w*(Storage|Tensor)")
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules of Python 2

_PUSH = {
    "BINFLOAT",
    "BININT",
    "BININT1",
    "BININT2",
    "BINUNICODE",
    "EMPTY_DICT",
    "EMPTY_LIST",
    "EMPTY_SET",
    "EMPTY_TUPLE",
    "LONG1",
    "NEWFALSE",
    "NEWTRUE",
    "NONE",
    "SHORT_BINSTRING",
}
_POP = {"APPEND": 1, "BUILD": 1, "REDUCE": 1, "NEWOBJ": 1, "SETITEM": 2, "BINPERSID": 0}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def scan_pickle(stream: BinaryIO) -> set[str]:
    """The dotted names of everything that a pickle would create or call; reads it to its end.

    An instruction that torch does not support ends the scan, and its number is added to the names.
    Raises ValueError for a damaged pickle and for one that is nested too deeply.
    """
    names: set[str] = set()
    depths: list[int] = []  # depth of nested tuples of each value on the stack
    marks: list[int] = []
    memo: dict[int, int] = {}
    try:
        for instruction, argument, _ in genops(stream):
            if not _follow(instruction, argument, names, depths, marks, memo):
                names.add(f"pickle instruction {ord(instruction.code)}")
                break
            depth = max(depths[-1:], default=0)
            if max(len(depths), len(marks)) > _MAX_STACK or depth > _MAX_DEPTH:
                raise ValueError("it is nested more deeply than any checkpoint")
    except (LookupError, TypeError) as error:
        raise ValueError("its pickle is damaged") from error
    return names


def unknown_names(names: set[str]) -> list[str]:
    """The names that do not belong in a checkpoint, sorted."""
    return sorted(name for name in names if not _is_known(name))


def _is_known(name: str) -> bool:
    module, _, last = name.rpartition(".")
    is_type = module == "torch" and isinstance(getattr(torch, last, None), torch.dtype)
    return name in _KNOWN or is_type or _STORAGE.fullmatch(name) is not None


def _follow(
    instruction: object,
    argument: object,
    names: set[str],
    depths: list[int],
    marks: list[int],
    memo: dict[int, int],
) -> bool:
    """Execute one instruction on depths instead of values. False if torch does not support it."""
    name = instruction.name
    if name in _PUSH:
        depths.append(0)
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = depths[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        depths.append(memo[argument])
    elif name == "MARK":
        marks.append(len(depths))
    elif name in ("APPENDS", "SETITEMS"):
        del depths[marks.pop() :]
    elif name == "TUPLE":
        start = marks.pop()
        depths[start:] = [1 + max(depths[start:], default=0)]
    elif name in _TUPLES:
        depths[-_TUPLES[name] :] = [1 + max(depths[-_TUPLES[name] :])]
    elif name in _POP:
        del depths[len(depths) - _POP[name] :]
        if name in ("REDUCE", "NEWOBJ", "BINPERSID"):
            depths[-1] = 0
    elif name == "GLOBAL":
        module, _, last = argument.rpartition(" ")
        names.add(f"{_RENAMED.get(module, module)}.{last}")
        depths.append(0)
    else:
        return name in ("PROTO", "STOP")
    return True
