"""Reading the weights of a TensorFlow.js graph model without TensorFlow.

Format: `model.json` lists tensors in `weightsManifest`; their bytes are stored one after another in
the binary files that it names (tfjs-core `io/io_utils.ts`, `decodeWeights`).
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tagwise.errors import UserError, brief
from tagwise.files import open_regular, read_json

_STORED = ("float16", "float32", "int32")


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a TF.js model by name; floats as float32, even if stored as float16.

    path: the model's JSON; its binary files must be in the same folder.
    Raises UserError for a missing or truncated file, and for an unsupported storage type.
    """
    path = Path(path)
    content = read_json(path, "TF.js model")
    result: dict[str, np.ndarray] = {}
    read = cache(_bytes)
    try:
        for group in content["weightsManifest"]:
            # Only files in the folder of the JSON are read, each once, so that a malicious JSON
            # cannot name other files.
            names = dict.fromkeys(Path(name).name for name in group["paths"])
            result |= _split(group["weights"], b"".join(read(path.parent / name) for name in names))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a TF.js model with its weights in the same folder: {error}"
        ) from error
    return result


def _bytes(path: Path) -> bytes:
    with open_regular(path, "file of weights") as file:
        return file.read()


def _split(entries: list[dict[str, Any]], data: bytes) -> dict[str, np.ndarray]:
    result, offset = {}, 0
    for entry in entries:
        stored = entry.get("quantization", {}).get("dtype", entry["dtype"])
        if stored not in _STORED or entry["dtype"] not in _STORED:
            name, stored = brief(entry["name"]), brief(stored)
            raise ValueError(f"{name} is stored as {stored}, which is not supported")
        count, dtype = math.prod(entry["shape"]), np.dtype(stored).newbyteorder("<")
        if min(entry["shape"], default=1) < 0:
            raise ValueError(f"{brief(entry['name'])} has the shape {brief(entry['shape'])}")
        array = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        result[entry["name"]] = array.astype(np.dtype(entry["dtype"]))
        offset += count * dtype.itemsize
    return result
