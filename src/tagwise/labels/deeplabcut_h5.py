"""The H5 files of DeepLabCut, tables of pandas, read with h5py and without pandas and PyTables."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.errors import UserError, optional


def read_h5(path: Path) -> tuple[list[tuple[str, ...]], list[str], np.ndarray]:
    """Read the columns, the row names and the values (R, C) of the table of a file.

    Both layouts of pandas are read, "fixed" and "table". Raises UserError for other files.
    """
    h5py = optional("h5py", "labels", "H5 files of DeepLabCut need h5py")
    try:
        with h5py.File(path) as file:
            groups = [file[key] for key in file if isinstance(file[key], h5py.Group)]
            group = next(each for each in groups if "pandas_type" in each.attrs)
            kind = _text(group.attrs["pandas_type"])
            return _read_table(group) if kind.endswith("_table") else _read_fixed(group)
    except (OSError, KeyError, StopIteration, ValueError, IndexError, TypeError) as error:
        raise UserError(
            f"cannot read {path} as a DeepLabCut file ({type(error).__name__}: {error}); give the "
            "CSV file beside it"
        ) from None


def _read_table(group: Any) -> tuple[list[tuple[str, ...]], list[str], np.ndarray]:
    table = group["table"][:]
    blocks = [name for name in table.dtype.names if name.startswith("values_block_")]
    columns: list[tuple[str, ...]] = []
    for block in blocks:
        columns += _plain_pickle(group["table"].attrs[f"{block}_kind"])
    levels = [name for name in table.dtype.names if name not in blocks]
    names = ["/".join(_text(row[level]) for level in levels) for row in table]
    values = np.concatenate([table[block].reshape(len(table), -1) for block in blocks], 1)
    return [tuple(map(str, column)) for column in columns], names, values.astype(float)


def _read_fixed(group: Any) -> tuple[list[tuple[str, ...]], list[str], np.ndarray]:
    columns: list[tuple[str, ...]] = []
    values = []
    for number in range(int(group.attrs["nblocks"])):
        columns += _index(group, f"block{number}_items")
        values.append(group[f"block{number}_values"][:])
    names = ["/".join(row) for row in _index(group, "axis1")]
    return columns, names, np.concatenate(values, 1).astype(float)


def _index(group: Any, name: str) -> list[tuple[str, ...]]:
    """The entries of an index of pandas; each has one part per level."""
    if name in group:
        return [(_text(value),) for value in group[name][:]]
    levels = []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        values = [_text(value) for value in group[f"{name}_level{level}"][:]]
        levels.append([values[code] for code in group[f"{name}_label{level}"][:]])
    return list(zip(*levels, strict=True))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


class _Plain(pickle.Unpickler):
    """Reads pickles of lists, tuples and text; refuses all that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"column names contain {module}.{name}")


def _plain_pickle(data: Any) -> Any:
    data = data if isinstance(data, bytes) else bytes(data)
    try:
        return _Plain(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise ValueError(f"column names are damaged ({error})") from None
